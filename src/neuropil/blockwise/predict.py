"""Blockwise prediction: the tiles of the whole image, divided among workers."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from neuropil.blockwise.executor import Executor, Summary, Task
from neuropil.blockwise.job import BLOCK
from neuropil.blockwise.runner import Runner
from neuropil.config import PredictConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import Box, Triple, blocks
from neuropil.inference.canvas import Cells
from neuropil.inference.journal import Journal
from neuropil.inference.request import Request, make_request
from neuropil.inference.resumable import (
    begin_or_continue,
    cell_shape,
    check_output,
    predict_grid,
    put_into_place,
    unfinished,
)
from neuropil.models.checkpoint import model_digest
from neuropil.progress import ProgressCallback, ProgressCounter
from neuropil.volumes import Volume, open_volume, spare_input
from neuropil.volumes.location import absolute_path, parse_location
from neuropil.volumes.tissue import Tissue


def predict_blocks(
    checkpoint: Path | str,
    image: Volume,
    output: Path | str,
    settings: PredictConfig | None = None,
    *,
    block: Triple | None = None,
    box: Box | None = None,
    device: str = "auto",
    tissue: Tissue | None = None,
    executor: Executor | None = None,
    progress: ProgressCallback | None = None,
) -> None:
    """:func:`neuropil.inference.predict_volume` on many workers, with the same result.

    Tiles at the border of two blocks are computed by both, so blocks should be several tiles long. Finished blocks are
    kept in ``OUTPUT.unfinished``; the same call continues there, by blocks or not.

    Args:
        checkpoint: a path that all workers can read, or a name of a released model.
        image: ``[z, y, x]``, in a file.
        output: where to write; Zarr is written by all workers at once.
        settings: as for :func:`neuropil.inference.predict_volume`.
        block: voxels (z, y, x) of a block, rounded up to whole chunks of the output; 128, 512, 512 when not given.
        box, device, tissue: as for :func:`neuropil.inference.predict_volume`.
        executor: runs the tasks; this process when not given.
        progress: called after each block.

    Raises:
        NeuropilError: as :func:`neuropil.inference.predict_volume`.
        BlocksFailed: blocks that could not be done.
    """
    target = parse_location(output)
    spare_input(image, output)
    request = make_request(checkpoint, image, settings, box=box, device=device, tissue=tissue)
    check_output(request, target)
    with Journal(unfinished(target)) as journal:
        given = (checkpoint, absolute_path(image.path), device)
        cells, tasks = _plan(journal, request, block or BLOCK, given)

        def mark(task: Task, _: Summary) -> None:
            for cell in cells[task.place]:
                journal.mark(cell)

        Runner(executor, progress).run_all([tasks], mark)
        put_into_place(journal, request, target)
        journal.remove()


def _plan(
    journal: Journal, request: Request, block: Triple, given: tuple[Path | str, str, str]
) -> tuple[dict[str, list[Triple]], list[Task]]:
    """The cells of each block, by the block's box, and a task for each block that is not complete."""
    checkpoint, image, device = given
    chosen = json.loads(json.dumps(begin_or_continue(journal, request)))
    whole, shape = request.box, cell_shape(request)
    z, y, x = (-(-b // c) * c for b, c in zip(block, shape, strict=True))
    cells, done = Cells(whole, shape), journal.done()
    groups = {str(part): list(cells.touched(part)) for part in blocks(whole, (z, y, x))}
    model = str(Path(checkpoint).absolute()) if Path(checkpoint).is_file() else str(checkpoint)
    made_from = json.dumps((journal.begun() or {}).get("asked"))
    left = json.dumps(None if request.tissue is None else request.tissue.tissue.to_json())
    asked = (model, image, str(whole), request.settings.model_dump_json(), device, left, made_from)
    tasks = [
        Task(
            predict_part, (asked, chosen, place, str(journal.array.resolve())), "predicting", place, ("predict", (0, i))
        )
        for i, (place, inside) in enumerate(groups.items())
        if not done.issuperset(inside)
    ]
    return groups, tasks


def predict_part(asked: tuple[str, ...], chosen: dict[str, Any], place: str, array: str) -> Summary:
    """Predict one block into the array of the whole image."""
    request = _request(*asked)
    part = Box.parse(place)
    predict_grid(
        Path(array), request, chosen, Cells(part, cell_shape(request)), ProgressCounter("predict", part.size, 0, None)
    )
    return {}


@lru_cache(maxsize=1)
def _request(checkpoint: str, image: str, box: str, settings: str, device: str, tissue: str, made_from: str) -> Request:
    """The same request in a worker, which loads the model once.

    Workers outlive runs. ``made_from`` has digests of model and image, so that the cache never returns older ones.
    """
    chosen = PredictConfig.model_validate_json(settings)
    area, left = Box.parse(box), Tissue.from_json(json.loads(tissue))
    request = make_request(checkpoint, open_volume(image), chosen, box=area, device=device, tissue=left)
    if model_digest(request.model) != json.loads(made_from)["model"]:
        raise NeuropilError(f"{checkpoint} holds another model for this worker than where the run was started")
    return request
