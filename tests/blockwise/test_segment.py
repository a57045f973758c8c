"""Segmentation by blocks is the segmentation of the whole volume, voxel for voxel."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuropil
from block_runs import by_blocks
from neuropil import NeuropilError
from neuropil.blockwise import BlocksFailed, segment_blocks
from neuropil.config import SegmentConfig
from neuropil.segmentation import segment
from neuropil.volumes import LOGIT8, Metadata, create_volume, open_volume, write_volume
from reference.affinity_cases import cases
from reference.partitions import partition

SCORES = ("mean", "max", "min", "q50", "q85")
BLOCKS = [(2, 4, 3), (3, 5, 9), (5, 3, 3), (1, 8, 9), (5, 1, 9), (3, 8, 1), (99, 99, 99), (2, 2, 10), (4, 7, 8)]


def in_core(folder, config):
    return segment(open_volume(Path(folder) / "a.zarr"), config)


@settings(max_examples=6)
@given(
    cases(largest=6), st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from((0.0, 1e-4, 0.3, 0.5)),
    st.sampled_from((0.6, 0.9999, 1.0)),
)  # fmt: skip
def test_any_blocks_give_the_fragments_of_the_whole(tmp_path_factory, case, block, low, high):
    meta = Metadata(offsets=case.offsets, encoding=case.encoding)
    config = SegmentConfig(method="watershed", low=low, high=high)
    found = by_blocks(tmp_path_factory.mktemp("blocks"), case.array, meta, config, block)
    whole = neuropil.watershed(case.array, low=low, high=high, offsets=case.offsets, encoding=case.encoding)
    np.testing.assert_array_equal(partition(found), partition(whole))


@settings(max_examples=6)
@given(
    cases(largest=6), st.sampled_from(SCORES), st.tuples(*[st.integers(1, 5)] * 3),
    st.sampled_from((0.0, 0.3, 0.6, 0.9)), st.booleans(), st.sampled_from((0, 3, 9)),
)  # fmt: skip
def test_blocks_do_not_show(tmp_path_factory, case, score, block, threshold, wide, min_size):
    """Any shape, type, sign of offsets, few distinct values; every score."""
    low, high = (0.3, 0.8) if wide else (1e-4, 0.9999)
    config = SegmentConfig(score=score, threshold=threshold, low=low, high=high, min_size=min_size)
    folder = tmp_path_factory.mktemp("blocks")
    meta = Metadata(offsets=case.offsets, encoding=case.encoding, origin=(2, 3, 4))
    found = by_blocks(folder, case.array, meta, config, block)
    np.testing.assert_array_equal(partition(found), partition(in_core(folder, config)))


@pytest.mark.parametrize("score", SCORES)
def test_every_block_shape_with_heavy_ties(tmp_path, score):
    """Uneven remainders, slabs of one voxel, blocks larger than the volume: each with every other score."""
    first = SCORES.index(score) % 2
    rng = np.random.default_rng(first)
    array = (rng.integers(0, 4, (3, 5, 8, 9)) * 80).astype(np.uint8)
    config = SegmentConfig(score=score, threshold=0.35)
    for number, block in enumerate(BLOCKS[first::2]):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = by_blocks(folder, array, Metadata(encoding=LOGIT8, offsets=neuropil.NEAREST), config, block)
        np.testing.assert_array_equal(partition(found), partition(in_core(folder, config)), err_msg=str(block))


def test_fragments_by_blocks(tmp_path):
    rng = np.random.default_rng(3)
    array = (rng.integers(0, 3, (3, 6, 14, 15)) * 127).astype(np.uint8)
    config = SegmentConfig(method="watershed")
    found = by_blocks(tmp_path, array, Metadata(offsets=neuropil.NEAREST), config, (4, 5, 6))
    np.testing.assert_array_equal(partition(found), partition(neuropil.watershed(array)))


@pytest.mark.parametrize("name", ["s.h5", "s.n5", "precomputed://{}/s", "s.zarr/volumes/seg"])
def test_every_output_format(tmp_path, name):
    rng = np.random.default_rng(4)
    write_volume(tmp_path / "a.h5", rng.random((3, 5, 9, 8)).astype(np.float32), Metadata(voxel_size=(30, 6, 6)))
    output = name.format(tmp_path) if "{}" in name else str(tmp_path / name)
    affinities, config = open_volume(tmp_path / "a.h5"), SegmentConfig(threshold=0.4)
    segment_blocks(affinities, output, config, block=(2, 4, 5))
    expected = neuropil.agglomerate(affinities, fragments := neuropil.watershed(affinities)).segment(fragments, 0.4)
    with open_volume(output) as written:
        np.testing.assert_array_equal(partition(written.read()), partition(expected))
        assert written.metadata.voxel_size == (30, 6, 6)
    assert not list(tmp_path.glob("*.blocks"))


def test_what_a_run_with_other_options_left_stays_and_is_told(tmp_path):
    array, chunk, before = broken(tmp_path)
    options = {"block": (4, 16, 16)}
    with pytest.raises(BlocksFailed):
        segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", SegmentConfig(threshold=0.4), **options)
    chunk.write_bytes(before)
    with pytest.warns(UserWarning, match="s.zarr.blocks holds intermediate files of runs with other options"):
        segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", SegmentConfig(threshold=0.9), **options)
    fragments = neuropil.watershed(array)
    expected = neuropil.agglomerate(array, fragments).segment(fragments, 0.9)
    np.testing.assert_array_equal(partition(open_volume(tmp_path / "s.zarr").read()), partition(expected))
    segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", SegmentConfig(threshold=0.4), **options)
    assert not (tmp_path / "s.zarr.blocks").exists()


def test_a_work_folder_that_may_not_be_removed_stays(tmp_path, monkeypatch):
    """The mount of a scratch disk, say: the segmentation is complete, so that is no error."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    write_volume(tmp_path / "a.zarr", np.full((3, 2, 4, 4), 0.9, np.float32))
    monkeypatch.setattr(Path, "rmdir", refuse)
    config, work = SegmentConfig(threshold=0.5), tmp_path / "scratch"
    segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.h5", config, block=(2, 2, 4), work=work)
    assert open_volume(tmp_path / "s.h5").read().max() == 1
    assert not list(work.iterdir())


def broken(folder):
    """Affinities in chunks, one of which is damaged; the name of its file and what it was."""
    rng = np.random.default_rng(5)
    array = rng.integers(0, 255, (3, 8, 32, 32)).astype(np.uint8)
    with create_volume(folder / "a.zarr", array.shape, array.dtype, chunks=(4, 8, 8)) as volume:
        volume.write(volume.box, array)
    chunk = next(
        path for path in (folder / "a.zarr/c").rglob("*") if path.is_file() and path.parts[-4:] == ("0", "0", "2", "2")
    )
    before = chunk.read_bytes()
    chunk.write_bytes(b"no chunk")
    return array, chunk, before


def test_an_unreadable_block_is_named_and_the_rest_is_done(tmp_path):
    array, chunk, before = broken(tmp_path)
    affinities, config = open_volume(tmp_path / "a.zarr"), SegmentConfig(threshold=0.4)
    options = {"block": (4, 8, 8)}
    with pytest.raises(BlocksFailed, match=r"0:4,16:24,16:24.*a.zarr") as caught:
        segment_blocks(affinities, tmp_path / "s.zarr", config, **options)
    assert not (tmp_path / "s.zarr").exists()
    first = [failure.task.place for failure in caught.value.failures]
    assert len(first) == 4, "the block, and those before it, which need its faces"
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "s.zarr.blocks").rglob("*.npz")}
    assert len([path for path in done if "merge-0" in str(path)]) == 32 - 4
    chunk.write_bytes(before)
    segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", config, progress=kept(done), **options)
    found = open_volume(tmp_path / "s.zarr").read()
    fragments = neuropil.watershed(array)
    np.testing.assert_array_equal(
        partition(found), partition(neuropil.agglomerate(array, fragments).segment(fragments, 0.4))
    )
    assert not (tmp_path / "s.zarr.blocks").exists()


def kept(done):
    """Watches that no file of a run before is written again."""

    def progress(step, count, total):
        if step == "watershed and merging":
            assert all(path.stat().st_mtime_ns == before for path, before in done.items())

    return progress


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"fill": True, "threshold": 0.5}, "--fill"), ({"method": "mutex"}, "mutex")],
)
def test_what_needs_the_whole_volume_is_refused(tmp_path, changes, words):
    write_volume(tmp_path / "a.zarr", np.zeros((3, 2, 2, 2), np.uint8))
    config = SegmentConfig(**changes)
    with pytest.raises(NeuropilError, match=words):
        segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", config, block=(2, 2, 2))


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    write_volume(tmp_path / "a.zarr", np.zeros((3, 2, 2, 2), np.uint8))
    with pytest.raises(NeuropilError, match="replace"):
        segment_blocks(
            open_volume(tmp_path / "a.zarr"), tmp_path / "a.zarr", SegmentConfig(threshold=0.5), block=(1, 2, 2)
        )


def test_the_command_line_names_blocks_that_failed_and_exits_with_1(tmp_path, capsys, monkeypatch):
    from neuropil.__main__ import main

    array, chunk, before = broken(tmp_path)
    command = ["neuropil", "segment", f"{tmp_path}/a.zarr", "-o", f"{tmp_path}/s.zarr", "--block", "4,8,8"]

    def run():
        monkeypatch.setattr("sys.argv", [*command, "--threshold", "0.4"])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0

    assert run() == 1
    told = capsys.readouterr().err
    assert "watershed and merging of block 0:4,16:24,16:24" in told
    assert "a.zarr" in told
    assert "Traceback" not in told
    chunk.write_bytes(before)
    assert run() == 0
    fragments = neuropil.watershed(array)
    expected = neuropil.agglomerate(array, fragments).segment(fragments, 0.4)
    np.testing.assert_array_equal(partition(open_volume(tmp_path / "s.zarr").read()), partition(expected))


@pytest.mark.parametrize(
    ("channel", "options", "alike", "step"),
    [
        (1, ["--threshold", "0.4"], [], "watershed and merging"),
        (3, ["--method", "mutex"], ["--fragments"], "sweeping edges"),
    ],
    ids=["watershed", "sweep"],
)
def test_a_block_of_wrong_values_is_told_like_one_that_cannot_be_read(
    tmp_path, monkeypatch, capsys, channel, options, alike, step
):
    """NaN in one block, and in the sweep over long edges only in one of these; in memory that is wrong input."""
    from neuropil.__main__ import main

    array = np.random.default_rng(7).random((4, 4, 16, 16)).astype(np.float32)
    spoilt = array.copy()
    spoilt[channel, 1, 13, 14] = np.nan
    write_volume(tmp_path / "a.zarr", spoilt, Metadata(offsets=(*neuropil.NEAREST, (0, -3, 0))))

    def run(out, *more):
        command = ["neuropil", "segment", f"{tmp_path}/a.zarr", "-o", f"{tmp_path}/{out}", *options, *more]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, capsys.readouterr().err

    assert run("s.h5", *alike)[0] == 2
    code, told = run("s.zarr", "--block", "4,8,8")
    assert code == 1
    assert "correct the cause, and the same command does only what is missing" in told
    assert f"{step} of block 0:4,8:16,8:16: {tmp_path}/a.zarr: affinities must lie in [0, 1], with no NaN" in told
    assert list((tmp_path / "s.zarr.blocks").glob("*/merge-0/*/*.npz")), "what does not see it is done"
    with open_volume(tmp_path / "a.zarr", "r+") as volume:
        volume.write(volume.box, array)
    assert run("s.zarr", "--block", "4,8,8")[0] == 0
    assert run("s.h5", *alike)[0] == 0
    found, expected = (open_volume(tmp_path / name).read() for name in ("s.zarr", "s.h5"))
    np.testing.assert_array_equal(partition(found), partition(expected))


def test_a_run_chooses_by_memory_and_says_which(tmp_path, capsys, monkeypatch):
    from neuropil.pipeline import scaling

    write_volume(tmp_path / "a.zarr", np.random.default_rng(0).random((3, 4, 6, 8)).astype(np.float32))
    config = SegmentConfig(threshold=0.5)
    scaling.segment_either_way(tmp_path / "a.zarr", tmp_path / "memory.h5", config)
    assert "in memory" in capsys.readouterr().out
    monkeypatch.setattr(scaling, "free_ram", lambda: 1000)
    scaling.segment_either_way(tmp_path / "a.zarr", tmp_path / "blocks.h5", config)
    assert "by blocks of 128×512×512" in capsys.readouterr().out
    found, expected = (open_volume(tmp_path / name).read() for name in ("blocks.h5", "memory.h5"))
    np.testing.assert_array_equal(partition(found), partition(expected))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fill": True}, "in memory, since segment.fill needs the whole volume"),
        ({"method": "mutex"}, "in memory, since segment.method=mutex without segment.fragments"),
        ({"method": "mutex", "fragments": True}, "by blocks of"),
        ({"method": "watershed"}, "by blocks of"),
    ],
)
def test_what_takes_the_whole_volume_stays_in_memory_and_says_why(tmp_path, capsys, monkeypatch, changes, words):
    from neuropil.pipeline import scaling

    write_volume(tmp_path / "a.zarr", np.random.default_rng(0).random((3, 4, 6, 8)).astype(np.float32))
    monkeypatch.setattr(scaling, "free_ram", lambda: 1000)
    scaling.segment_either_way(tmp_path / "a.zarr", tmp_path / "s.h5", SegmentConfig(**changes))
    assert f"segmenting {words}" in capsys.readouterr().out
    expected = segment(open_volume(tmp_path / "a.zarr"), SegmentConfig(**changes))
    np.testing.assert_array_equal(partition(open_volume(tmp_path / "s.h5").read()), partition(expected))
