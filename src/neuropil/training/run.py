"""What a run consists of, how it starts, how it is saved and taken up again."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from neuropil.config import Config, TrainingConfig, config_to_yaml
from neuropil.errors import NeuropilError
from neuropil.geometry import VoxelSize
from neuropil.models import build_network
from neuropil.models.checkpoint import load_weights, read_checkpoint, save_checkpoint
from neuropil.models.precision import has_fast_bf16


@dataclass(frozen=True)
class Step:
    """How far a run has come."""

    iteration: int = 0
    """Optimizer steps made."""
    seconds: float = 0.0
    """Wall-clock time spent training, over all parts of the run."""
    best: float = float("inf")
    """Lowest held-out loss so far."""


@dataclass(frozen=True)
class Run:
    """What a run learns and where it leaves it."""

    config: Config
    network: Any
    """The network as Fabric wrapped it: precision and devices are its business. ``.module`` is the bare one."""
    average: AveragedModel
    """Exponential moving average of the weights: what is judged, predicted with and shipped."""
    optimizer: torch.optim.Optimizer
    folder: Path
    voxel_size: VoxelSize | None
    """nm, of the training volumes: prediction warns of images at another scale."""

    def save(self, name: str, step: Step) -> Path:
        """Write ``checkpoints/NAME``: weights, average, optimizer, progress, and the config."""
        path = self.folder / "checkpoints" / name
        content = {
            "config": self.config.to_dict(),
            "weights": self.network.module.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": asdict(step),
            "averaged": self.average.n_averaged,
            "info": {
                "iteration": step.iteration,
                "minutes": round(step.seconds / 60, 2),
                "voxel_size": list(self.voxel_size) if self.voxel_size else None,
            },
        }
        save_checkpoint(path, content)
        return path


def start_fabric(settings: TrainingConfig) -> Fabric:
    """Fabric on the wanted device, in bf16 where the hardware has it and the config allows it."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise NeuropilError("training.device is cuda but no GPU is visible; use auto or cpu")
    accelerator = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    bf16 = settings.precision == "bf16" or (
        settings.precision == "auto" and has_fast_bf16(torch.device(accelerator))
    )  # fmt: skip
    fabric = Fabric(accelerator=accelerator, devices=1, precision="bf16-mixed" if bf16 else "32-true")
    fabric.launch()
    return fabric


def start_run(
    config: Config, fabric: Fabric, voxel_size: VoxelSize | None, folder: Path, pretrained: Path | str | None
) -> Run:
    """A fresh network (or a pretrained one), its average and its optimizer."""
    torch.manual_seed(config.training.seed)
    bare: nn.Module = build_network(config.model)
    if pretrained:
        load_weights(bare, read_checkpoint(Path(pretrained)), Path(pretrained))
    bare = bare.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network, optimizer = fabric.setup(bare, make_optimizer(bare, config))
    average = AveragedModel(network.module, multi_avg_fn=moving_average(config.optimizer.ema), use_buffers=True)
    return Run(config, network, average, optimizer, folder, config.data.voxel_size or voxel_size)


def make_optimizer(network: nn.Module, config: Config) -> torch.optim.Optimizer:
    """AdamW; norms and biases are not decayed, since pulling them to 0 only fights the norm."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.optimizer.weight_decay},
        {"params": vectors, "weight_decay": 0},
    ]
    return torch.optim.AdamW(groups, lr=config.optimizer.learning_rate, betas=config.optimizer.betas)


def moving_average(decay: float) -> Any:
    """Exponential moving average whose memory grows with the run, so that the random start is forgotten at once."""

    @torch.no_grad()
    def update(averages: list[Tensor], currents: list[Tensor], count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - now)
            else:
                average.copy_(current)

    return update


def restore(run: Run, path: Path) -> Step:
    """Load weights, average and optimizer of a checkpoint into a fresh run; returns how far it had come.

    Raises:
        NeuropilError: no checkpoint, weights of another network, or one without an optimizer (weights only).
    """
    content = read_checkpoint(path)
    if "optimizer" not in content:
        raise NeuropilError(
            f"{path} holds only weights, which --resume cannot continue; start with --pretrained {path}"
        )
    load_weights(run.average.module, content, path)
    load_weights(run.network.module, {"weights": content["weights"]}, path)
    run.optimizer.load_state_dict(content["optimizer"])
    run.average.n_averaged.copy_(content["averaged"])
    return Step(**content["step"])


def write_config(config: Config, out: Path) -> None:
    """Leave the resolved config beside what it makes; also shows at once whether the folder can be written."""
    temporary = out / f".config.yaml.{os.getpid()}.partial"
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary.write_text(config_to_yaml(config))
        temporary.replace(out / "config.yaml")
    except OSError as error:
        raise NeuropilError(f"cannot write into the output folder {out}: {error}; choose another --out") from error
