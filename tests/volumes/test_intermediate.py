"""The folder of intermediate files: what the user had before stays, what was made for a run goes."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from neuropil import NeuropilError
from neuropil.blockwise import evaluate_blocks, job, segment_blocks, tune_blocks
from neuropil.config import SegmentConfig
from neuropil.errors import Unfinished
from neuropil.volumes import intermediate, open_volume, write_volume
from neuropil.volumes.atomic import GONE, temporary_name
from neuropil.volumes.intermediate import folder_beside, holding

SETTINGS = SegmentConfig(threshold=0.5)


@pytest.fixture
def verbs(tmp_path):
    """Each verb that has such a folder, on small volumes."""
    write_volume(tmp_path / "a.zarr", np.full((3, 2, 4, 4), 0.9, np.float32))
    write_volume(tmp_path / "t.zarr", np.ones((2, 4, 4), np.uint8))
    affinities, labels = open_volume(tmp_path / "a.zarr"), open_volume(tmp_path / "t.zarr")
    block = (2, 2, 4)
    return {
        "segment": lambda **o: segment_blocks(affinities, tmp_path / "s.h5", SETTINGS, block=block, **o),
        "tune": lambda **o: tune_blocks([(affinities, labels)] * 2, block=block, **o),
        "evaluate": lambda **o: evaluate_blocks(labels, labels, block=block, **o),
    }


def stop(step, count, total):
    raise KeyboardInterrupt


@pytest.mark.parametrize("verb", ["segment", "tune", "evaluate"])
def test_a_folder_that_was_there_stays_and_is_empty(tmp_path, verbs, verb):
    work = tmp_path / "scratch"
    work.mkdir()
    verbs[verb](work=work)
    assert not list(work.iterdir())


@pytest.mark.parametrize("verb", ["segment", "tune", "evaluate"])
def test_a_folder_that_was_made_for_the_run_goes_even_if_the_run_was_stopped(tmp_path, verbs, verb):
    work = tmp_path / "deep" / "scratch"
    with pytest.raises(KeyboardInterrupt):
        verbs[verb](work=work, progress=stop)
    assert len(list(work.glob("*/job.json"))) == 1
    verbs[verb](work=work)
    assert not work.exists()


@pytest.mark.parametrize("verb", ["segment", "tune", "evaluate"])
def test_what_others_left_in_it_stays_and_is_not_told_of(tmp_path, verbs, verb, recwarn):
    """It may be of other outputs, at work."""
    work = tmp_path / "scratch"
    for other in set(verbs) - {verb}:
        with pytest.raises(KeyboardInterrupt):
            verbs[other](work=work, progress=stop)
    verbs[verb](work=work)
    assert len(list(work.glob("*/job.json"))) == 2
    assert not recwarn.list
    for other in set(verbs) - {verb}:
        verbs[other](work=work)
    assert not work.exists(), "the last one removes it"


@pytest.mark.parametrize("verb", ["segment", "tune", "evaluate"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, verbs, verb):
    (tmp_path / "file").touch()
    with pytest.raises(NeuropilError, match=r"cannot write in .*file"):
        verbs[verb](work=tmp_path / "file" / "scratch")


@pytest.mark.parametrize("output", ["s.zarr", "s.h5"])
@pytest.mark.parametrize("first", ["segmentation.zarr", "merge-0", "nothing"])
def test_a_run_that_was_stopped_while_it_cleaned_up_can_be_given_again(tmp_path, monkeypatch, output, first):
    """Its output was complete, and is again; what is half removed is no job to go on with."""
    rng = np.random.default_rng(3)
    write_volume(tmp_path / "a.zarr", (rng.integers(0, 9, (3, 4, 12, 12)) * 28).astype(np.uint8))

    def segment():
        segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / output, SETTINGS, block=(4, 6, 5))
        return open_volume(tmp_path / output).read()

    before = segment()

    def stopped(path, ignore_errors=False):
        if any(str(path).endswith(end) for end in (GONE, "relabel-0")):
            if first != "nothing" and (half := Path(path) / first).exists():
                remove(half)
            if str(path).endswith(GONE) and Path(path).exists():
                raise KeyboardInterrupt
        remove(path, ignore_errors)

    remove = shutil.rmtree
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            segment()
    np.testing.assert_array_equal(segment(), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", output]


def test_a_run_that_was_stopped_after_its_output_had_its_name_makes_it_again(tmp_path, monkeypatch):
    write_volume(tmp_path / "a.zarr", np.full((3, 2, 4, 8), 0.9, np.float32))

    def stopped(*_):
        raise KeyboardInterrupt

    def segment():
        segment_blocks(open_volume(tmp_path / "a.zarr"), tmp_path / "s.zarr", SETTINGS, block=(2, 4, 4))

    with monkeypatch.context() as patch:
        patch.setattr(intermediate.WorkFolder, "end", stopped)
        with pytest.raises(KeyboardInterrupt):
            segment()
    segment()
    assert (open_volume(tmp_path / "s.zarr").read() == 1).all()


@pytest.mark.parametrize("verb", ["segment", "tune", "evaluate"])
def test_two_runs_of_the_same_are_not_at_work_at_once(tmp_path, verbs, verb):
    with pytest.raises(KeyboardInterrupt):
        verbs[verb](work=tmp_path / "scratch", progress=stop)
    (job,) = (path.parent for path in (tmp_path / "scratch").glob("*/job.json"))
    with (
        holding(job),
        pytest.raises(NeuropilError, match=f"another process is running this job in .*{job.name}"),
    ):
        verbs[verb](work=tmp_path / "scratch")
    verbs[verb](work=tmp_path / "scratch")


@pytest.mark.parametrize("lost", ["edges1-0", "across2-0", "merge-0", "faces-0"])
@pytest.mark.parametrize("how", ["gone", "cut", "empty"])
def test_a_lost_or_damaged_file_is_named_with_what_to_delete(tmp_path, lost, how):
    rng = np.random.default_rng(3)
    write_volume(tmp_path / "a.zarr", (rng.integers(0, 9, (3, 4, 12, 12)) * 28).astype(np.uint8))

    def segment(progress=None):
        affinities = open_volume(tmp_path / "a.zarr")
        return segment_blocks(affinities, tmp_path / "s.zarr", SETTINGS, block=(4, 6, 6), progress=progress)

    def after_faces(step, done, total):
        if step == "faces" and done == total:
            raise KeyboardInterrupt

    expected = segment()
    with pytest.raises(KeyboardInterrupt):
        segment(after_faces)
    (job,) = (tmp_path / "s.zarr.blocks").iterdir()
    file = sorted((job / lost).rglob("*.npz"))[-1]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if how == "cut" else b"") if how != "gone" else file.unlink()
    if how == "gone" and lost in ("merge-0", "faces-0"):  # these are made again
        assert segment() == expected
        return
    with pytest.raises(Unfinished, match=f"delete .*{job.name} and run again"):
        segment()
    shutil.rmtree(job)
    assert segment() == expected


def test_scores_of_another_version_are_not_gone_on_with(tmp_path, verbs, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        verbs["evaluate"](work=tmp_path / "scratch", progress=stop)
    monkeypatch.setattr(job, "FORMAT", job.FORMAT + 1)
    with pytest.raises(KeyboardInterrupt):
        verbs["evaluate"](work=tmp_path / "scratch", progress=stop)
    assert len(list((tmp_path / "scratch").glob("*/job.json"))) == 2


def test_the_folder_is_named_after_the_bucket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_beside("precomputed://gs://lab/p") == Path("gs_lab_p.blocks")


@pytest.mark.usefixtures("verbs")
def test_what_a_kill_between_two_renames_left_goes_with_the_next_output(tmp_path):
    """A run that goes on makes nothing beside its output but by renaming."""
    out, affinities = tmp_path / "s.zarr", open_volume(tmp_path / "a.zarr")
    with pytest.raises(KeyboardInterrupt):
        segment_blocks(affinities, out, SETTINGS, block=(2, 2, 4), progress=stop)
    mine = temporary_name(out)
    left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))  # no process has that number
    left.mkdir()
    segment_blocks(affinities, out, SETTINGS, block=(2, 2, 4))
    assert not left.exists()
