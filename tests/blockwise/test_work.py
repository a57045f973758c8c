"""The folder for what is between: what the user had before stays, what was made for a run goes."""

import numpy as np
import pytest

from neuropil import NeuropilError
from neuropil.blockwise import evaluate_blocks, segment_blocks, tune_blocks
from neuropil.config import SegmentConfig
from neuropil.volumes import open_volume, write_volume

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
        verbs[verb](work=work, watch=stop)
    assert len(list(work.glob("*/job.json"))) == 1
    verbs[verb](work=work)
    assert not work.exists()


@pytest.mark.parametrize("verb", ["segment", "tune", "evaluate"])
def test_what_others_left_in_it_stays_and_is_not_told_of(tmp_path, verbs, verb, recwarn):
    """It may be of other outputs, at work."""
    work = tmp_path / "scratch"
    for other in set(verbs) - {verb}:
        with pytest.raises(KeyboardInterrupt):
            verbs[other](work=work, watch=stop)
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
