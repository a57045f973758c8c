"""Volumes larger than memory: writing and reading them piece by piece takes no more than the pieces and a cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import numpy as np
from neuropil.geometry import blocks
from neuropil.volumes import create_volume, open_volume

def anonymous():  # MB of memory that is not a map of a file
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

path, shape, piece = sys.argv[1], (256, 1024, 1024), (32, 512, 512)
with create_volume(path, (1, 1, 1), "u1"):  # so that the libraries are loaded
    pass
before, most = anonymous(), 0
with create_volume(path, shape, "u1") as volume:
    for i, box in enumerate(blocks(volume.box, piece)):
        volume.write(box, np.full(box.shape, i, "u1"))
        most = max(most, anonymous() - before)
with open_volume(path) as volume:
    for i, box in enumerate(blocks(volume.box, piece)):
        assert (volume.read(box) == i).all()
        most = max(most, anonymous() - before)
print(most)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.zarr"])
def test_memory_is_bounded_by_pieces(tmp_path, name):
    """256 MB in pieces of 8 MB: at most the 64 MB cache of HDF5 and a few pieces."""
    # Fixed, glibc's threshold gives freed chunks back to the system. Holes that it keeps are by chance up to 60 MB.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}
    command = [sys.executable, "-c", SCRIPT, tmp_path / name]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert float(run.stdout) < 128
