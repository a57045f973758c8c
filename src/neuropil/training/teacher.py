"""Distillation: the affinities of another network (teacher) as targets, computed once and stored with the run."""

from __future__ import annotations

import json
from pathlib import Path

from lightning_fabric import Fabric

from neuropil.config import Config, VolumePair
from neuropil.config.mistakes import changed
from neuropil.errors import NeuropilError
from neuropil.inference import predict_volume
from neuropil.models.checkpoint import Model, load_model, model_digest
from neuropil.progress import ProgressDisplay
from neuropil.training.batches import open_pair
from neuropil.volumes import image_digest


def with_teacher(teacher: Path | str, config: Config, out: Path, fabric: Fabric) -> Config:
    """The recipe with a teacher's affinities for every volume of ``data.train``; computes those that are missing.

    They are stored in ``OUT/teacher/N.zarr``, one byte for each edge and voxel. Training crops, flips and turns them
    with the labels and never runs the teacher, which would take longer than a training step of a small network.

    Args:
        teacher: a checkpoint, or the name of a model that comes with the package.
        config: the recipe; its volumes may lack labels.
        out: the run's folder.
        fabric: the first rank computes on its device while the others wait.

    Raises:
        NeuropilError: no such model, one with none of the recipe's offsets, or a volume that has a teacher already.
    """
    if named := [f"data.train[{n}].teacher" for n, pair in enumerate(config.data.train) if pair.teacher]:
        raise NeuropilError(f"--teacher computes affinities, and {named[0]} names some; give only one of them")
    model, wanted = load_model(teacher), config.model.offsets
    missing = [offset for offset in wanted if offset not in model.config.model.offsets]
    if len(missing) == len(wanted):
        held = list(model.config.model.offsets)
        raise NeuropilError(
            f"expected a teacher that knows some of model.offsets {list(wanted)}, got {teacher}: {held}"
        )
    targets = [out / "teacher" / f"{number}.zarr" for number in range(len(config.data.train))]
    if fabric.global_rank == 0:
        if missing:
            print(f"note: {teacher} does not know model.offsets {missing}; they are learned from labels alone")
        for pair, target in zip(config.data.train, targets, strict=True):
            _predict(model, pair, target, str(fabric.device))
    fabric.barrier()
    pairs = zip(config.data.train, targets, strict=True)
    train = tuple(pair.model_copy(update={"teacher": str(target)}) for pair, target in pairs)
    return config.model_copy(update={"data": config.data.model_copy(update={"train": train})})


def _predict(model: Model, pair: VolumePair, target: Path, device: str) -> None:
    """Predict the training region of a volume, unless the same affinities are there already."""
    opened = open_pair(pair)
    image, box = opened.image, opened.region()
    settings = changed(model.config.predict, {"keep": "all", "encoding": "logit8"}, "the teacher's predict section")
    made_from = {
        "model": model_digest(model),
        "image": image_digest(image),
        "box": str(box),
        "predict": settings.model_dump(mode="json"),
    }
    note, asked = target.with_suffix(".json"), json.dumps(made_from, indent=1)
    if target.exists() and note.exists() and note.read_text() == asked:
        return
    print(f"computing the teacher's affinities of {pair.image}, voxels {box}: {target}", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with ProgressDisplay() as progress:
        predict_volume(model, image, target, settings, box=box, device=device, progress=progress)
    note.write_text(asked)
