"""Monitoring of a run: progress on the terminal, scalars and images in TensorBoard."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from neuropil.config import Config
from neuropil.geometry import NEAREST, Offsets, VoxelSize
from neuropil.progress import ProgressDisplay, clock
from neuropil.training.batches import Batch
from neuropil.training.objective import Losses


class Monitor:
    """Progress of one run; only the first rank shows it."""

    def __init__(self, folder: Path, config: Config, start: int, rank: int = 0) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=start) if rank == 0 else None
        self.channels = rgb_channels(config.model.offsets, config.training.image_order)
        self.voxels, self.waited, self.segments = 0, 0.0, math.inf
        self.since = time.monotonic()
        self.display = ProgressDisplay()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *error: object) -> None:
        self.display.close()
        if self.writer is not None:
            self.writer.close()

    def count(self, voxels: int) -> None:
        self.voxels += voxels

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for the next batch."""
        start = time.monotonic()
        yield
        self.waited += time.monotonic() - start

    def silent(self) -> float:
        """Seconds since the last line of progress; 0 on ranks that print nothing."""
        return time.monotonic() - self.since if self.writer is not None else 0.0

    def scalars(self, iteration: int, found: Losses, rate: float, gradient: float, done: float, left: float) -> None:
        """Write the loss and its terms, learning rate, gradient norm and speed; show how far the run is.

        Args:
            iteration: steps made.
            found: loss and terms of the last one.
            rate: its learning rate.
            gradient: norm of its gradient.
            done: share of the run that is done, 0 to 1.
            left: seconds that the rest will take.
        """
        now = time.monotonic()
        passed = max(now - self.since, 1e-9)
        speed, waited = self.voxels / passed, self.waited / passed
        self.voxels, self.waited, self.since = 0, 0.0, now
        if self.writer is None:
            return
        loss = found.loss.item()
        self.writer.add_scalar("loss/train", loss, iteration)
        for name, term in found.terms.items():
            self.writer.add_scalar(f"loss/term/{name}", term.item(), iteration)
        self.writer.add_scalar("learning_rate", rate, iteration)
        self.writer.add_scalar("gradient_norm", gradient, iteration)
        self.writer.add_scalar("speed/voxels_per_second", speed, iteration)
        self.writer.add_scalar("speed/share_waiting_for_data", waited, iteration)
        state = f"iteration {iteration:6d}  loss {loss:.4f}  {speed / 1e6:.2f} Mvoxel/s  {clock(left)} left"
        if sys.stdout.isatty() and sys.stderr.isatty():  # else a log file gets a line each time
            self.display.show("train", done, 1.0, state)
        else:
            print(state, flush=True)

    def validation(self, iteration: int, loss: float, scores: dict[str, float], best_before: float) -> None:
        """Write the validation loss, and the scores of a segmentation if there are any."""
        if self.writer is not None:
            self.writer.add_scalar("loss/validation", loss, iteration)
            for name, score in scores.items():
                self.writer.add_scalar(f"validation/{name}", score, iteration)
            told = "".join(
                f"  {name.replace('_', ' ')} {score:.{0 if name == 'segments' else 4}f}"
                for name, score in scores.items()
            )
            best = "  (best so far: best.pt)" if loss <= best_before else ""
            print(f"iteration {iteration:6d}  validation loss {loss:.4f}{told}{best}", flush=True)
            self.segments = scores.get("segments", math.inf)

    def ended(self, step_is_warm: bool) -> None:
        """Warn of a run that ended before its warm-up, or whose last validation box became one segment."""
        if self.writer is None:
            return
        if not step_is_warm:
            print(
                "warning: the run ended before its warm-up did: it has learned next to nothing; train longer",
                flush=True,
            )
        if self.segments <= 1:
            print(
                "warning: the validation box became one segment: the network sees no membranes yet; train longer, or "
                "look at labels and grey values with neuropil check",
                flush=True,
            )

    def pictures(self, iteration: int, batch: Batch, logits_BEZYX: Tensor) -> None:
        """Image, labels, target and predicted affinities of the middle section of the first sample, side by side."""
        if self.writer is None:
            return
        z = batch.image_BCZYX.shape[2] // 2
        grey = batch.image_BCZYX[0, :, z].expand(3, -1, -1)
        labels = colours(batch.labels_BZYX[0, z])
        target = batch.target_BEZYX[0, self.channels, z].float()
        predicted = logits_BEZYX[0, self.channels, z].detach().float().sigmoid()
        row = torch.cat([grey, labels, target, predicted], dim=-1).clamp(0, 1).cpu()
        self.writer.add_image("image | labels | target | prediction", row, iteration)


FEW = 500
"""Steps below which a network has learned little: adapted Rand errors 0.3 after 500, 0.2 after 2,000 (scores.md)."""


def forecast(config: Config, size: VoxelSize | None, iteration: int, seconds: float, step: float) -> str:
    """A line with the number of steps that a run limited by minutes will make, and a hint if they are too few.

    Args:
        config: the recipe; ``training.minutes`` is set.
        size: voxel size in nm, z y x.
        iteration: steps made.
        seconds: training time so far, over all parts of the run.
        step: seconds of one step.

    >>> recipe = Config.from_dict({"training": {"minutes": 7, "patch": [32, 64, 64]}})
    >>> print(forecast(recipe, (8, 8, 8), 10, 20.0, 2.0))
    about 210 steps in 7 minutes: too few to learn much; with model.stem [2, 2, 2] it would be about 1,700
    >>> forecast(recipe, (8, 8, 8), 10, 1.0, 0.1)
    'about 4,200 steps in 7 minutes'
    """
    minutes, stem = config.training.minutes or 0.0, config.model.stem
    steps = iteration + max(0.0, minutes * 60 - seconds) / step
    if config.training.iterations:
        steps = min(steps, config.training.iterations)
    told = f"about {_round(steps)} steps in {minutes:g} minutes"
    if steps >= min(FEW, config.training.iterations or FEW):
        return told
    fine = [1 if size and n > 1.5 * min(size) else 2 for n in size or (1, 1, 1)]
    if config.model.architecture == "residual_unet" and stem == (1, 1, 1):
        coarse = fine if size else [1, 2, 2]
        more = f"with model.stem {coarse} it would be about {_round(steps * prod(coarse))}"
    else:
        more = "train longer (--minutes), or with a smaller training.patch"
    return f"{told}: too few to learn much; {more}"


def _round(count: float) -> str:
    """A number rounded to two digits, with commas between thousands."""
    unit = max(1, 10 ** (len(str(int(count))) - 2))
    return f"{round(count / unit) * unit:,}"


def colours(labels_YX: Tensor) -> Tensor:
    """A colour for each id, black for 0: float ``[3, Y, X]``.

    >>> tuple(colours(torch.tensor([[0, 1], [2, 2]])).shape)
    (3, 2, 2)
    """
    # Multiples of irrational numbers, modulo 1, are spread evenly for any number of ids.
    golden = torch.tensor([0.618034, 0.754878, 0.569840], device=labels_YX.device)[:, None, None]
    return (0.25 + 0.75 * (labels_YX * golden % 1)) * (labels_YX > 0)


def rgb_channels(offsets: Offsets, order: Literal["xyz", "zyx"] = "xyz") -> list[int]:
    """The channels shown as red, green and blue: x, y and z neighbours if present, else the first other ones.

    With ``zyx`` red is z and blue is x.

    >>> rgb_channels(NEAREST), rgb_channels(NEAREST, "zyx")
    ([2, 1, 0], [0, 1, 2])
    """
    wanted = [offsets.index(o) for o in (NEAREST if order == "zyx" else reversed(NEAREST)) if o in offsets]
    rest = [c for c in range(len(offsets)) if c not in wanted]
    return [*wanted, *rest, *[0, 0, 0]][:3]
