"""What a run shows of itself: one line in the terminal, scalars and pictures in TensorBoard."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from neuropil.geometry import NEAREST, Offsets
from neuropil.training.batches import Batch


class Monitor:
    """Progress of one run."""

    def __init__(self, folder: Path, offsets: Offsets, start: int) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=start)
        self.channels = rgb_channels(offsets)
        self.voxels = 0
        self.since = time.monotonic()

    def count(self, voxels: int) -> None:
        self.voxels += voxels

    def scalars(self, iteration: int, loss: float, rate: float, left: float) -> None:
        """Write loss, learning rate and speed, and print them with the time left (s)."""
        now = time.monotonic()
        speed, self.voxels, self.since = self.voxels / max(now - self.since, 1e-9), 0, now
        self.writer.add_scalar("loss/train", loss, iteration)
        self.writer.add_scalar("learning_rate", rate, iteration)
        self.writer.add_scalar("speed/voxels_per_second", speed, iteration)
        line = f"iteration {iteration:6d}  loss {loss:.4f}  {speed / 1e6:.2f} Mvoxel/s  {clock(left)} left"
        # A terminal keeps one line; a log file gets a line each time.
        print(line, end="\r" if sys.stdout.isatty() else "\n", flush=True)

    def validation(self, iteration: int, loss: float) -> None:
        """Write the loss on held-out patches."""
        self.writer.add_scalar("loss/validation", loss, iteration)

    def pictures(self, iteration: int, batch: Batch, logits_BEZYX: Tensor) -> None:
        """Image, target and predicted affinities of the middle section of the first sample, side by side."""
        z = batch.image_BCZYX.shape[2] // 2
        grey = batch.image_BCZYX[0, :, z].expand(3, -1, -1)
        target = batch.target_BEZYX[0, self.channels, z].float()
        predicted = logits_BEZYX[0, self.channels, z].detach().float().sigmoid()
        row = torch.cat([grey, target, predicted], dim=-1).clamp(0, 1).cpu()
        self.writer.add_image("image | target | prediction", row, iteration)

    def close(self) -> None:
        self.writer.close()
        if sys.stdout.isatty():
            print()


def rgb_channels(offsets: Offsets) -> list[int]:
    """The channels shown as red, green and blue: x, y and z neighbours where they are there, else the first ones.

    >>> rgb_channels(NEAREST)
    [2, 1, 0]
    """
    wanted = [offsets.index(o) for o in reversed(NEAREST) if o in offsets]
    rest = [c for c in range(len(offsets)) if c not in wanted]
    return [*wanted, *rest, *[0, 0, 0]][:3]


def clock(seconds: float) -> str:
    """Seconds as m:ss.

    >>> clock(125)
    '2:05'
    """
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
