"""Progress: what a log file gets, what a bar says, and what a run that goes on counts."""

import io
import sys

import numpy as np
import pytest
import torch

from neuropil import Config, predict
from neuropil.models.checkpoint import Model
from neuropil.progress import ProgressCounter, ProgressDisplay, shown, state


@pytest.mark.parametrize("tile", [None, (2, 8, 8)], ids=str)
def test_the_end_is_told_once(capsys, tile):
    model = Model(torch.nn.Conv3d(1, 9, 1), Config(), {})
    with ProgressDisplay(every=0) as progress:
        predict(model, np.zeros((4, 20, 20), np.uint8), tta=1, tile=tile, overlap=(0, 0, 0), progress=progress)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines].count("100") == 1
    assert lines[-1].split()[1] == "100"
    assert len(lines) == (1 if tile is None else 27), "one line for each tile but the last, and one for the end"


def test_almost_all_is_not_all():
    assert state("voxels", 999.9, 1000, fresh=0, seconds=1) == "99 %"
    assert state("voxels", 1000, 1000, fresh=0, seconds=1) == "100 %"


def test_a_run_that_goes_on_counts_what_was_done_but_not_its_speed():
    seen = []
    counter = ProgressCounter("predict", 1000, 600, lambda *said: seen.append(said))
    counter.add(200)
    counter.add(200)
    counter.finish()
    assert seen == [("predict", 600, 1000), ("predict", 800, 1000), ("predict", 1000, 1000)]
    assert state("voxels", 800, 1000, fresh=200, seconds=100).endswith("1:40 left")
    assert state("voxels", 1, 36_000_001, fresh=1000, seconds=1).endswith("10:00:00 left")


def test_a_log_file_gets_a_line_at_the_end_of_each_step(capsys):
    with ProgressDisplay("blocks") as progress:
        for step in ("faces", "ids"):
            for done in range(1, 4):
                progress(step, done, 3)
    assert [line[:17] for line in capsys.readouterr().err.splitlines()] == ["faces  3 of 3 blo", "ids  3 of 3 block"]


def test_a_terminal_gets_a_bar_that_ends_with_the_block(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    with ProgressDisplay("blocks") as progress:
        progress("merging", 1, 4)
        progress("merging", 3, 4)
    shown = terminal.getvalue()
    assert "merging" in shown
    assert "3 of 4 blocks" in shown
    assert shown.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_calls_in_python_show_themselves_where_somebody_looks(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    with shown(None) as progress:
        assert progress is None
    monkeypatch.setitem(sys.modules, "ipykernel", sys)  # as in a notebook
    for wanted, kind in ((None, ProgressDisplay), (True, ProgressDisplay), (False, type(None)), (print, type(print))):
        with shown(wanted) as progress:
            assert isinstance(progress, kind)
