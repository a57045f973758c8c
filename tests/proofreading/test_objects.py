"""The object table against a slow count of every segment."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from neuropil import Metadata, write_volume
from neuropil.cli import app
from neuropil.config import SegmentConfig
from neuropil.evaluation.components import connected_parts
from neuropil.proofreading import Calibration, proofreading_of
from neuropil.proofreading.objects import objects_of, with_confidence
from neuropil.volumes import array_volume


@pytest.mark.parametrize("seed", range(3))
def test_every_column_against_a_slow_count(seed):
    array = np.kron(np.random.default_rng(seed).integers(0, 5, (2, 3, 4)), np.ones((2, 3, 3), int)).astype(np.uint64)
    array[array == 4] = 10**12
    rows = objects_of(array_volume(array, Metadata(voxel_size=(30, 6, 6), origin=(5, 0, 2))))
    assert [row.id for row in rows] == sorted(set(array.ravel().tolist()) - {0})
    for row in rows:
        at, start = np.argwhere(array == row.id), np.array((5, 0, 2))
        assert row.voxels == len(at)
        assert row.volume_nm3 == len(at) * 30 * 6 * 6
        assert row.box.start == tuple(at.min(axis=0) + start)
        assert row.box.stop == tuple(at.max(axis=0) + 1 + start)
        far = (((at - at.mean(axis=0)) * (30, 6, 6)) ** 2).sum(axis=1)
        assert far[(at + start == row.centre).all(axis=1)][0] == pytest.approx(far.min())
        assert row.border_voxels == ((at == 0) | (at == np.array(array.shape) - 1)).any(axis=1).sum()
        parts = np.unique(connected_parts((array == row.id).astype(np.uint8)))
        assert row.parts == (parts > 0).sum()
        near = set()
        for step in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
            moved = at + step
            inside = ((moved >= 0) & (moved < array.shape)).all(axis=1)
            near |= set(array[tuple(moved[inside].T)].tolist())
        assert row.neighbours == len(near - {0, row.id})


def test_confidence_against_a_loop_over_all_questions():
    array = np.random.default_rng(1).random((3, 6, 24, 24)) ** 0.4
    settings = SegmentConfig(threshold=0.7)
    state = proofreading_of(array_volume(array, Metadata(voxel_size=(30, 6, 6))), settings=settings)
    state.smallest = 20
    calibration = Calibration.load()
    found = state.candidates()
    right = 1 - calibration.probability(found)
    segmentation = array_volume(state.cut.lut[state.cut.tree.nodes(state.fragments.read())])
    rows = with_confidence(objects_of(segmentation), state, calibration)
    for row in rows:
        asked = [i for i in range(len(found)) if row.id in (found.id_a[i], found.id_b[i])]
        assert row.confidence == pytest.approx(np.prod(right[asked]))
        merges = [found.mean[i] for i in asked if not found.join[i]]
        assert row.weakest_merge == (min(merges) if merges else None)
    assert {row.weakest_merge is None for row in rows} == {True, False}
    assert min(row.confidence for row in rows) < 0.9 < max(row.confidence for row in rows)


def test_the_table_as_typed(tmp_path):
    affinities = np.full((3, 10, 24, 60), 0.9, np.float32)
    affinities[2, :, :, 30] = 0.6
    write_volume(tmp_path / "a.h5", affinities, Metadata(voxel_size=(30, 6, 6)))
    runner = CliRunner()
    for words in (["segment", "a.h5", "-o", "s.h5"], ["objects", "s.h5", "--affinities", "a.h5", "-o", "objects.csv"]):
        words = [str(tmp_path / word) if "." in word else word for word in words]
        assert runner.invoke(app, words).exit_code == 0
    (row,) = csv.DictReader((tmp_path / "objects.csv").open())
    assert (row["id"], row["voxels"], row["parts"], row["z1"]) == ("1", "14400", "1", "10")
    assert float(row["weakest_merge"]) == pytest.approx(0.6, abs=1e-3)
    assert 0 < float(row["confidence"]) < 1
