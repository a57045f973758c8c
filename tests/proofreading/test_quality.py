"""The summary without labels, on a segmentation whose parts are known."""

import sys

import numpy as np
import pytest

from neuropil.config import SegmentConfig
from neuropil.proofreading import Calibration, proofreading_of, rank
from neuropil.proofreading.quality import quality_of
from neuropil.volumes import Metadata, array_volume

SIZE, START = (100, 100, 100), (3, 0, 10)


@pytest.fixture(scope="module")
def parts():
    """Two somata with a neurite between them, a free cube, a small free cube, and background around them."""
    ids = np.zeros((52, 60, 120), np.uint32)
    ids[5:45, 5:45, 5:45] = ids[5:45, 5:45, 75:115] = ids[23:27, 23:27, 45:75] = 1
    ids[10:21, 50:56, 20:60] = 2
    ids[10:20, 50:56, 70:75] = 3
    ids[51, :, :] = 4
    return ids


@pytest.fixture(scope="module")
def found(parts):
    affinities = np.zeros((3, *parts.shape), np.float32)
    for axis in range(3):
        same = np.moveaxis(affinities[axis], axis, 0)
        along = np.moveaxis(parts, axis, 0)
        same[1:] = np.where((along[1:] == along[:-1]) & (along[1:] > 0), 0.9, 0)
    meta = Metadata(voxel_size=SIZE, origin=START)
    state = proofreading_of(array_volume(affinities, meta), settings=SegmentConfig(low=0.5))
    segmentation = array_volume(state.cut.lut[state.cut.tree.nodes(state.fragments.read())], meta)
    return quality_of(state, rank(state, Calibration.load()), segmentation), segmentation


def test_sizes_orphans_and_somata(found, parts):
    quality, segmentation = found
    voxels = np.bincount(parts.ravel())
    assert quality.sizes.tolist() == sorted(voxels[1:].tolist(), reverse=True)
    assert quality.background == pytest.approx(voxels[0] / parts.size)
    array = segmentation.read()
    names = [int(array[tuple(place)]) for place in ((6, 6, 6), (10, 50, 20))]
    # Part 3 is too small for an orphan, part 4 lies on a face of the volume.
    assert [(one.id, one.why) for one in quality.orphans] == [
        (names[0], f"{voxels[1]} voxels"), (names[1], f"{voxels[2]} voxels")
    ]  # fmt: skip
    for one in quality.suspects:
        assert array[tuple(np.subtract(one.at, START))] == one.id
    assert [(one.id, one.why) for one in quality.somata] == [(names[0], "one of 2 soma-sized parts")] * 2
    assert len({one.at for one in quality.somata}) == 2


def test_lines(found):
    quality, _ = found
    lines = quality.lines()
    assert lines[0].startswith("segments                 4, background ")
    assert len({line[:25] for line in lines}) == len(lines) == 8
    assert all(line[24] == " " for line in lines)  # no name touches its value
    somata = next(line for line in lines if line.startswith("several somata"))
    assert somata[25:].startswith(f"1 segments with several parts of a radius of 1500 nm: {quality.somata[0].id} (")


def test_questions_are_counted_by_their_probability():
    array = np.random.default_rng(1).random((3, 6, 40, 40)) ** 0.4
    state = proofreading_of(array_volume(array, Metadata(voxel_size=(30, 6, 6))), settings=SegmentConfig(threshold=0.7))
    state.smallest = 20
    ranking = rank(state, Calibration.load())
    quality = quality_of(state, ranking, state.fragments)
    contacts, merges = (line for line in quality.lines() if line.startswith("uncertain"))
    for line, kind in ((contacts, ranking.found.join), (merges, ~ranking.found.join)):
        p = ranking.probability[kind]
        wanted = [(low <= p) & (p < high) for low, high in ((0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 2))]
        counts = [int(part.split(" with ")[0]) for part in line[25:].split(", ")]
        assert counts == [w.sum() for w in wanted]
    assert quality.gain == pytest.approx(ranking.gain.sum())


def test_what_cannot_be_known_is_said(monkeypatch):
    state = proofreading_of(np.full((3, 2, 4, 4), 0.9))
    ranking = rank(state, Calibration.load())
    quality = quality_of(state, ranking, array_volume(np.ones((2, 4, 4), int)))
    assert quality.somata == quality.calibre == "no voxel size is stored"
    assert sum("not known: no voxel size" in line for line in quality.lines()) == 2
    monkeypatch.setitem(sys.modules, "kimimaro", None)
    quality = quality_of(state, ranking, array_volume(np.ones((2, 4, 4), int), Metadata(voxel_size=SIZE)))
    assert quality.somata == []
    assert "neuropil[mesh]" in quality.calibre
    assert not quality.suspects
