"""Prediction in memory: affinities of an image of any size, aligned to it voxel for voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.choices import Keep, Precision, TtaMode
from neuropil.config.mistakes import changed
from neuropil.geometry import Box, Triple
from neuropil.inference.canvas import CELL, Cells, Plan, waiting_memory
from neuropil.inference.request import Request, make_request
from neuropil.inference.stream import predict_cells
from neuropil.models.checkpoint import Model, as_model
from neuropil.progress import ProgressCallback, ProgressCounter, shown
from neuropil.volumes import Volume, borrowed
from neuropil.volumes.tissue import Tissue


def predict(
    checkpoint: Model | Path | str,
    image: Volume | npt.NDArray[np.generic] | Path | str,
    *,
    tta: int | None = None,
    tta_mode: TtaMode | None = None,
    box: Box | None = None,
    tile: Sequence[int] | None = None,
    overlap: Sequence[int] | None = None,
    surround: Sequence[int] | None = None,
    context: Sequence[int] | None = None,
    compile: bool | None = None,  # noqa: A002  (the recipe's word)
    precision: Precision | None = None,
    resample: bool | None = None,
    keep: Keep | None = None,
    device: str = "auto",
    devices: int = 1,
    tissue: Tissue | None = None,
    progress: ProgressCallback | bool | None = None,
) -> npt.NDArray[np.float32]:
    """Predict the affinities of an image in memory; see :func:`predict_volume` for larger ones.

    Args:
        checkpoint: a checkpoint of ``neuropil train``, or a loaded model.
        image: ``[z, y, x]``, uint8, uint16 or float in [0, 1].
        tta: test-time augmentation. 1: none; 4: flips of y and x; 8: also y and x exchanged; 16: also flips of z
            (K. Lee et al. 2017, arXiv:1706.00120); 48: all orders of the axes (isotropic models). None: as in the
            model's recipe, where the default is 8.
        tta_mode: ``mean``, ``min`` or ``max`` over the symmetries.
        box: the part to predict, in voxels of the image; None for all.
        tile: voxels (z, y, x) predicted at once; None: the cheapest that fit into memory.
        overlap: least overlap of tiles; None: half of the patch trained on in z, a quarter in y and x.
        surround: voxels (z, y, x) of the image around the box that the network also sees; None: a quarter of the
            patch trained on. (0, 0, 0): none.
        context: voxels (z, y, x) around each tile that the network sees but whose result is dropped; mirrored where the
            image ends. With a context as large as the field of view the result does not depend on the tiles. None: as
            in the model's recipe, where the default is none.
        compile: time ``torch.compile`` on a tile, and use it if it is faster.
        precision: the numbers in which to compute, ``int8``, ``bf16``, ``fp32`` or ``auto``; ``int8`` is fast and less
            exact. None: as in the model's recipe, where the default is ``auto``.
        resample: resample tiles to the model's voxel size, which may differ by a factor of up to 2; the affinities are
            on the image's grid.
        keep: ``nearest`` for the three nearest edges, ``all`` for every offset of the model.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        devices: GPUs that share the tiles, from ``device`` on.
        tissue: which voxels count; edges of others are 0, and tiles without any are not computed.
        progress: called after each batch of tiles. None: a progress bar on a terminal; False: none.

    Returns:
        Probabilities, float32 ``[edge, z, y, x]`` of the box's shape; 0 for edges that leave the box.

    Raises:
        NeuropilError: no checkpoint, not an image ``[z, y, x]``, NaN in it, a box outside of it, a wrong option.

    >>> from neuropil.config import Config
    >>> from neuropil.models import build_network
    >>> model = Model(build_network(Config().model), Config(), {})
    >>> predict(model, np.zeros((4, 30, 40), np.uint8), tta=1).shape
    (3, 4, 30, 40)
    """
    model = as_model(checkpoint)
    given = {"tta": tta, "tta_mode": tta_mode, "tile": tile, "overlap": overlap, "keep": keep, "precision": precision}
    given |= {"surround": surround, "context": context, "compile": compile, "resample": resample}
    settings = changed(model.config.predict, given, "predict")
    with borrowed(image) as volume, shown(progress) as display:
        request = make_request(model, volume, settings, box=box, device=device, devices=devices, tissue=tissue)
        return predict_request(request, display)


def predict_request(request: Request, progress: ProgressCallback | None = None) -> npt.NDArray[np.float32]:
    """Affinities of a request, in memory: float32 ``[edge, z, y, x]``."""
    tiling, computes = request.tiling(), request.computes
    engines = request.engines(computes, request.faster_compiled(tiling, computes))
    # On a CPU one cell is the whole box, so that tiles are blended directly into the result. A GPU may lack the memory.
    cells = Cells(request.box, request.box.shape if request.device.type == "cpu" else CELL)
    plan = Plan(
        tiling,
        cells,
        request.context,
        request.batch(tiling),
        waiting_memory(request.device),
        request.box,
        tissue=request.tissue,
    )
    clock = ProgressCounter("predict", request.box.size, 0, progress)
    shape = (len(engines[0].keep), *request.box.shape)
    out = None if math.prod(cells.counts) == 1 else np.empty(shape, np.float32)

    def take(_: Triple, box: Box, found: npt.NDArray[Any]) -> None:
        nonlocal out
        if out is None:
            out = found
        else:
            out[:, *box.relative_to(request.box.start).slices] = found

    predict_cells(engines, request.image, plan, take, clock)
    clock.finish()
    assert out is not None  # a box holds a cell at least
    return out
