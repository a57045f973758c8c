"""Checkpoints are found under either ending, and it is said."""

import pytest

from neuropil import NeuropilError
from neuropil.compat.pytc.paths import CHECKPOINT, find_checkpoint


def test_the_name_of_a_checkpoint():
    assert CHECKPOINT.format(100) == "checkpoint_00100.pth"
    assert CHECKPOINT.format(100_000) == "checkpoint_100000.pth"


@pytest.mark.parametrize(("there", "asked"), [(".pth", ".pth.tar"), (".pth.tar", ".pth")])
def test_the_sibling_of_the_other_ending_is_taken(tmp_path, there, asked):
    (tmp_path / f"checkpoint_00002{there}").touch()
    found, said = find_checkpoint(tmp_path / f"checkpoint_00002{asked}")
    assert found.name == f"checkpoint_00002{there}"
    assert f"checkpoint_00002{asked}" in said
    assert str(found) in said
    assert find_checkpoint(found) == (found, None)


def test_one_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    (tmp_path / "checkpoint_00002.pth").touch()
    with pytest.raises(
        NeuropilError,
        match=r"no file .*checkpoint_00009.pth.tar, nor checkpoint_00009.pth next to it; there are checkpoint_00002",
    ):
        find_checkpoint(tmp_path / "checkpoint_00009.pth.tar")
    with pytest.raises(NeuropilError, match="no file"):
        find_checkpoint(tmp_path / "none" / "weights.pt")
