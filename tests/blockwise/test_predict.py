"""Prediction by blocks gives the numbers of the whole."""

import json

import numpy as np
import pytest
import torch

from neuropil import Box, Config, Metadata, NeuropilError
from neuropil.blockwise import BlocksFailed, predict
from neuropil.blockwise.executor import Failure, Serial, open_executor
from neuropil.blockwise.predict import predict_blocks
from neuropil.config import PredictConfig
from neuropil.inference import predict_volume, resumable
from neuropil.inference.request import make_request
from neuropil.models import build_network, precision
from neuropil.models.checkpoint import model_digest, read_checkpoint, save_checkpoint
from neuropil.processor import LIMITS, Processor, this_processor, uses_tiles
from neuropil.volumes import open_volume, write_volume

HOW = PredictConfig(tta=4, tile=(6, 24, 24), overlap=(2, 8, 8))


@pytest.fixture
def checkpoint(tmp_path):
    config = Config.from_dict({"model": {"widths": [2, 3], "downsample": [[1, 2, 2]]}})
    weights = build_network(config.model).state_dict()
    save_checkpoint(tmp_path / "net.pt", {"config": config.to_dict(), "weights": weights, "info": {}})
    return tmp_path / "net.pt"


@pytest.fixture
def image(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 255, (10, 36, 44)).astype(np.uint8)
    write_volume(tmp_path / "image.zarr", voxels, Metadata(origin=(2, 0, 3), voxel_size=(30, 6, 6)))
    return open_volume(tmp_path / "image.zarr")


@pytest.fixture(autouse=True)
def small_cells(monkeypatch):
    monkeypatch.setattr(resumable, "CELL", (4, 16, 16))


@pytest.mark.parametrize("block", [(4, 16, 16), (5, 30, 99), (99, 99, 99)])
@pytest.mark.parametrize("box", [None, Box((3, 6, 5), (11, 33, 40))])
def test_blocks_do_not_show(tmp_path, checkpoint, image, block, box):
    predict_volume(checkpoint, image, tmp_path / "whole.zarr", HOW, box=box)
    predict_blocks(checkpoint, image, tmp_path / "blocks.zarr", HOW, block=block, box=box)
    whole, found = open_volume(tmp_path / "whole.zarr"), open_volume(tmp_path / "blocks.zarr")
    np.testing.assert_array_equal(found.read(), whole.read())
    assert found.metadata == whole.metadata
    assert not list(tmp_path.glob("*.unfinished"))


def test_blocks_do_not_show_in_8_bits(tmp_path, checkpoint, image):
    if precision.no_int8(torch.device("cpu"), own=True):
        with pytest.raises(NeuropilError, match="int8"):
            predict_volume(checkpoint, image, tmp_path / "whole.zarr", HOW.model_copy(update={"precision": "int8"}))
        return
    how = HOW.model_copy(update={"precision": "int8"})
    predict_volume(checkpoint, image, tmp_path / "whole.zarr", how)
    predict_blocks(checkpoint, image, tmp_path / "blocks.zarr", how, block=(4, 16, 16))
    predict_volume(checkpoint, image, tmp_path / "exact.zarr", HOW)
    whole, blocks, exact = (open_volume(tmp_path / f"{name}.zarr").read() for name in ("whole", "blocks", "exact"))
    np.testing.assert_array_equal(blocks, whole)
    assert (whole != exact).any()
    assert abs(whole.astype(float) - exact).max() <= 16, "codes of the logit"


def test_a_second_call_does_only_what_is_missing(tmp_path, checkpoint, image):
    class Half(Serial):
        def run(self, tasks):
            for i, task in enumerate(tasks):
                yield from [(task, Failure(task, "no luck"))] if i % 2 else super().run([task])

    class Counting(Serial):
        def run(self, tasks):
            self.tasks = list(tasks)
            yield from super().run(self.tasks)

    options = {"block": (8, 16, 32)}
    with pytest.raises(BlocksFailed, match="no luck"):
        predict_blocks(checkpoint, image, tmp_path / "a.zarr", HOW, executor=Half(), **options)
    executor = Counting()
    predict_blocks(checkpoint, image, tmp_path / "a.zarr", HOW, executor=executor, **options)
    assert len(executor.tasks) == 2 * 3 * 2 // 2
    predict_volume(checkpoint, image, tmp_path / "whole.zarr", HOW)
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr").read(), open_volume(tmp_path / "whole.zarr").read())


def test_workers_check_convolutions_with_amx_by_themselves(tmp_path, checkpoint, image, monkeypatch, capsys):
    """A worker may have another processor than where the run was started; this process stands for it."""
    rapids = Processor(frozenset({"avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16"}), {}, lambda: False)
    monkeypatch.setattr(precision, "processor_here", lambda: rapids)
    monkeypatch.setattr(precision, "amx_fault", lambda: "made up")
    request = make_request(checkpoint, image, HOW)
    capsys.readouterr()
    asked = (str(checkpoint), str(image.path), str(image.box), HOW.model_dump_json(), "cpu", "null")
    predict._request.cache_clear()
    found = predict._request(*asked, json.dumps({"model": model_digest(request.model)}))
    assert found.computes == "fp32"
    assert "computing in fp32: the check of convolutions with AMX failed, made up" in capsys.readouterr().out


@pytest.mark.skipif(not this_processor().has_amx, reason="this processor has no AMX")
def test_a_worker_of_its_own_uses_amx_for_our_networks_only(tmp_path, image, monkeypatch):
    """Whether the system has granted the worker AMX registers, asked in that process after it has predicted."""
    for limit in LIMITS:
        monkeypatch.delenv(limit, raising=False)
    ours = {"widths": [16, 16], "downsample": [[1, 2, 2]]}
    theirs = {"unet_3d": {"widths": [4, 4], "isotropy": [False, True]}}
    for name, own, options in (("residual_unet", True, ours), ("unet_3d", False, theirs)):
        config = Config.from_dict({"model": {"architecture": name, **options}})
        weights = build_network(config.model).state_dict()
        save_checkpoint(tmp_path / f"{name}.pt", {"config": config.to_dict(), "weights": weights, "info": {}})
        with open_executor(workers=1) as executor:
            predict_blocks(tmp_path / f"{name}.pt", image, tmp_path / f"{name}.zarr", HOW, executor=executor)
            assert list(executor.client.run(uses_tiles).values()) == [own]


@pytest.mark.parametrize("changed", ["net.pt", "image.h5"])
def test_workers_that_outlive_a_run_read_again_what_was_made_anew(tmp_path, checkpoint, changed):
    """This process stands for the worker: nothing it keeps may be of the network or the image of the run before."""
    rng = np.random.default_rng(1)
    for number in range(2):
        if number == 0 or changed == "image.h5":
            write_volume(tmp_path / "image.h5", rng.integers(0, 255, (4, 30, 30)).astype(np.uint8))
        if number == 1 and changed == "net.pt":
            content = read_checkpoint(checkpoint)
            weights = {name: value + 0.1 * (value.ndim > 1) for name, value in content["weights"].items()}
            save_checkpoint(checkpoint, {**content, "weights": weights})
        found = tmp_path / f"{number}.zarr"
        predict_blocks(checkpoint, open_volume(tmp_path / "image.h5"), found, HOW, block=(4, 16, 16))
    predict_volume(checkpoint, open_volume(tmp_path / "image.h5"), tmp_path / "whole.zarr", HOW)
    np.testing.assert_array_equal(open_volume(found).read(), open_volume(tmp_path / "whole.zarr").read())
    assert (open_volume(found).read() != open_volume(tmp_path / "0.zarr").read()).any()


@pytest.mark.parametrize("name", ["b.n5", "b.h5", "precomputed://{}/p"])
def test_every_output_format(tmp_path, checkpoint, image, name):
    output = name.format(tmp_path) if "{}" in name else str(tmp_path / name)
    predict_volume(checkpoint, image, tmp_path / "whole.zarr", HOW)
    predict_blocks(checkpoint, image, output, HOW, block=(8, 32, 32))
    np.testing.assert_array_equal(open_volume(output).read(), open_volume(tmp_path / "whole.zarr").read())
    assert not list(tmp_path.glob("*.unfinished"))
