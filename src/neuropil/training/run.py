"""The state of a training run: how it starts, saves checkpoints and resumes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel

from neuropil.config import Config, config_to_yaml, load_config, taught
from neuropil.errors import NeuropilError
from neuropil.geometry import VoxelSize
from neuropil.memory import expect_memory
from neuropil.models import build_network, check_spread
from neuropil.models.checkpoint import is_checkpoint, load_matching, load_weights, read_checkpoint, save_checkpoint
from neuropil.training.optimizers import make_optimizer, start_average
from neuropil.training.ranks import prepare_norms
from neuropil.volumes.atomic import expect_output, write_text
from neuropil.volumes.grey import GreyValues
from neuropil.volumes.identity import stamp
from neuropil.volumes.marks import FIRST_LINE

IRRELEVANT = {"device", "workers", "log_every", "image_every", "image_order", "checkpoint_every"}
"""Settings of ``training`` that do not change the result."""


@dataclass(frozen=True)
class Step:
    """Progress of a run."""

    iteration: int = 0
    """Optimizer steps made."""
    seconds: float = 0.0
    """Wall-clock time spent training, over all parts of the run."""
    best: float = float("inf")
    """Lowest validation loss so far."""
    stale: int = 0
    """Validations since then."""
    drop: float = 1.0
    """Factor of the plateau schedule on the learning rate."""


@dataclass(frozen=True)
class Layout:
    """File names in the folder of a run that other programs expect."""

    numbered: str = "checkpoints/iteration_{:08d}.pt"
    """Name of a numbered checkpoint by its iteration; see ``training.keep_last``."""
    tensorboard: str = "tensorboard"
    """Folder of the TensorBoard events."""


PLAIN = Layout()
"""The layout of ``neuropil train``."""


@dataclass(frozen=True)
class Run:
    """Network, optimizer and settings of a run, and the folder for its results."""

    config: Config
    fabric: Fabric
    """Devices and precision."""
    network: Any
    """The network, wrapped by Fabric, which handles precision and devices."""
    average: AveragedModel
    """Moving average of the weights, used for validation and prediction."""
    optimizer: torch.optim.Optimizer
    folder: Path
    voxel_size: VoxelSize | None
    """nm, of the training volumes; prediction warns of images with another one."""
    layout: Layout = PLAIN
    grey_values: GreyValues | None = None
    """Grey values of the training volumes; prediction warns of images with other ones."""
    stamps: Mapping[str, Any] = field(default_factory=dict)
    """Stamp of each training file, by its path; a resumed run prints which have changed."""

    def keep(self, step: Step, last: int) -> None:
        """Link ``last.pt`` to a numbered name, and remove all but the newest ``last`` numbered checkpoints."""
        if not last or self.fabric.global_rank:
            return
        numbered = self.folder / self.layout.numbered.format(step.iteration)
        numbered.unlink(missing_ok=True)
        os.link(self.folder / "checkpoints" / "last.pt", numbered)
        for old in sorted(self.folder.glob(re.sub(r"\{.*\}", "*", self.layout.numbered)))[:-last]:
            old.unlink()

    def save(self, name: str, step: Step) -> Path:
        """Write ``checkpoints/NAME`` with weights, average, optimizer, progress and config; on the first rank only."""
        path = self.folder / "checkpoints" / name
        if self.fabric.global_rank:
            return path
        content = {
            "config": self.config.to_dict(),
            "weights": plain(self.network).state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": asdict(step),
            "averaged": self.average.n_averaged,
            "precision": self.fabric.strategy.precision.state_dict(),
            "info": {
                "iteration": step.iteration,
                "minutes": round(step.seconds / 60, 2),
                "voxel_size": list(self.voxel_size) if self.voxel_size else None,
                **(self.grey_values.to_info() if self.grey_values else {}),
                "stamps": dict(self.stamps),
                "taught": taught(self.config),
            },
        }
        save_checkpoint(path, content)
        return path


def start_run(
    config: Config,
    fabric: Fabric,
    voxel_size: VoxelSize | None,
    folder: Path,
    layout: Layout = PLAIN,
    *,
    resuming: bool = False,
) -> Run:
    """Build a network, its average and its optimizer; a resumed one gets its weights from :func:`restore`.

    Raises:
        NeuropilError: a patch that the network shrinks too far; weights of another network; a norm that needs GPUs; a
            batch larger than memory.
    """
    sharing = fabric.world_size if config.model.normalisation == "sync_batch" else 1
    check_spread(config.model, config.training.patch, config.training.batch * sharing)
    if fabric.device.type == "cpu":  # images and targets only; a GPU raises an error of its own
        bytes_each = prod(config.training.patch) * (4 + len(config.model.offsets))
        expect_memory(config.training.batch * bytes_each, "a batch", "make training.batch or training.patch smaller")
    torch.manual_seed(config.training.seed)
    bare: nn.Module = build_network(config.model)
    if config.training.pretrained and not resuming:
        start_from(bare, config, config.training.pretrained, loud=fabric.global_rank == 0)
    bare = bare.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    bare = prepare_norms(bare, config, fabric)
    network, optimizer = fabric.setup(bare, make_optimizer(bare, config, fabric.device.type))
    average = start_average(plain(network))
    return Run(config, fabric, network, average, optimizer, folder, config.data.voxel_size or voxel_size, layout)


def start_from(network: nn.Module, config: Config, pretrained: Path | str, loud: bool = True) -> None:
    """Load the weights of a trained model that fit into a new network; print (if ``loud``) which do not, and why.

    Raises:
        NeuropilError: none fits; the keys of the model section that differ are named.
    """
    content = read_checkpoint(pretrained)
    theirs = Config.from_dict(content["config"], f"the config in {pretrained}").model
    names = [name for name in type(theirs).model_fields if getattr(theirs, name) != getattr(config.model, name)]
    keys = ", ".join(f"model.{n} {getattr(theirs, n)} there, {getattr(config.model, n)} here" for n in names)
    mend = (
        f"for a recipe of the same network: neuropil config new IMAGE LABELS --pretrained {pretrained} -o RECIPE.yaml"
    )
    try:
        left = load_matching(network, content, Path(pretrained))
    except NeuropilError as error:
        raise NeuropilError(f"{error}: {keys}; {mend}") from error
    if loud:
        count = len(network.state_dict())
        took = count - sum(line.endswith("fresh") for line in left)
        print(f"took {took} of {count} tensors from {pretrained}; the rest:", flush=True)
        print("\n".join(f"  {line}" for line in left or ["nothing"]), flush=True)
        if left:
            print(f"differs: {keys}; {mend}", flush=True)


def check_folder(config: Config, out: Path) -> None:
    """Refuse to train into a folder with the run of another recipe, whose checkpoints would be replaced.

    Raises:
        NeuropilError: there is such a run; the keys that differ are named.
    """
    known = out / "config.yaml"
    if not (out / "checkpoints" / "last.pt").exists() or not known.exists():
        return
    theirs, ours = _learned_from(load_config([known])), _learned_from(config)
    names = [key for key in ours if ours[key] != theirs.get(key)]
    if names:
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        raise NeuropilError(
            f"expected an empty folder or a run of this recipe, got one that differs in {', '.join(names[:4])}"
            f"{more}, in {out}; choose another --out, or replace that run with --force"
        )


def _learned_from(config: Config) -> dict[str, Any]:
    """All settings that change the result of training, as ``section.key``."""
    sections = ("data", "model", "augment", "loss", "optimizer", "training")
    found = {f"{s}.{key}": value for s in sections for key, value in config.to_dict()[s].items()}
    spare = {"data.test", *(f"training.{name}" for name in IRRELEVANT)}
    return {key: value for key, value in found.items() if key not in spare}


def plain(network: Any) -> nn.Module:
    """The network without the wrappers of Fabric, DDP and DataParallel."""
    inner: nn.Module = network.module
    while isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = inner.module
    return inner


def restore(run: Run, path: Path) -> Step:
    """Load weights, average and optimizer of a checkpoint into a new run; returns its progress.

    Raises:
        NeuropilError: no checkpoint, weights of another network, a checkpoint without an optimizer (weights only) or
            with another one, or a teacher given to only one of the two runs.
    """
    content = read_checkpoint(path)
    if "optimizer" not in content:
        raise NeuropilError(
            f"{path} holds only weights, which --resume cannot continue; start with --pretrained {path}"
        )
    name, known = run.config.optimizer.name, Config.from_dict(content["config"], "the checkpoint").optimizer.name
    if name != known:
        raise NeuropilError(
            f"{path} learned with optimizer.name {known}, whose averages are of no use to {name}; keep {known}, or "
            f"start with --pretrained {path}"
        )
    has_teacher = taught(run.config)
    if bool(content["info"].get("taught")) != has_teacher:
        was = "learned from a teacher" if not has_teacher else "learned without a teacher"
        raise NeuropilError(f"{path} {was}; {'give it again' if not has_teacher else 'leave --teacher out'}")
    for line in _changes(run, content) if run.fabric.global_rank == 0 else ():
        print(f"note: {line}", flush=True)
    load_weights(run.average.module, content, path)
    load_weights(plain(run.network), {"weights": content["weights"]}, path)
    # Whether Adam is fused depends on the device, which may be another one now.
    for theirs, ours in zip(content["optimizer"]["param_groups"], run.optimizer.param_groups, strict=True):
        theirs["fused"] = ours["fused"]
    run.optimizer.load_state_dict(content["optimizer"])
    run.average.n_averaged.copy_(content["averaged"])
    run.fabric.strategy.precision.load_state_dict(content.get("precision", {}))
    return Step(**content["step"])


def stamps_of(config: Config) -> dict[str, Any]:
    """The stamp of every file of ``data.train``, by its path."""
    pairs = config.data.train
    paths = {path for pair in pairs for path in (pair.image, pair.labels, pair.mask, pair.teacher) if path}
    return {path: stamp(path) for path in sorted(paths)}


def _changes(run: Run, content: dict[str, Any]) -> list[str]:
    """Lines about what has changed since a checkpoint was written: keys of the recipe, training files."""
    theirs, ours = _learned_from(Config.from_dict(content["config"], "the checkpoint")), _learned_from(run.config)
    lines = [
        f"{key} was {theirs.get(key)}, is {ours[key]} from here on" for key in ours if ours[key] != theirs.get(key)
    ]
    known = content["info"].get("stamps", {})
    now = json.loads(json.dumps(dict(run.stamps)))
    changed = [path for path in now if path in known and json.loads(json.dumps(known[path])) != now[path]]
    return [*lines, *(f"{path} has changed since the checkpoint; samples differ from here on" for path in changed)]


def expect_results(out: Path) -> None:
    """Refuse, before any work, a folder that cannot be written.

    Raises:
        NeuropilError: it cannot, or files that are not neuropil's would be replaced.
    """
    for name in ("last.pt", "best.pt"):
        expect_output(out / "checkpoints" / name, is_checkpoint)
    expect_output(out / "config.yaml")


def write_config(config: Config, out: Path) -> None:
    """Write the complete config, with all defaults, into the folder of the run."""
    write_text(out / "config.yaml", FIRST_LINE + config_to_yaml(config))
