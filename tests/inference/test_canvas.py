"""Tensors are blended and stored as arrays are: what a GPU does, at tiny size on the processor."""

import numpy as np
import pytest
import torch

from neuropil import NeuropilError
from neuropil.geometry import Box
from neuropil.inference.canvas import Canvas, Cells, Plan, stored, stored_there
from neuropil.inference.tiling import lay_tiles
from neuropil.volumes import LOGIT8
from neuropil.volumes.tissue import Tissue, TissueMap

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, 3))
FRAME, BOX = Box.whole((8, 30, 28)), Box((1, 4, 3), (7, 26, 25))


def blended(home, blend="bump", encoding="logit8", tissue=None, spoil=None):
    """The cells that random tiles are blended into."""
    tiling = lay_tiles(FRAME, (5, 14, 16), (2, 5, 5), OFFSETS)
    tiling = type(tiling)(tiling.box, tiling.axes, blend)
    plan = Plan(tiling, Cells(BOX, (3, 9, 10)), batch=2, encoding=encoding, tissue=tissue)
    cells = {}
    canvas = Canvas(plan, OFFSETS, lambda index, box, found: cells.update({index: (box, found.copy())}), home)
    jobs = canvas.schedule(Box.whole(plan.cells.counts), ())
    canvas.finish_untouched()
    generator = torch.Generator().manual_seed(0)
    for pair in (jobs[i : i + 2] for i in range(0, len(jobs), 2)):
        found = torch.rand((len(pair), len(OFFSETS), *tiling.shape), generator=generator)
        if spoil is not None:
            found[0, 1, 2, 5, 6] = spoil
        canvas.add_batch(pair, found)
    assert not canvas.waiting
    return cells


@pytest.mark.parametrize("encoding", ["logit8", "uint8", "float16", "float32"])
@pytest.mark.parametrize("blend", ["bump", "gaussian"])
def test_tensors_are_blended_and_stored_as_arrays_are(device, blend, encoding):
    expected, found = blended(None, blend, encoding), blended(torch.device(device), blend, encoding)
    assert sorted(found) == sorted(expected)
    assert len(found) == 2 * 3 * 3
    for index, (box, values) in expected.items():
        assert found[index][0] == box
        assert found[index][1].dtype == values.dtype
        np.testing.assert_array_equal(found[index][1], values)


def test_what_lies_outside_the_tissue_is_0_in_both(device):
    tissue = TissueMap(Tissue(skipped=(3,)))
    expected, found = blended(None, tissue=tissue), blended(torch.device(device), tissue=tissue)
    for index, (_, values) in expected.items():
        np.testing.assert_array_equal(found[index][1], values)
    assert not found[0, 1, 1][1][:, 2].any()


@pytest.mark.parametrize("value", [float("nan"), 1.5])
def test_what_is_no_probability_is_refused(device, value):
    with pytest.raises(NeuropilError, match="the network returned NaN"):
        blended(torch.device(device), spoil=value)


def test_codes_are_the_same_next_to_every_threshold():
    near = LOGIT8.thresholds.view(np.int32)[:, None] + np.arange(-2, 3, dtype=np.int32)
    values = np.concatenate([near.astype(np.int32).view(np.float32).ravel(), np.float32([0, 1e-5, 0.5, 1])])
    for encoding in ("logit8", "uint8", "float16"):
        found = stored_there(torch.from_numpy(values), encoding).numpy()
        np.testing.assert_array_equal(found, stored(values, encoding))
