"""The list of questions: as a row-by-row writer writes it, and the same for a segmentation made by blocks."""

import csv

import numpy as np
import pytest

from block_runs import by_blocks
from neuropil.config import SegmentConfig
from neuropil.proofreading import Calibration, proofreading_of, rank, write_decisions
from neuropil.proofreading import ranking as module
from neuropil.volumes import Metadata, array_volume, open_volume


def noise(seed, shape=(8, 20, 22), levels=12):
    """Affinities of few values, so that there are equal sizes, scores and gains."""
    return np.random.default_rng(seed).integers(1, levels, (3, *shape)).astype(np.float32) / levels


def questions(ranking):
    """All columns but the ids, which are numbers without meaning."""
    found = ranking.found
    names = [name for name in type(found).__dataclass_fields__ if not name.startswith("id_")]
    return {name: getattr(found, name).tolist() for name in names} | {
        "probability": ranking.probability.tolist(), "gain": ranking.gain.tolist()
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [(4, 7, 9), (8, 20, 5)])
def test_the_list_of_a_segmentation_made_by_blocks_is_the_same(seed, block, tmp_path):
    settings = SegmentConfig(threshold=0.55, min_size=4 * (seed % 2))
    meta, array = Metadata(voxel_size=(30, 6, 6), origin=(10, 20, 30)), noise(seed)
    blocks = by_blocks(tmp_path, array, meta, settings, block)
    affinities = open_volume(tmp_path / "a.zarr")
    whole = proofreading_of(affinities, settings=settings)
    other = proofreading_of(affinities, array_volume(blocks, Metadata(origin=(10, 20, 30))), settings)
    whole.smallest = other.smallest = 4
    ids = {int(a): int(b) for a, b in zip(whole.cut.lut, other.cut.lut, strict=True)}
    assert sorted(ids.values()) == sorted(ids)  # the same segments,
    assert ids != {n: n for n in ids}  # in another order
    one, two = (rank(state, Calibration.load()) for state in (whole, other))
    assert (one.found.side_a == one.found.side_b)[one.found.join].any()  # equal sides do not follow ids
    assert len(one.found) > 100
    assert questions(one) == questions(two)
    for name in ("id_a", "id_b"):
        assert [ids[n] for n in getattr(one.found, name).tolist()] == getattr(two.found, name).tolist()


@pytest.mark.parametrize("size", [None, (29.5, 6, 6)])
def test_rows_are_what_a_writer_of_csv_writes(size, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 7)
    state = proofreading_of(array_volume(noise(5, (4, 12, 12)), Metadata(size, (100, 0, 5))))
    state.smallest = 4
    ranking = rank(state, Calibration.load())
    found = ranking.found
    assert len(found) > 3 * module._ROWS
    rows = list(csv.reader(write_decisions(tmp_path / "d.csv", state, ranking).open()))
    assert ",".join(rows.pop(0)) == ",".join(module.COLUMNS)
    for i, (row, key) in enumerate(zip(rows, found.key.tolist(), strict=True)):
        at = np.unravel_index(key // 3, (4, 12, 12)) + np.array((100, 0, 5))
        assert row == [
            str(i + 1), "join" if found.join[i] else "separate", *map(str, at.tolist()),
            *(f"{c * s:.10g}" if size else "" for c, s in zip(at.tolist(), size or (1, 1, 1), strict=True)),
            str(found.id_a[i]), str(found.id_b[i]), str(found.side_a[i]), str(found.side_b[i]), str(found.contact[i]),
            f"{found.mean[i]:.6f}", f"{ranking.probability[i]:.6f}", f"{ranking.gain[i]:.9f}",
        ]  # fmt: skip
