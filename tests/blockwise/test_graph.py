"""Ranked questions by blocks are those of the whole volume, byte for byte."""

from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil.blockwise import open_executor, segment_blocks
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError, Unfinished
from neuropil.proofreading import load_calibration, open_proofreading, rank, write_decisions
from neuropil.proofreading.sources import open_by_blocks
from neuropil.volumes import LOGIT8, Metadata, array_volume, open_volume, write_volume
from reference.affinity_cases import cases

SCORES = ("mean", "max", "min", "q50")


def lists(folder, config, block, smallest, **options):
    """The decisions of both ways, as bytes; nothing is left of the blocks."""
    said = []
    with ExitStack() as stack:
        affinities, segmentation = (stack.enter_context(open_volume(folder / f"{n}.zarr")) for n in "as")
        state, _ = open_proofreading(affinities, segmentation, said.append)
        state.smallest = smallest
        whole = write_decisions(folder / "whole.csv", state, rank(state, load_calibration()))
        with open_by_blocks(
            affinities, segmentation, said.append, smallest=smallest, block=block, **options
        ) as by_blocks:
            parts = write_decisions(folder / "parts.csv", by_blocks, rank(by_blocks, load_calibration()))
    assert said[0] == said[1]
    assert f"score {config.score}" in said[0]
    assert sorted(path.name for path in folder.iterdir()) == ["a.zarr", "parts.csv", "s.zarr", "whole.csv"]
    return whole.read_bytes(), parts.read_bytes()


def segmented(folder, array, meta, config):
    write_volume(folder / "a.zarr", array, meta)
    segment_blocks(open_volume(folder / "a.zarr"), folder / "s.zarr", config, block=(99, 99, 99))


def ask(folder, **options):
    """Make the questions by blocks, and do nothing with them."""
    with ExitStack() as stack:
        volumes = [stack.enter_context(open_volume(folder / f"{n}.zarr")) for n in "as"]
        stack.enter_context(open_by_blocks(*volumes, str, **options))


def noise(seed, shape, levels=0):
    array = np.random.default_rng(seed).random((3, *shape)).astype(np.float32) ** np.float32(0.4)
    return np.round(array * levels) / np.float32(levels) if levels else array


@settings(max_examples=10)
@given(
    cases(largest=6), st.sampled_from(SCORES), st.tuples(*[st.integers(1, 5)] * 3), st.booleans(),
    st.floats(0.1, 0.9), st.sampled_from([0, 5]), st.integers(1, 4),
)  # fmt: skip
def test_blocks_do_not_show(tmp_path_factory, case, score, block, wide, threshold, min_size, smallest):
    """Any shape, type and sign of offsets, few distinct values; segments that min-size made across merges."""
    low, high = (0.3, 0.8) if wide else (1e-4, 0.9999)
    config = SegmentConfig(score=score, low=low, high=high, threshold=threshold, min_size=min_size)
    folder = tmp_path_factory.mktemp("rank")
    segmented(folder, case.array, Metadata(offsets=case.offsets, encoding=case.encoding, origin=(2, 3, 4)), config)
    whole, parts = lists(folder, config, block, smallest)
    assert parts == whole


@settings(max_examples=10)
@given(
    st.integers(0, 2**32), st.tuples(st.integers(2, 8), *[st.integers(5, 20)] * 2), st.sampled_from(SCORES),
    st.tuples(*[st.integers(2, 9)] * 3), st.floats(0.3, 0.95), st.sampled_from([0, 4, 40]), st.integers(3, 60),
    st.sampled_from([None, (30, 6, 6)]),
)  # fmt: skip
def test_questions_about_larger_segments(
    tmp_path_factory, seed, shape, score, block, threshold, smaller, smallest, size
):  # fmt: skip
    config = SegmentConfig(score=score, threshold=threshold, min_size=smaller)
    folder = tmp_path_factory.mktemp("rank")
    segmented(folder, noise(seed, shape, 12), Metadata(voxel_size=size), config)
    whole, parts = lists(folder, config, block, smallest)
    assert parts == whole


@pytest.mark.parametrize("block", [(3, 7, 8), (1, 24, 24), (6, 5, 24), (99, 99, 99)])
@pytest.mark.parametrize("score", ["mean", "q50"])
def test_both_kinds_of_questions(tmp_path, block, score):
    """Bytes, so that scores are often equal; there is something to compare."""
    config = SegmentConfig(score=score, threshold=0.8)
    meta = Metadata(voxel_size=(30, 6, 6), origin=(10, 20, 30), encoding=LOGIT8)
    segmented(tmp_path, LOGIT8.encode(noise(7, (6, 24, 24), 12)), meta, config)
    whole, parts = lists(tmp_path, config, block, 12)
    assert parts == whole
    for kind in (b",join,", b",separate,"):
        assert whole.count(kind) > 5


def test_on_processes(tmp_path):
    config = SegmentConfig(threshold=0.8, min_size=4)
    segmented(tmp_path, noise(1, (6, 24, 24)), Metadata(), config)
    with open_executor(2) as executor:
        whole, parts = lists(tmp_path, config, (3, 9, 9), 12, executor=executor)
    assert parts == whole
    assert whole.count(b"\n") > 10


def test_an_interrupted_run_goes_on(tmp_path):
    config = SegmentConfig(threshold=0.8)
    segmented(tmp_path, noise(2, (6, 24, 24)), Metadata(), config)
    seen = []

    def stop(label, done, of):
        seen.append((label, done))
        if label == "region graph" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path, block=(3, 9, 9), progress=stop)
    assert (tmp_path / "s.zarr.rank.blocks").exists()
    whole, parts = lists(tmp_path, config, (3, 9, 9), 12)
    assert parts == whole


def test_another_segmentation_is_refused(tmp_path):
    """As in memory: by a fragment within a block, and by one whose parts in two blocks lie in two segments."""
    write_volume(tmp_path / "a.zarr", np.full((3, 4, 4, 8), 0.99999, np.float32))
    inside, across = np.ones((4, 4, 8), np.uint32), np.ones((4, 4, 8), np.uint32)
    inside[0, 0, 1], across[:, :, 4:] = 2, 2
    for array, at in ((inside, "0, 0, 0|0, 0, 1"), (across, "0, 0, 0|0, 0, 4")):
        write_volume(tmp_path / "s.zarr", array)
        said = rf"s.zarr.* is no segmentation of these fragments: the one at \(({at})\) lies in several"
        with pytest.raises(Unfinished if array is inside else NeuropilError, match=said):
            ask(tmp_path, block=(4, 4, 4))
    write_volume(tmp_path / "s.zarr", inside, Metadata(origin=(1, 0, 0)))
    with pytest.raises(NeuropilError, match="expected a segmentation of 0:4,0:4,0:8, got 1:5,0:4,0:8"):
        ask(tmp_path)


def test_arrays_in_memory_are_refused(tmp_path):
    array = array_volume(np.ones((4, 4, 8), np.uint32))
    write_volume(tmp_path / "a.zarr", np.ones((3, 4, 4, 8), np.float32))
    with (
        open_volume(tmp_path / "a.zarr") as affinities,
        pytest.raises(NeuropilError, match="expected a segmentation in a file"),
        open_by_blocks(affinities, array, str),
    ):
        pass
