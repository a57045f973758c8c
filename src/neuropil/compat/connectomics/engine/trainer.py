"""``connectomics.engine.trainer``: train and predict as a configuration says."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from neuropil.compat.connectomics.config import Cfg
from neuropil.compat.pytc.program import main
from neuropil.errors import NeuropilError


class Trainer:
    """What ``scripts/main.py`` does, from Python."""

    def __init__(
        self,
        cfg: Cfg,
        device: Any = None,
        mode: Literal["train", "test"] = "train",
        rank: int | None = None,
        checkpoint: str | None = None,
    ) -> None:
        self.cfg, self.mode, self.checkpoint = cfg, mode, checkpoint

    def train(self) -> None:
        """Train; checkpoints lie in ``DATASET.OUTPUT_PATH``."""
        self._run()

    def test(self) -> None:
        """Predict ``INFERENCE.IMAGE_NAME`` with the checkpoint, into ``INFERENCE.OUTPUT_PATH``."""
        self._run("--inference")

    def _run(self, *words: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cfg.yaml"
            path.write_text(self.cfg.dump(), encoding="utf-8")
            more = ["--checkpoint", self.checkpoint] if self.checkpoint else []
            if main(["--config-file", str(path), *words, *more]):
                raise NeuropilError(f"the {self.mode} run failed; its message is above")
