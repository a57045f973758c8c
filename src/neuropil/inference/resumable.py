"""Predict a volume of any size into a volume on disk, and resume a run that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.config import PredictConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple
from neuropil.inference.canvas import CELL, Cells, Plan, waiting_memory
from neuropil.inference.journal import Journal
from neuropil.inference.request import SAME, Request, make_request
from neuropil.inference.resampling import voxels_of_image
from neuropil.inference.stream import predict_cells
from neuropil.inference.tiling import Axis, Tiling
from neuropil.models.checkpoint import Model, model_digest
from neuropil.progress import ProgressCallback, ProgressCounter
from neuropil.volumes import (
    LOGIT8,
    Metadata,
    Volume,
    borrowed,
    can_be_written,
    create_volume,
    image_digest,
    open_volume,
    put_in_place,
    spare_input,
)
from neuropil.volumes.atomic import remove_folder
from neuropil.volumes.formats import Location
from neuropil.volumes.intermediate import folder_beside
from neuropil.volumes.location import parse_location
from neuropil.volumes.tissue import KEY, Tissue


def predict_volume(
    checkpoint: Model | Path | str,
    image: Volume | npt.NDArray[np.generic] | Path | str,
    output: Path | str,
    settings: PredictConfig | None = None,
    *,
    box: Box | None = None,
    device: str = "auto",
    devices: int = 1,
    tissue: Tissue | None = None,
    progress: ProgressCallback | None = None,
) -> None:
    """Predict the affinities of an image of any size, tile by tile, into a chunked volume.

    Memory depends on the tile, not on the volume. Until it is complete the output is in ``OUTPUT.unfinished``; the same
    call continues a stopped run, with the same result. An earlier output is replaced when the new one is complete. The
    metadata has voxel size, origin, offsets, encoding and, if the model has them, threshold and minimum size for
    segmentation.

    Args:
        checkpoint, image, box, device, devices, tissue, progress: as for :func:`predict`.
        output: where to write; ``.zarr`` and ``.h5`` suit large volumes.
        settings: a recipe's section ``predict``; that of the model when not given.

    Raises:
        NeuropilError: as :func:`predict`; an output that cannot be written; an unfinished one of another request.

    >>> import tempfile
    >>> from neuropil.config import Config
    >>> from neuropil.models import build_network
    >>> model = Model(build_network(Config().model), Config(), {})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     predict_volume(model, np.zeros((4, 30, 40), np.uint8), f"{folder}/a.zarr")
    ...     open_volume(f"{folder}/a.zarr").shape
    (3, 4, 30, 40)
    """
    target = parse_location(output)
    with borrowed(image) as volume:
        spare_input(volume, output)
        request = make_request(checkpoint, volume, settings, box=box, device=device, devices=devices, tissue=tissue)
        check_output(request, target)
        with Journal(unfinished(target)) as journal:
            chosen = begin_or_continue(journal, request)
            try:
                _predict_into(journal, request, chosen, progress)
            except NeuropilError:
                if not journal.done():  # nothing to continue
                    journal.remove()
                raise
            put_into_place(journal, request, target)
            journal.remove()


def unfinished(target: Location) -> Path:
    """The folder of an output until it is complete; for an output in a bucket it is in the current folder."""
    return folder_beside(target.path, "unfinished")


def begin_or_continue(journal: Journal, request: Request) -> dict[str, Any]:
    """The tiles and precision to use: those of a stopped run, else chosen now."""
    asked = {
        "model": model_digest(request.model),
        "image": image_digest(request.image),
        "box": str(request.box),
        **request.settings.model_dump(mode="json"),
        **({} if request.tissue is None else {KEY: request.tissue.tissue.identity()}),
    }
    begun = journal.begun()
    if begun is not None and journal.done() and journal.array.exists():  # it may have been renamed to its final name
        journal.check(asked)
        journal.drop_halves()
        return dict(begun["chosen"])
    tiling, computes = request.tiling(), request.computes
    chosen = {
        "tile": tiling.shape,
        "starts": [a.starts for a in tiling.axes],
        "computes": computes,
        "compiled": request.faster_compiled(tiling, computes),
    }
    journal.forget()  # before the new array is created, of which no cell is done
    remove_folder(journal.array)
    with create_volume(journal.array, _shape(request), _dtype(request), _metadata(request), _chunks(request)):
        pass
    journal.begin(asked, chosen)
    return chosen


def _predict_into(
    journal: Journal, request: Request, chosen: dict[str, Any], progress: ProgressCallback | None
) -> None:
    """Predict the unfinished cells into the journal's array."""
    cells, done = Cells(request.box, cell_shape(request)), journal.done()
    clock = ProgressCounter("predict", request.box.size, sum(cells.cell(c).size for c in done), progress)
    predict_grid(journal.array, request, chosen, cells, clock, done, journal.mark)
    clock.finish()


def predict_grid(
    array: Path,
    request: Request,
    chosen: Mapping[str, Any],
    cells: Cells,
    clock: ProgressCounter,
    done: Collection[Triple] = frozenset(),
    mark: Callable[[Triple], None] = lambda cell: None,
) -> None:
    """Predict the cells of a grid, which may be a part of the box, into an existing array.

    Args:
        array: path of the array of the whole box.
        request: the request.
        chosen: the tiles of the whole box and the precision, as :func:`begin_or_continue` returns them.
        cells: the cells to predict; each is a chunk of the array.
        clock: counts the voxels done.
        done: cells to skip.
        mark: called with each cell that is on disk.
    """
    axes = [
        Axis(size, length, tuple(starts))
        for size, length, starts in zip(request.frame.shape, chosen["tile"], chosen["starts"], strict=True)
    ]
    tiling = Tiling(request.frame, (axes[0], axes[1], axes[2]), request.settings.blend)
    with open_volume(array, "r+") as out:
        one = Lock()

        def write(cell: Triple, box: Box, found_EZYX: npt.NDArray[Any]) -> None:
            out.write(box, found_EZYX)
            with one:
                mark(cell)

        plan = Plan(
            tiling,
            cells,
            request.context,
            request.batch(tiling),
            waiting_memory(request.device),
            request.box,
            request.settings.encoding,
            request.tissue,
        )
        engines = request.engines(chosen["computes"], chosen.get("compiled", False))
        predict_cells(engines, request.image, plan, write, clock, done)


def put_into_place(journal: Journal, request: Request, target: Location) -> None:
    """Rename or copy the complete array to its final path."""
    put_in_place(journal.array, target.path, cell_shape(request), _chunks(request))


def check_output(request: Request, target: Location) -> None:
    """Refuse an output that cannot be written, before the work begins.

    Raises:
        NeuropilError: it cannot be written.
    """
    can_be_written(target.path, _shape(request), _dtype(request), _metadata(request))


def _shape(request: Request) -> tuple[int, int, int, int]:
    return (len(request.keep), *request.box.shape)


def _chunks(request: Request) -> tuple[int, int, int, int]:
    return (len(request.keep), *cell_shape(request))


def cell_shape(request: Request) -> Triple:
    """Voxels of a cell, which is a chunk of the output."""
    z, y, x = (min(n, c) for n, c in zip(request.box.shape, CELL, strict=True))
    return (z, y, x)


def _dtype(request: Request) -> np.dtype[Any]:
    encoding = request.settings.encoding
    return LOGIT8.dtype if encoding == "logit8" else np.dtype(encoding)


def _metadata(request: Request) -> Metadata:
    """The metadata of the affinities."""
    settings = request.settings
    extra: dict[str, Any] = {
        **request.image.metadata.directions,
        "made_by": {
            "neuropil": version("neuropil"),
            "model": model_digest(request.model)[:16],
            "name": request.model.info.get("name"),
            "voxel_size": request.model.voxel_size,
            "image": request.image.path,
            "tta": settings.tta,
            "tta_mode": settings.tta_mode,
            "seen": str(request.frame),
            "context": list(request.context),
        },
    }
    extra |= request.model.goes_with
    if request.tissue is not None:
        extra[KEY] = request.tissue.tissue.to_json()
    if request.factor != SAME:
        extra["made_by"]["resampled"] = list(request.factor)
        if "min_size" in extra:  # it counts voxels of the model's grid
            extra["min_size"] = voxels_of_image(extra["min_size"], request.factor)
    return Metadata(
        voxel_size=request.image.metadata.voxel_size or request.model.voxel_size,
        origin=request.image.metadata.origin if request.box == request.image.box else request.box.start,
        offsets=request.found,
        encoding=LOGIT8 if settings.encoding == "logit8" else None,
        extra=extra,
        shift=request.image.metadata.shift,
    )
