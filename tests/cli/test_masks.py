"""--mask, --skip-sections and --ignore through every verb, in memory and by blocks: the same, and as done by hand."""

import json

import h5py
import numpy as np
import pytest
import tifffile
import torch

from commands import printed as neuropil
from neuropil import NEAREST, evaluate, synthetic
from neuropil.config import Config
from neuropil.models import build_network
from neuropil.models.released import write_weights
from neuropil.volumes import LOGIT8, Metadata, open_volume, write_volume

SHAPE = (16, 40, 48)
SIZE = (30.0, 6.0, 6.0)
SKIPPED = (5, 11)
OPTIONS = ("--mask", "mask.h5", "--skip-sections", "5,11")
BLOCKS = {"in memory": (), "by blocks": ("--block", "7,20,24")}


@pytest.fixture(scope="module")
def tissue():
    """A mask of voxels twice and four times as large, as it lies over the image; sections 5 and 11 are outside."""
    coarse = np.ones((16, 20, 12), np.uint8)
    coarse[:, :4], coarse[:, :, 9:], coarse[3:6, 10:13, 4:7] = 0, 0, 0
    inside = coarse.repeat(2, 1).repeat(4, 2) > 0
    inside[list(SKIPPED)] = False
    return coarse, inside


@pytest.fixture(scope="module")
def grown():
    """Image, labels and affinities."""
    image, labels = synthetic.neuropil(SHAPE, seed=3)
    image[list(SKIPPED)] = 0
    affinities = synthetic.affinities(labels, NEAREST, noise=0.3, seed=2)
    affinities[:, list(SKIPPED)] = 0.95  # a network joins what it does not see
    return image, labels, affinities


@pytest.fixture
def folder(tmp_path, monkeypatch, tissue, grown):
    monkeypatch.chdir(tmp_path)
    image, labels, affinities = grown
    tifffile.imwrite("image.tif", image)
    write_volume("affinities.h5", LOGIT8.encode(affinities), Metadata(SIZE, None, NEAREST, LOGIT8))
    with h5py.File("labels.h5", "w") as file:
        file["labels"] = labels
        file["labels"].attrs["resolution"] = SIZE
    with h5py.File("mask.h5", "w") as file:
        file["mask"] = tissue[0]
        file["mask"].attrs["resolution"] = np.multiply(SIZE, (1, 2, 4))
    return tmp_path


def optima(said):
    """The lines of `tune` about the best thresholds."""
    found = [line for line in said.splitlines() if line.startswith("lowest")]
    assert len(found) == 2
    return found


def numbered(segmentation):
    """Ids in the order of their first voxels: blocks number them in another."""
    ids, first, inverse = np.unique(segmentation, return_index=True, return_inverse=True)
    order = np.where(ids == 0, -1, first)
    return np.argsort(np.argsort(order))[inverse].reshape(segmentation.shape)


def cleared(affinities, inside):
    """Edges with an end outside are 0."""
    found = np.where(inside, affinities, 0)
    found[0, 1:][:, :][~inside[:-1]] = 0
    found[1][:, 1:][~inside[:, :-1]] = 0
    found[2][:, :, 1:][~inside[:, :, :-1]] = 0
    return found


@pytest.fixture
def by_hand(folder, tissue):
    """The same files with the outside set to 0 by hand: what all options must equal."""
    stored = open_volume("affinities.h5")
    write_volume("cleared.h5", cleared(stored.read(), tissue[1]), stored.metadata)
    write_volume("tissue.h5", np.where(tissue[1], open_volume("labels.h5").read(), 0), Metadata(SIZE))
    return folder


@pytest.mark.parametrize("how", BLOCKS)
@pytest.mark.parametrize(
    "more", [(), ("--min-size", "60"), ("--method", "watershed"), ("--method", "mutex", "--fragments")]
)
def test_segment(by_hand, tissue, how, more):
    said = neuropil("segment", "affinities.h5", "-o", "s.h5", *more, *OPTIONS, *BLOCKS[how])
    assert "mask.h5/mask: one of its voxels is 1×2×4 (z, y, x) of the image's" in said
    assert "sections left out: 5, 11 (as asked)" in said
    neuropil("segment", "cleared.h5", "-o", "hand.h5", *more)
    found = open_volume("s.h5")
    np.testing.assert_array_equal(numbered(found.read()), numbered(open_volume("hand.h5").read()))
    assert not found.read()[~tissue[1]].any()
    assert found.metadata.extra["tissue"] == {"mask": f"{by_hand}/mask.h5", "skipped": [5, 11]}


def test_mutex_of_voxels_and_filling_leave_the_outside_empty(by_hand, tissue):
    for more in (("--method", "mutex", "--bias", "0.1,-0.5,-0.5"), ("--fill",)):
        neuropil("segment", "affinities.h5", "-o", "s.h5", *more, *OPTIONS)
        found = open_volume("s.h5").read()
        assert not found[~tissue[1]].any()
        assert found[tissue[1]].any()
    assert found[tissue[1]].all()  # filled


@pytest.mark.parametrize("how", BLOCKS)
def test_tune_and_evaluate(by_hand, how):
    best = neuropil("tune", "affinities.h5", "labels.h5", "-o", "t", *OPTIONS, *BLOCKS[how])
    hand = neuropil("tune", "cleared.h5", "tissue.h5", "-o", "h")
    assert optima(best) == optima(hand)
    neuropil("segment", "affinities.h5", "-o", "s.h5", "--threshold", "0.5")
    neuropil("evaluate", "s.h5", "labels.h5", "--json", "a.json", *OPTIONS, *BLOCKS[how])
    neuropil("evaluate", "s.h5", "tissue.h5", "--json", "b.json")
    one, other = (json.loads((by_hand / name).read_text()) for name in ("a.json", "b.json"))
    assert one == other
    plain = evaluate("s.h5", "labels.h5")
    assert plain.scored > one["scored"]


@pytest.mark.parametrize("how", BLOCKS)
def test_ignored_ids(folder, how):
    labels = open_volume("labels.h5").read()
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    gone = [int(n) for n in ids[np.argsort(-counts)][:2]]
    with h5py.File("labels.h5", "a") as file:
        ignored = file["labels"][()].astype(np.uint64)
        ignored[ignored == gone[1]] = 2**64 - 1
        del file["labels"]
        file["labels"] = ignored
    write_volume("fewer.h5", np.where(np.isin(labels, gone), 0, labels))
    ids = ("--ignore", f"{gone[0]},{2**64 - 1}")
    best = neuropil("tune", "affinities.h5", "labels.h5", *ids, *BLOCKS[how])
    assert optima(best) == optima(neuropil("tune", "affinities.h5", "fewer.h5"))
    neuropil("segment", "affinities.h5", "-o", "s.h5")
    neuropil("evaluate", "s.h5", "labels.h5", "--json", "a.json", *ids, *BLOCKS[how])
    neuropil("evaluate", "s.h5", "fewer.h5", "--json", "b.json")
    assert (folder / "a.json").read_text() == (folder / "b.json").read_text()


def test_minus_one_is_unlabelled_by_blocks_too(folder):
    labels = open_volume("labels.h5").read().astype(np.int64)
    labels[3] = -1
    write_volume("minus.h5", labels)
    write_volume("zero.h5", np.maximum(labels, 0))
    neuropil("segment", "affinities.h5", "-o", "s.h5")
    neuropil("evaluate", "s.h5", "minus.h5", "--json", "a.json", *BLOCKS["by blocks"])
    neuropil("evaluate", "s.h5", "zero.h5", "--json", "b.json")
    assert (folder / "a.json").read_text() == (folder / "b.json").read_text()
    best = neuropil("tune", "affinities.h5", "minus.h5", *BLOCKS["by blocks"])
    assert optima(best) == optima(neuropil("tune", "affinities.h5", "zero.h5"))


def small_model(path):
    """A file of untrained weights."""
    recipe = {
        "model": {
            "widths": [4, 6],
            "downsample": [[1, 2, 2]],
            "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-2, 0, 0]],
        },
        "training": {"patch": [4, 16, 16]},
        "predict": {"tta": 4, "tile": [6, 24, 24], "keep": "all"},
    }
    config = Config.from_dict(recipe)
    torch.manual_seed(0)
    write_weights(path, build_network(config.model).state_dict(), config.to_dict(), {})


@pytest.mark.parametrize("how", BLOCKS)
def test_predict(folder, tissue, how):
    small_model(folder / "m.safetensors")
    neuropil("predict", "m.safetensors", "image.tif", "-o", "whole.zarr")
    neuropil("convert", "mask.h5", "mask.zarr", "--voxel-size", "1,2,4")
    neuropil("convert", "image.tif", "sized.h5", "--voxel-size", "1,1,1")
    said = neuropil(
        "predict",
        "m.safetensors",
        "sized.h5",
        "-o",
        "a.zarr",
        "--mask",
        "mask.zarr",
        "--skip-sections",
        "auto",
        *BLOCKS[how],
    )
    assert "section 5 is left out: black: one grey value, 0" in said
    found, whole = open_volume("a.zarr"), open_volume("whole.zarr").read()
    expected = cleared(whole, tissue[1])
    expected[3, 2:][~tissue[1][:-2]] = 0
    np.testing.assert_array_equal(found.read(), expected)
    assert found.metadata.extra["tissue"]["skipped"] == [5, 11]
    # What was left out of the affinities is known to the verbs after.
    neuropil("segment", "a.zarr", "-o", "s.h5")
    assert "sections left out: 5, 11 (as stored with" in neuropil(
        "evaluate", "s.h5", "labels.h5", "--skip-sections", "auto"
    )
