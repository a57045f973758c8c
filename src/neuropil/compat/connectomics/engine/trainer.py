"""``connectomics.engine.trainer``: train or predict from a configuration."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch

from neuropil.compat.connectomics.config import Cfg
from neuropil.compat.pytc.program import main
from neuropil.errors import NeuropilError


class Trainer:
    """Run ``scripts/main.py`` from Python.

    Args:
        cfg: the configuration.
        device: the CPU, or any GPU: then ``SYSTEM.NUM_GPUS`` decides; None: GPUs if there are any.
        mode: ``train`` or ``test``.
        rank: rank of this process, if a launcher started several.
        checkpoint: to resume from, or to predict with.

    Raises:
        NeuropilError: another mode, or another rank than the launcher's.
    """

    def __init__(
        self,
        cfg: Cfg,
        device: Any = None,
        mode: Literal["train", "test"] = "train",
        rank: int | None = None,
        checkpoint: str | None = None,
    ) -> None:
        if mode not in ("train", "test"):
            raise NeuropilError(f"Trainer: expected mode train or test, got {mode!r}")
        if rank is not None and str(rank) != os.environ.get("RANK"):
            raise NeuropilError(
                f"Trainer: expected rank {os.environ.get('RANK')} of the launcher, got {rank}; start several processes "
                "with torchrun"
            )
        self.cfg, self.mode, self.rank, self.checkpoint = cfg, mode, rank, checkpoint
        self.on_processor = device is not None and torch.device(device).type == "cpu"

    def train(self) -> None:
        """Train; checkpoints are written to ``DATASET.OUTPUT_PATH``."""
        self._run("train")

    def test(self) -> None:
        """Predict ``INFERENCE.IMAGE_NAME`` with the checkpoint, into ``INFERENCE.OUTPUT_PATH``."""
        self._run("test", "--inference")

    def _run(self, mode: str, *words: str) -> None:
        if mode != self.mode:
            raise NeuropilError(f"expected a Trainer with mode {mode!r}, got {self.mode!r}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cfg.yaml"
            path.write_text(self.cfg.dump(), encoding="utf-8")
            more = ["--checkpoint", self.checkpoint] if self.checkpoint else []
            more += ["--distributed"] if self.rank is not None else []
            more += ["SYSTEM.NUM_GPUS", "0"] if self.on_processor else []
            if main(["--config-file", str(path), *words, *more]):
                raise NeuropilError(f"the {self.mode} run failed; its message is above")
