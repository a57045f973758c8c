import itertools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuropil import NEAREST, Box, NeuropilError
from neuropil.inference.canvas import Canvas, Cells, Plan
from neuropil.inference.engine import Engine
from neuropil.inference.stream import columns, handing_over, predict_cells, read_mirrored
from neuropil.inference.tiling import lay_tiles
from neuropil.progress import ProgressCounter
from neuropil.volumes import array_volume

SHAPE = (20, 70, 80)


def plan(cell=(4, 16, 16), memory=2**30, batch=1):
    box = Box.whole(SHAPE)
    return Plan(lay_tiles(box, (8, 24, 24), (2, 6, 6), NEAREST), Cells(box, cell), batch=batch, memory=memory)


def engine():
    """Affinities that depend on the place in the tile, so that every weight shows."""

    def network(image):
        ramp = torch.linspace(0, 1, image[0].numel()).reshape(image.shape[1:])
        return ((image + ramp) / 2).expand(-1, 3, -1, -1, -1)

    return Engine(network, NEAREST, NEAREST, logits=False)


def run(how, done=frozenset()):
    found, seen = np.full((3, *SHAPE), np.nan, np.float32), []

    def emit(cell, box, affinities):
        seen.append(cell)
        found[:, *box.slices] = affinities

    image = array_volume(np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8))
    predict_cells([engine()], image, how, emit, ProgressCounter("predict", 1, 0, None), done)
    assert len(seen) == len(set(seen)), "each cell is handed over once"
    return found, seen


@pytest.mark.parametrize("how", [{"memory": 1}, {"memory": 200_000}, {"cell": (20, 70, 80)}, {"batch": 3}], ids=str)
def test_cells_columns_and_batches_change_nothing(how):
    expected, cells = run(plan())
    assert len(cells) == 5 * 5 * 5
    assert not np.isnan(expected).any()
    np.testing.assert_array_equal(run(plan(**how))[0], expected)


def test_only_cells_that_are_not_done_are_made_and_they_are_the_same():
    expected, cells = run(plan())
    done = set(cells[::3])
    found, again = run(plan(), done)
    assert set(again) == set(cells) - done
    made = ~np.isnan(found)
    np.testing.assert_array_equal(found[made], expected[made])


@pytest.mark.parametrize("threads", [1, 3])
def test_cells_are_all_taken_before_the_end_and_few_wait(threads):
    seen, most = [], 0

    def emit(cell, box, found):
        seen.append((cell, threading.current_thread()))

    with handing_over(emit, threads) as take:
        for n in range(40):
            take((0, 0, n), None, None)
            most = max(most, n + 1 - len(seen))
    assert sorted(cell for cell, _ in seen) == [(0, 0, n) for n in range(40)]
    assert most <= threads
    assert (threads == 1) == all(thread is threading.current_thread() for _, thread in seen)


def test_what_a_thread_raises_ends_the_run_and_is_the_last_that_is_taken():
    seen = []

    def emit(cell, box, found):
        seen.append(cell)
        raise NeuropilError("the disk is full")

    def hand_over():
        with handing_over(emit, 2) as take:
            for n in range(1000):
                take((0, 0, n), None, None)

    with pytest.raises(NeuropilError, match="the disk is full"):
        hand_over()
    assert len(seen) < 1000


@given(st.integers(0, 3_000_000), st.tuples(st.integers(1, 20), st.integers(1, 70), st.integers(1, 80)))
def test_columns_are_a_partition_of_the_cells(memory, cell):
    how = plan(cell, memory)
    found = [
        index
        for box in columns(how, 3)
        for index in itertools.product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True)))
    ]
    assert sorted(found) == sorted(itertools.product(*map(range, how.cells.counts)))


@pytest.mark.parametrize("memory", [400_000, 1_000_000, 10_000_000])
def test_what_waits_stays_within_the_memory_allowed(memory, monkeypatch):
    most = 0
    original = Canvas.add_batch

    def watched(self, tiles, affinities):
        nonlocal most
        original(self, tiles, affinities)
        most = max(most, sum(cell.nbytes for cell in self.painted.values()))

    monkeypatch.setattr(Canvas, "add_batch", watched)
    run(plan(memory=memory))
    assert 0 < most <= memory


@pytest.mark.parametrize(
    ("start", "expected"),
    [(0, "abcd"), (-2, "cbab"), (-7, "babc"), (2, "cdcb"), (30, "abcd")],
)
def test_beyond_its_faces_the_image_is_mirrored(start, expected):
    image = np.frombuffer(b"abcd", np.uint8).reshape(1, 1, 4)
    for axis in (0, 1, 2):
        line = array_volume(np.moveaxis(image, 2, axis))
        begin, shape = [0, 0, 0], [1, 1, 1]
        begin[axis], shape[axis] = start, 4
        assert read_mirrored(line, Box.at(begin, shape)).tobytes().decode() == expected


def test_one_voxel_is_all_that_its_mirrors_show():
    assert (
        read_mirrored(array_volume(np.full((1, 1, 1), 7)), Box((-2, -3, 0), (1, 2, 4))).tolist() == [[[7] * 4] * 5] * 3
    )


def test_what_goes_wrong_while_writing_is_told():
    def emit(cell, box, affinities):
        raise NeuropilError("the disk is full")

    with pytest.raises(NeuropilError, match="the disk is full"):
        predict_cells(
            [engine()], array_volume(np.zeros(SHAPE, np.uint8)), plan(), emit, ProgressCounter("predict", 1, 0, None)
        )
