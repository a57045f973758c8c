"""What a run shows: which edges are red, green and blue in TensorBoard; a bar in a terminal, lines in a log file."""

import io
import sys

import pytest
import torch

from neuropil.config import Config
from neuropil.geometry import NEAREST
from neuropil.training.monitor import Monitor, rgb_channels
from neuropil.training.objective import Losses


def test_colours_are_x_y_z_or_as_the_classic_program_has_them():
    assert rgb_channels(NEAREST) == [2, 1, 0]
    assert rgb_channels(NEAREST, "zyx") == [0, 1, 2]
    far = ((0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, 0, -9))
    assert rgb_channels(far) == [0, 1, 2]
    assert rgb_channels(far, "zyx") == [2, 1, 0]
    assert rgb_channels(((0, 0, -1),), "zyx") == [0, 0, 0]


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "log file"])
def test_progress_is_a_bar_in_a_terminal_and_lines_in_a_log_file(terminal, tmp_path, monkeypatch):
    out, error = Stream(terminal), Stream(True)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setenv("TERM", "xterm-256color")
    found = Losses(torch.tensor(0.25), {})
    with Monitor(tmp_path, Config(), 0) as monitor:
        monitor.scalars(40, found, rate=1e-3, gradient=1.0, done=0.5, left=60.0)
    told = "iteration     40  loss 0.2500"
    assert told in (error if terminal else out).getvalue()
    assert told not in (out if terminal else error).getvalue()
    assert ("\x1b[?25h" in error.getvalue()) == terminal, "the cursor is shown again"
