"""A job is what was saved, and has another name when anything that its files depend on is another."""

import os
from pathlib import Path

import numpy as np
import pytest

from neuropil import LOGIT8, Metadata, NeuropilError, array_volume
from neuropil.blockwise.evaluate import ScoreJob
from neuropil.blockwise.job import SegmentJob, load_job, segment_job
from neuropil.config import SegmentConfig
from neuropil.volumes import open_volume, stamp, write_volume

SETTINGS = SegmentConfig(threshold=0.5)
MUTEX = SegmentConfig(method="mutex", fragments=True, bias=(-0.5, -0.25, -0.1, -0.3), strides=(1, 2, 3), min_size=7)
OFFSETS = ((1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -3, 2))


@pytest.mark.parametrize("settings", [SETTINGS, SegmentConfig(score="q75", threshold=0.25, min_size=3), MUTEX])
def test_a_job_is_read_as_it_was_saved(tmp_path, settings):
    meta = Metadata(offsets=OFFSETS, encoding=LOGIT8, origin=(1, 2, 3))
    write_volume(tmp_path / "a.zarr", np.zeros((4, 3, 4, 5), np.uint8), meta)
    job = segment_job(open_volume(tmp_path / "a.zarr"), settings, (2, 9, 4), tmp_path / "work", output="s.zarr")
    assert (job.shape, job.block, job.settings, job.encoding) == ((3, 4, 5), (2, 4, 4), settings, LOGIT8)
    Path(job.folder).mkdir(parents=True)
    job.save()
    again = load_job(SegmentJob, job.folder)
    assert again == job
    assert again.threshold == (settings.threshold if settings.method == "agglomerate" else np.inf)


def test_a_job_of_scores_is_read_as_it_was_saved(tmp_path):
    job = ScoreJob(str(tmp_path), (3, 4, 5), (2, 2, 2), "s.zarr", "t.h5/main", (7, 8, 9), [[[5, 6]], [["etag"]]])
    job.save()
    assert load_job(ScoreJob, str(tmp_path)) == job
    assert str(job.place((0, 0))) == "7:9,8:10,9:11"


@pytest.mark.parametrize(
    "changes",
    [{"settings": SegmentConfig(threshold=0.4)}, {"block": (2, 2, 3)}, {"output": "other.zarr"}, {"truth": "t.zarr"}],
)
def test_another_job_has_another_name(tmp_path, changes):
    write_volume(tmp_path / "a.zarr", np.zeros((3, 2, 4, 4), np.float32))
    write_volume(tmp_path / "t.zarr", np.ones((2, 4, 4), np.uint8))
    options = {"settings": SETTINGS, "block": (2, 2, 4), "folder": tmp_path, "output": "s.zarr"}
    if "truth" in changes:
        changes = {"truth": open_volume(tmp_path / "t.zarr"), "scored": "0:2,0:4,0:4"}
    names = [segment_job(open_volume(tmp_path / "a.zarr"), **(options | more)).folder for more in ({}, {}, changes)]
    assert names[0] == names[1] != names[2]


def test_affinities_in_memory_are_refused(tmp_path):
    with pytest.raises(NeuropilError, match="expected affinities in a file"):
        segment_job(array_volume(np.zeros((3, 2, 2, 2))), SETTINGS, (1, 1, 1), tmp_path)


def test_a_folder_of_the_same_name_elsewhere_is_another_job(tmp_path, monkeypatch):
    """And the same one is the same job, whatever it is called."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_volume(tmp_path / name / "a.zarr", np.full((3, 2, 4, 4), 0.9, np.float32))
        os.utime(tmp_path / name / "a.zarr" / "zarr.json", (1, 1))
        monkeypatch.chdir(tmp_path / name)
        for path in ("a.zarr", tmp_path / name / "a.zarr"):
            job = segment_job(open_volume(path), SETTINGS, (2, 2, 4), tmp_path / "work", output="s.zarr")
            found.append(Path(job.folder).name)
    assert found[0] == found[1] != found[2] == found[3]


def test_a_stack_of_images_that_changed_is_seen(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"image")
    before = stamp(str(tmp_path / "*.png"))
    assert len(before) == 3
    os.utime(tmp_path / "1.png", (1, 1))
    assert stamp(str(tmp_path / "*.png")) != before
