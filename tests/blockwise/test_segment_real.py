"""On real tissue, as the shipped model sees it, blocks do not show: every score, every shape of block, any workers."""

from dataclasses import replace

import numpy as np
import pytest

import neuropil
from neuropil import Box
from neuropil.blockwise import open_executor, segment_blocks, tune_blocks
from neuropil.config import PredictConfig, SegmentConfig
from neuropil.evaluation.tuning import tune_pairs
from neuropil.inference import predict_volume
from neuropil.segmentation import segment
from neuropil.volumes import open_volume, write_volume
from real_data import SNEMI3D
from reference.partitions import partition

pytestmark = pytest.mark.skipif(
    not SNEMI3D.is_dir(), reason="needs SNEMI3D: set NEUROPIL_DATA to the folder that holds it"
)

BOX = Box((80, 320, 420), (88, 350, 454))
WIDE = Box((80, 300, 400), (88, 360, 464))
"""For the threshold curve, which needs more fragments than BOX holds."""
BLOCKS = [
    (3, 14, 12), (8, 30, 20), (1, 30, 34), (8, 1, 34), (8, 30, 1), (99, 99, 99), (5, 29, 34), (2, 30, 11), (8, 15, 17),
]  # fmt: skip
"""Of 8 × 30 × 34 voxels: uneven remainders on all axes, slabs of one voxel on each, more than the volume, halves."""


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """Affinities of held-out sections: all that the model predicts for a box, nearest ones, those of a wider box."""
    folder = tmp_path_factory.mktemp("real")
    image, chosen = open_volume(SNEMI3D / "image.h5"), PredictConfig(tta=1, keep="all")
    predict_volume("snemi3d", image, folder / "whole.zarr", chosen, box=WIDE, device="cpu")
    whole = open_volume(folder / "whole.zarr")
    offsets = whole.metadata.offsets
    nearest = [offsets.index(offset) for offset in neuropil.NEAREST]
    for name, box, channels in (("all", BOX, list(range(12))), ("nearest", BOX, nearest), ("wide", WIDE, nearest)):
        meta = replace(whole.metadata, origin=box.start, offsets=tuple(offsets[n] for n in channels))
        write_volume(folder / f"{name}.zarr", whole.read(box)[channels], meta)
    return folder


def check(folder, name, config, block, out, executor=None, least=15):
    affinities = open_volume(folder / name)
    expected = segment(affinities, config)
    assert expected.max() > least
    segment_blocks(affinities, out / "s.zarr", config, block=block, executor=executor)
    np.testing.assert_array_equal(partition(open_volume(out / "s.zarr").read()), partition(expected), str(block))


def shapes_and_scores():
    """All pairs: every shape with one score, every score with two shapes or more; the others when there is time."""
    scores = ("mean", "max", "min", "q50")
    for number, block in enumerate(BLOCKS):
        for score in scores:
            slow = score != scores[number % 4]
            yield pytest.param(block, score, marks=pytest.mark.slow if slow else (), id=f"{block} {score}")


@pytest.mark.parametrize(("block", "score"), list(shapes_and_scores()))
def test_every_score_and_shape(tmp_path, predicted, score, block):
    check(predicted, "nearest.zarr", SegmentConfig(score=score, threshold=0.3, min_size=0), block, tmp_path)


@pytest.mark.parametrize("score", ["mean", "q75"])
def test_small_segments_join_the_same_neighbours(tmp_path, predicted, score):
    config = SegmentConfig(score=score, threshold=0.9, min_size=12)
    check(predicted, "nearest.zarr", config, (3, 9, 13), tmp_path, least=3)


@pytest.mark.parametrize("block", [(4, 15, 17), (3, 13, 34), (99, 99, 99)], ids=str)
def test_the_mutex_watershed_of_fragments_with_long_edges(tmp_path, predicted, block):
    offsets = open_volume(predicted / "all.zarr").metadata.offsets
    assert max(max(map(abs, offset)) for offset in offsets) > 4
    check(predicted, "all.zarr", SegmentConfig(method="mutex", fragments=True, bias=(-0.5,)), block, tmp_path)


def test_every_threshold(tmp_path, predicted):
    pair = (open_volume(predicted / "wide.zarr"), open_volume(SNEMI3D / "labels_z000-099.h5"))
    found = tune_blocks([pair], block=(3, 23, 31), work=tmp_path / "work").curve
    expected = tune_pairs([pair]).curve
    assert len(expected) > 300
    for name in ("thresholds", "merges", "adapted_rand_error"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(found.sums.pairs, expected.sums.pairs)
    np.testing.assert_array_equal(found.sums.segments, expected.sums.segments)
    np.testing.assert_allclose(found.voi, expected.voi, rtol=0, atol=1e-9)


@pytest.mark.parametrize("workers", [pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 4)])
def test_workers_do_not_show(tmp_path, predicted, workers):
    with open_executor(workers=workers) as executor:
        for number, (score, block) in enumerate([("mean", (4, 15, 12)), ("q50", (3, 30, 17)), ("min", (8, 10, 34))]):
            out = tmp_path / str(number)
            out.mkdir()
            check(
                predicted, "nearest.zarr", SegmentConfig(score=score, threshold=0.3, min_size=0), block, out, executor
            )


def test_fragments_are_those_of_the_whole(tmp_path, predicted):
    affinities = open_volume(predicted / "nearest.zarr")
    segment_blocks(affinities, tmp_path / "s.zarr", SegmentConfig(method="watershed"), block=(3, 10, 7))
    found = open_volume(tmp_path / "s.zarr").read()
    np.testing.assert_array_equal(partition(found), partition(neuropil.watershed(affinities)))
