"""The number of DataLoader workers, by a fixed rule, so that a recipe gives the same run on the same machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

from lightning_fabric import Fabric

from neuropil.config import Config
from neuropil.geometry import Triple
from neuropil.models.checkpoint import read_checkpoint

EACH = 2**17
"""Voxels of a batch for each worker. A worker augments about five million voxels a second."""


def choose_workers(device: str, cores: int, batch: int, patch: Triple, in_memory: bool) -> int:
    """Number of DataLoader workers if the recipe does not set it.

    On a CPU 0, since workers would compete with the network for cores. On a GPU 0 if volumes are kept in memory, since
    the GPU then cuts out and augments batches itself. If volumes are read box by box, one worker for each 131,072
    voxels of a batch; one core is left for the network.

    >>> choose_workers("cuda", 16, 4, (20, 192, 192), in_memory=False)
    15
    >>> choose_workers("cpu", 16, 4, (20, 192, 192), in_memory=False)
    0
    """
    if device == "cpu" or in_memory:
        return 0
    return max(min(cores - 1, math.ceil(batch * math.prod(patch) / EACH)), 0)


def settle_workers(config: Config, fabric: Fabric, in_memory: bool, resume: Path | str | None) -> int:
    """The number of workers: ``training.workers`` if set, else that of a resumed run, else by the rule; prints it.

    Args:
        config: the recipe.
        fabric: the devices.
        in_memory: whether all volumes are kept in memory.
        resume: the checkpoint of a run that is continued, with its number of workers.
    """
    settings = config.training
    if settings.workers is not None:
        return settings.workers
    kept = read_checkpoint(resume)["config"]["training"].get("workers") if resume else None
    if kept is None:
        cores = len(os.sched_getaffinity(0)) // max(_ranks_here(), 1)
        workers = choose_workers(fabric.device.type, cores, settings.batch, settings.patch, in_memory)
        told = f"by a rule of {fabric.device.type}, {cores} cores, batch, patch, volumes in memory: {in_memory}"
    else:
        workers, told = int(kept), f"as in {resume}"
    if fabric.global_rank == 0:
        print(f"training.workers: {workers} ({told})", flush=True)
    return workers


def with_workers(config: Config, workers: int) -> Config:
    """The recipe with this number of workers.

    >>> with_workers(Config(), 3).training.workers
    3
    """
    return config.model_copy(update={"training": config.training.model_copy(update={"workers": workers})})


def _ranks_here() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))
