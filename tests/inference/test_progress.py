import numpy as np
import pytest
import torch

from neuropil import Config
from neuropil.inference import Progress, ProgressLine, predict
from neuropil.inference.progress import Clock
from neuropil.models.checkpoint import Model


@pytest.mark.parametrize("tile", [None, (2, 8, 8)], ids=str)
def test_the_end_is_told_once(capsys, tile):
    model = Model(torch.nn.Conv3d(1, 9, 1), Config(), {})
    predict(model, np.zeros((4, 20, 20), np.uint8), tta=1, tile=tile, overlap=(0, 0, 0), watch=ProgressLine(every=0))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines].count("100") == 1
    assert lines[-1].split()[1] == "100"
    assert len(lines) == (1 if tile is None else 27), "one line for each tile but the last, and one for the end"


def test_almost_all_is_not_all():
    assert str(Progress(done=999.9, total=1000, seconds=1, fresh=0)) == "99 %"
    assert str(Progress(done=1000, total=1000, seconds=1, fresh=0)) == "100 %"


def test_a_run_that_goes_on_counts_what_was_done_but_not_its_speed():
    seen = []
    clock = Clock(1000, 600, seen.append)
    clock.add(200)
    assert (seen[0].done, seen[0].fresh) == (800, 200)
    clock.add(200)
    clock.finish()
    assert [p.done for p in seen] == [800, 1000]
    assert seen[-1].left == 0
    assert "Mvoxel/s  0:00 left" in str(seen[-1])
    assert Progress(done=0, total=36_000_000, seconds=1, fresh=1000).left == 36_000
    assert str(Progress(done=1, total=36_000_001, seconds=1, fresh=1000)).endswith("10:00:00 left")
