"""The curve and the optimum by blocks are those of the whole volume."""

import csv
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropil import Box, NeuropilError
from neuropil.blockwise import BlocksFailed, open_executor, tune_blocks
from neuropil.config import SegmentConfig
from neuropil.evaluation.changes import Changes
from neuropil.evaluation.table import Contingency
from neuropil.evaluation.tuning import tune_pairs
from neuropil.volumes import Metadata, create_volume, open_volume, write_volume
from reference.affinity_cases import cases

SCORES = ("mean", "max", "min", "q50")


def assert_same(found, expected):
    """Integer sums and steps exactly, logarithms to 1e-9."""
    assert len(found.curve) == len(expected.curve)
    for name in ("thresholds", "merges", "adapted_rand_error", "adapted_rand_precision", "adapted_rand_recall"):
        np.testing.assert_array_equal(getattr(found.curve, name), getattr(expected.curve, name), err_msg=name)
    for name in ("pairs", "segments"):
        np.testing.assert_array_equal(getattr(found.curve.sums, name), getattr(expected.curve.sums, name))
    assert found.curve.sums.constant == expected.curve.sums.constant
    for name in ("voi_split", "voi_merge"):
        np.testing.assert_allclose(getattr(found.curve, name), getattr(expected.curve, name), rtol=0, atol=1e-9)
    assert found.settings == expected.settings
    assert found.score == pytest.approx(expected.score, abs=1e-9)


def pair(folder, array, truth, meta=None, placed=None):
    write_volume(folder / "a.zarr", array, meta or Metadata())
    write_volume(folder / "t.zarr", truth, placed or Metadata())
    return open_volume(folder / "a.zarr"), open_volume(folder / "t.zarr")


@settings(max_examples=8)
@given(
    cases(largest=6), st.sampled_from(SCORES), st.tuples(*[st.integers(1, 5)] * 3), st.integers(1, 9), st.booleans(),
    st.integers(0, 2**32),
)  # fmt: skip
def test_blocks_do_not_show(tmp_path_factory, case, score, block, objects, wide, seed):
    """Any shape, type and sign of offsets; few distinct values; labels that have nothing to do with fragments."""
    low, high = (0.3, 0.8) if wide else (1e-4, 0.9999)
    config = SegmentConfig(score=score, low=low, high=high)
    truth = np.random.default_rng(seed).integers(0, objects + 1, case.shape).astype(np.uint16)
    truth.flat[0] = 1
    meta = Metadata(offsets=case.offsets, encoding=case.encoding, origin=(2, 3, 4))
    one = pair(tmp_path_factory.mktemp("tune"), case.array, truth, meta, Metadata(origin=(2, 3, 4)))
    assert_same(tune_blocks([one], config, block=block), tune_pairs([one], config))


def ties(seed, shape=(5, 10, 9)):
    """Few values, and truth in clumps that fragments lie across."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, [-(-n // 4) for n in shape]).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    part = tuple(slice(n) for n in shape)
    return (rng.integers(0, 4, (3, *shape)) * 80).astype(np.uint8), truth[part].astype(np.uint32)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("block", [(3, 4, 5), (1, 10, 9), (5, 1, 9), (5, 10, 1), (4, 9, 7), (99, 99, 99)])
def test_heavy_ties(tmp_path, score, block):
    one = pair(tmp_path, *ties(len(score)))
    config = SegmentConfig(score=score)
    assert_same(tune_blocks([one], config, metric="voi", block=block), tune_pairs([one], config, metric="voi"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "t.zarr"]


def test_the_whole_is_segmented_and_the_box_scored(tmp_path):
    """Labels of a part of the volume, and of these a box: fragments reach beyond both."""
    array, truth = ties(3, (8, 14, 18))
    one = pair(tmp_path, array, truth[1:7, 2:, :15], Metadata(origin=(5, 0, 9)), Metadata(origin=(6, 2, 9)))
    for box in (None, Box((7, 3, 10), (12, 13, 22))):
        assert_same(tune_blocks([one], box=box, block=(5, 7, 10)), tune_pairs([one], box=box))


@pytest.mark.slow
def test_several_volumes_and_workers(tmp_path):
    pairs = []
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        pairs.append(pair(tmp_path / str(seed), *ties(seed)))
    with open_executor(workers=2) as executor:
        found = tune_blocks(pairs, tolerance=0.02, block=(3, 5, 9), executor=executor, work=tmp_path / "work")
    expected = tune_pairs(pairs, tolerance=0.02)
    assert found.settings == expected.settings
    np.testing.assert_array_equal(found.curve.adapted_rand_error, expected.curve.adapted_rand_error)
    assert not (tmp_path / "work").exists()


def test_sums_beyond_64_bits():
    """Regions of 2**40 voxels: squares of 80 bits, carried right through differences, sums and running sums."""
    huge = np.uint64(1) << np.uint64(40)
    names = np.arange(1, 5, dtype=np.uint64)
    table = Contingency(np.array([1, 1, 2, 2], np.uint64), names, huge + names)
    a, b, score = np.array([1, 3, 1], np.uint64), np.array([2, 4, 3], np.uint64), np.array([0.5, 0.5, 0.25])
    whole = Changes.of(table, a, b, score, first=True)
    halves = [
        Changes.of(Contingency(table.truth[i:j], table.segment[i:j], table.count[i:j]), a[k : k + 1], b[k : k + 1],
                   score[k : k + 1], first=True)
        for k, (i, j) in enumerate([(0, 2), (2, 4)])
    ]  # fmt: skip
    merged = Contingency(np.array([1, 2], np.uint64), np.array([1, 3], np.uint64), huge * np.uint64(2) + names[[2, 2]])
    merged.count[1] += np.uint64(4)
    parts = Changes.total([*halves, Changes.of(merged, a[2:], b[2:], score[2:], first=False)])
    sizes = np.array([int(merged.count[0]), int(merged.count[1])], np.uint64)
    for found in (whole, parts):
        curve = found.curve(np.zeros(0, np.uint64), sizes, int(sizes.sum()))
        n = [int(c) for c in table.count]
        t = [int(s) for s in sizes]
        expected = [
            (sum(c * c for c in n), sum(c * c for c in n)),
            (sum(s * s for s in t), sum(s * s for s in t)),
            (sum(s * s for s in t), sum(t) ** 2),
        ]
        assert [(curve.sums.at(i).pairs, curve.sums.at(i).segments) for i in range(3)] == expected
        assert curve.merges.tolist() == [0, 2, 3]
    for field in fields(Changes):
        np.testing.assert_allclose(getattr(parts, field.name), getattr(whole, field.name), rtol=1e-12)


def test_what_cannot_be_tuned_is_refused(tmp_path):
    array, truth = ties(0, (2, 4, 4))
    one = pair(tmp_path, array, truth)
    with pytest.raises(NeuropilError, match="agglomerate"):
        tune_blocks([one], SegmentConfig(method="watershed"), block=(2, 2, 2))
    nothing = pair(tmp_path, array, np.zeros_like(truth))
    with pytest.raises(NeuropilError, match="nothing to score"):
        tune_blocks([nothing], block=(2, 2, 2))


def test_unreadable_labels_are_named_and_a_second_call_goes_on(tmp_path):
    array, truth = ties(5, (4, 16, 16))
    write_volume(tmp_path / "a.zarr", array)
    with create_volume(tmp_path / "t.zarr", truth.shape, truth.dtype, chunks=(4, 8, 8)) as volume:
        volume.write(volume.box, truth)
    chunk = tmp_path / "t.zarr/c/0/1/0"
    before = chunk.read_bytes()
    chunk.write_bytes(b"no chunk")
    options = {"block": (4, 8, 8)}
    with pytest.raises(BlocksFailed, match="counting pairs of block 0:4,8:16,0:8"):
        tune_blocks([(open_volume(tmp_path / "a.zarr"), open_volume(tmp_path / "t.zarr"))], **options)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "a.zarr.tune.blocks").rglob("*.npz")}
    chunk.write_bytes(before)
    one = open_volume(tmp_path / "a.zarr"), open_volume(tmp_path / "t.zarr")

    def progress(step, count, total):
        if step == "counting pairs":
            assert all(path.stat().st_mtime_ns == time for path, time in done.items())

    assert_same(tune_blocks([one], progress=progress, **options), tune_pairs([one]))
    assert not (tmp_path / "a.zarr.tune.blocks").exists()


def test_what_a_run_with_other_options_left_stays_and_is_told(tmp_path):
    one = pair(tmp_path, *ties(6))

    def stop(step, count, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_blocks([one], SegmentConfig(score="max"), block=(4, 5, 9), progress=stop)
    with pytest.warns(UserWarning, match="a.zarr.tune.blocks holds intermediate files of runs with other options"):
        tune_blocks([one], block=(4, 5, 9))
    tune_blocks([one], SegmentConfig(score="max"), block=(4, 5, 9))
    assert not (tmp_path / "a.zarr.tune.blocks").exists()


def test_the_command_line_leaves_the_same_files(tmp_path, monkeypatch, capsys):
    from neuropil.__main__ import main

    pair(tmp_path, *ties(7))
    told = []
    for out, options in (("one", []), ("two", ["--block", "4,5,9"])):
        command = ["neuropil", "tune", f"{tmp_path}/a.zarr", f"{tmp_path}/t.zarr", "-o", f"{tmp_path}/{out}"]
        monkeypatch.setattr("sys.argv", [*command, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        told.append(capsys.readouterr().out.replace(f"/{out}/", "/"))
    assert told[0] == told[1]
    assert (tmp_path / "one/segment.yaml").read_text() == (tmp_path / "two/segment.yaml").read_text()
    rows = [list(csv.reader((tmp_path / out / "curve.csv").open())) for out in ("one", "two")]
    assert rows[0][0] == rows[1][0]
    np.testing.assert_allclose(np.array(rows[0][1:], float), np.array(rows[1][1:], float), atol=1e-8)
    assert (tmp_path / "two/curve.png").stat().st_size > 1000
