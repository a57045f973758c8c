"""A volume far larger than the memory allowed, killed on the way: minutes, so only `make test-slow` runs it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neuropil.geometry import Box, blocks
from neuropil.volumes import create_volume, open_volume

SIDE = int(os.environ.get("NEUROPIL_TEST_SIDE", "1024"))
LIMIT = 3 * 10**9

SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]),) * 2)
import torch
from neuropil import Config
from neuropil.config import PredictConfig
from neuropil.inference import predict_volume
from neuropil.models.checkpoint import Model
torch.manual_seed(0)
torch.set_num_threads(2)
network = torch.nn.Conv3d(1, 3, 3, padding=1)
network.weight.data *= 10
offsets = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
model = Model(network, Config.from_dict({"model": {"offsets": offsets}}), {})
predict_volume(model, *sys.argv[1:3], PredictConfig(tta=1), device="cpu")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def start(source: Path, output: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(source), str(output), str(LIMIT)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def cells_done(output: Path) -> int:
    try:
        return len((output.with_name(output.name + ".unfinished") / "done.txt").read_text().split("\n")) // 2
    except FileNotFoundError:
        return 0


@pytest.mark.slow
def test_a_gigavoxel_in_three_gigabytes_killed_three_times(tmp_path):
    source = tmp_path / "image.zarr"
    whole = Box.whole((SIDE,) * 3)
    rng = np.random.default_rng(0)
    with create_volume(source, whole.shape, np.uint8, chunks=(64, 256, 256)) as image:
        for box in blocks(whole, (64, SIDE, SIDE)):
            coarse = rng.integers(0, 256, [n // 4 for n in box.shape], np.uint8)
            image.write(box, coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2))

    undisturbed = start(source, tmp_path / "undisturbed.zarr")
    peak = int(undisturbed.communicate()[0])
    assert undisturbed.returncode == 0
    assert peak < LIMIT

    output, total = tmp_path / "killed.zarr", (SIDE // 32) * (SIDE // 256) ** 2
    for share in (0.2, 0.5, 0.8):
        run = start(source, output)
        while cells_done(output) < share * total:
            assert run.poll() is None, "it ended before it was to be killed"
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert not output.exists()
    last = start(source, output)
    last.communicate()
    assert last.returncode == 0
    with open_volume(output) as killed, open_volume(tmp_path / "undisturbed.zarr") as expected:
        for box in blocks(whole, (64, SIDE, SIDE)):
            np.testing.assert_array_equal(killed.read(box), expected.read(box))
