"""Scores by blocks are the scores of the whole volume."""

import json

import numpy as np
import pytest

import neuropil
from neuropil import Box
from neuropil.blockwise import BlocksFailed, evaluate_blocks
from neuropil.volumes import Metadata, create_volume, open_volume, write_volume


@pytest.mark.parametrize("block", [(3, 5, 4), (1, 20, 20), (50, 50, 50)])
@pytest.mark.parametrize("box", [None, Box((4, 8, 9), (9, 19, 20))])
def test_blocks_do_not_show_in_scores(tmp_path, block, box):
    rng = np.random.default_rng(0)
    origin = Metadata(origin=(3, 5, 0))
    write_volume(tmp_path / "s.zarr", rng.integers(0, 9, (8, 20, 22)).astype(np.uint32), origin)
    write_volume(tmp_path / "t.zarr", rng.integers(0, 5, (8, 20, 22)).astype(np.uint16), origin)
    segmentation, labels = open_volume(tmp_path / "s.zarr"), open_volume(tmp_path / "t.zarr")
    found = evaluate_blocks(segmentation, labels, block=block, work=tmp_path / "work", box=box)
    assert found == neuropil.evaluate(segmentation, labels, box=box)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.zarr", "t.zarr"]


def test_an_unreadable_block_is_named_and_a_second_call_counts_only_that(tmp_path):
    ids = np.random.default_rng(1).integers(1, 9, (4, 16, 16)).astype(np.uint32)
    with create_volume(tmp_path / "s.zarr", ids.shape, ids.dtype, chunks=(4, 8, 8)) as volume:
        volume.write(volume.box, ids)
    chunk = tmp_path / "s.zarr/c/0/1/0"
    before = chunk.read_bytes()
    chunk.write_bytes(b"no chunk")
    segmentation, options = open_volume(tmp_path / "s.zarr"), {"block": (4, 8, 8), "work": tmp_path / "work"}
    with pytest.raises(BlocksFailed, match="counting pairs of block 0:4,8:16,0:8"):
        evaluate_blocks(segmentation, segmentation, **options)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.npz")}
    assert len(done) == 3 + 1, "the other half is added up, too"
    chunk.write_bytes(before)

    def progress(step, count, total):
        if step == "counting pairs":
            assert all(path.stat().st_mtime_ns == time for path, time in done.items())

    again = open_volume(tmp_path / "s.zarr")
    assert evaluate_blocks(again, again, progress=progress, **options).adapted_rand_error == 0


@pytest.mark.parametrize("name", ["s.zarr", "s.h5"])
def test_tables_of_an_older_segmentation_are_not_added(tmp_path, name):
    labels = np.random.default_rng(1).integers(1, 9, (4, 16, 16)).astype(np.uint32)
    write_volume(tmp_path / "t.zarr", labels)
    truth, options = open_volume(tmp_path / "t.zarr"), {"block": (4, 8, 8), "work": tmp_path / "work"}

    def stop(step, count, total):
        if count == 3:
            raise KeyboardInterrupt

    write_volume(tmp_path / name, np.ones_like(labels))
    with pytest.raises(KeyboardInterrupt):
        evaluate_blocks(open_volume(tmp_path / name), truth, progress=stop, **options)
    write_volume(tmp_path / name, labels)
    assert evaluate_blocks(open_volume(tmp_path / name), truth, **options).adapted_rand_error == 0


def test_what_stopped_runs_left_goes_when_it_is_of_no_use(tmp_path):
    """Tables of the same box in other blocks, and of a segmentation that was replaced; not those of other boxes."""
    ids = np.random.default_rng(3).integers(1, 9, (4, 16, 16)).astype(np.uint32)
    write_volume(tmp_path / "t.zarr", ids)
    work = tmp_path / "s.zarr.scores.blocks"

    def stopped(**options):
        def stop(step, count, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate_blocks(open_volume(tmp_path / "s.zarr"), truth, progress=stop, **options)

    truth = open_volume(tmp_path / "t.zarr")
    write_volume(tmp_path / "s.zarr", np.ones_like(ids))
    stopped(block=(4, 8, 8))
    stopped(block=(2, 8, 8), box=Box((0, 0, 0), (2, 16, 16)))
    write_volume(tmp_path / "s.zarr", ids)
    stopped(block=(2, 8, 8))
    (work / "notes").mkdir()
    (work / "notes" / "job.json").write_text("[1]")
    stopped(block=(1, 8, 8), box=Box((0, 0, 0), (2, 16, 16)))
    assert len(list(work.iterdir())) == 5
    with pytest.warns(UserWarning, match="s.zarr.scores.blocks holds intermediate files of runs with other options"):
        evaluate_blocks(open_volume(tmp_path / "s.zarr"), truth, block=(4, 4, 4))
    left = [json.loads((folder / "job.json").read_text()) for folder in work.iterdir() if folder.name != "notes"]
    assert [(job["block"], job["shape"]) for job in left] == [([1, 8, 8], [2, 16, 16])]
    (work / "notes" / "job.json").unlink()
    (work / "notes").rmdir()
    evaluate_blocks(open_volume(tmp_path / "s.zarr"), truth, block=(4, 4, 4), box=Box((0, 0, 0), (2, 16, 16)))
    assert not work.exists()


def test_the_command_line_scores_by_blocks(tmp_path, monkeypatch):
    from neuropil.__main__ import main

    ids = np.random.default_rng(2).integers(0, 9, (4, 16, 16)).astype(np.uint32)
    write_volume(tmp_path / "s.zarr", ids)
    write_volume(tmp_path / "t.zarr", ids // 2)
    told = []
    for options in ([], ["--block", "3,5,16"]):
        command = ["neuropil", "evaluate", f"{tmp_path}/s.zarr", f"{tmp_path}/t.zarr", "--json", f"{tmp_path}/j.json"]
        monkeypatch.setattr("sys.argv", [*command, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        told.append(json.loads((tmp_path / "j.json").read_text()))
    assert told[0] == told[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j.json", "s.zarr", "t.zarr"]
