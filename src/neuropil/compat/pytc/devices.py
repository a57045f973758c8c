"""Choose the devices of a run: GPUs if there are enough, else fewer or the CPU, with one warning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from neuropil.compat.pytc.translation import Classic
from neuropil.config import Config


@dataclass(frozen=True)
class Devices:
    """The devices of a run."""

    device: Literal["cpu", "cuda"]
    count: int
    """Devices that one process uses."""
    strategy: Literal["auto", "ddp", "dp"]
    warning: str | None = None


def choose_devices(wanted: int, parallel: Literal["dp", "ddp"], ranks: int, visible: int) -> Devices:
    """Choose the devices of a run.

    Args:
        wanted: ``SYSTEM.NUM_GPUS``, for a run without a launcher; 0 means the CPU.
        parallel: ``SYSTEM.PARALLEL``.
        ranks: processes of this machine that a launcher started; 0 without one.
        visible: GPUs that can be used.

    >>> choose_devices(wanted=1, parallel="dp", ranks=2, visible=0).warning
    'no GPU is visible for 2 processes: training on the processor, through gloo'
    >>> choose_devices(wanted=4, parallel="dp", ranks=0, visible=8)
    Devices(device='cuda', count=4, strategy='dp', warning=None)
    """
    seen = "no GPU is visible" if visible == 0 else f"only {visible} GPU{'s are' if visible > 1 else ' is'} visible"
    if ranks > 0:
        if visible >= ranks:
            return Devices("cuda", 1, "ddp")
        return Devices("cpu", 1, "ddp", f"{seen} for {ranks} processes: training on the processor, through gloo")
    if wanted == 0:
        return Devices("cpu", 1, "auto")
    if visible == 0:
        return Devices("cpu", 1, "auto", f"{seen} (SYSTEM.NUM_GPUS is {wanted}): using the processor")
    count = min(wanted, visible)
    strategy: Literal["auto", "dp"] = "dp" if parallel == "dp" and count > 1 else "auto"
    warning = None
    if count < wanted:
        warning = f"{seen} of SYSTEM.NUM_GPUS {wanted}: a step of training has {count}/{wanted} of its samples"
    if parallel == "ddp" and count > 1:
        count = 1
        warning = "one process was started: one GPU is used; start with torchrun --nproc_per_node for more"
    return Devices("cuda", count, strategy, warning)


def use_devices(classic: Classic, devices: Devices, half: bool) -> tuple[Config, str | None]:
    """The recipe with these devices, and the one warning about them.

    Args:
        classic: the translated configuration.
        devices: the chosen devices.
        half: whether mixed precision means fp16, because the GPUs have no fast bf16.
    """
    config, warning = classic.config, devices.warning
    training: dict[str, Any] = {"device": devices.device, "devices": devices.count, "strategy": devices.strategy}
    if devices.device == "cpu":
        training["workers"] = 0  # the network itself uses all cores
        if classic.workers:
            idle = f"SYSTEM.NUM_CPUS {classic.workers} starts no workers in addition to the network"
            warning = f"{warning}, and {idle}" if warning else f"on the processor {idle}"
        if config.model.normalisation == "sync_batch":
            warning = f"{warning or 'on the processor'}; batch norms are not synchronised (as MODEL.NORM_MODE bn)"
            name = config.model.architecture
            section = getattr(config.model, name).model_copy(update={"norm": "batch"})
            config = config.model_copy(update={"model": config.model.model_copy(update={name: section})})
    elif classic.mixed and half:
        training["precision"] = "fp16"
    return config.model_copy(update={"training": config.training.model_copy(update=training)}), warning
