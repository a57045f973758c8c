"""Training on several devices: starts ranks, sums over them, and lets them stop at the same step."""

from __future__ import annotations

import atexit
import logging
import os
from typing import Any, Literal

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuropil.config import Config, TrainingConfig
from neuropil.errors import NeuropilError
from neuropil.models.precision import computes_in_bf16, say


def start_fabric(settings: TrainingConfig, own: bool) -> Fabric:
    """Start Fabric on the devices of the config, in bf16 if the hardware supports it and the config allows it.

    Under ``torchrun`` each process is one rank. Ranks communicate by gloo on CPUs, by NCCL on GPUs.

    Args:
        settings: a recipe's section ``training``.
        own: whether the network uses neuropil's convolutions, which compute in bf16 on CPUs, too.

    Raises:
        NeuropilError: ``cuda`` without a GPU, or ``dp`` or ``fp16`` on a CPU.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise NeuropilError("training.device is cuda but no GPU is visible; use auto or cpu")
    accelerator = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if settings.strategy == "dp" and accelerator == "cpu":
        raise NeuropilError("training.strategy dp splits a batch over GPUs and none is used; set ddp, or auto")
    strategy = (
        settings.strategy if settings.strategy != "auto" else "ddp" if _launched() or settings.devices > 1 else "auto"
    )
    devices = _local_ranks() if _launched() else settings.devices
    precision = _precision(settings, accelerator, own)
    if accelerator == "cuda" and precision == "32-true":
        exact = "TF32, with 10 bits after the point" if torch.backends.cudnn.allow_tf32 else "float32 as it is"
        say(f"convolutions in fp32 use {exact} (torch.backends.cudnn.allow_tf32)")
    for name in ("lightning_fabric", "lightning_utilities"):  # they log options that the user did not set
        logging.getLogger(name).setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=_nodes(),
        strategy=strategy,
        precision=precision,
    )
    fabric.launch()
    return fabric


def end_group_at_exit() -> None:
    """Destroy the process group at exit, so that gloo's threads end before the interpreter does.

    A thread that frees a tensor after that would abort the process. Call it only when all ranks are done: a rank that
    fails in the middle of a step would wait for the others, which wait for it.
    """
    if dist.is_available() and dist.is_initialized():
        atexit.register(_end_group)


def _end_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _precision(settings: TrainingConfig, accelerator: str, own: bool) -> Literal["16-mixed", "bf16-mixed", "32-true"]:
    if settings.precision == "fp16":
        if accelerator == "cpu":
            raise NeuropilError("training.precision fp16 needs a GPU; on processors use bf16 or fp32")
        return "16-mixed"
    half = computes_in_bf16(torch.device(accelerator), settings.precision, own, learns=True)
    return "bf16-mixed" if half else "32-true"


def _launched() -> bool:
    """Whether ``torchrun`` or ``torch.distributed.launch`` started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _local_ranks() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))


def _nodes() -> int:
    return int(os.environ["WORLD_SIZE"]) // _local_ranks() if _launched() else 1


def prepare_norms(network: nn.Module, config: Config, fabric: Fabric) -> nn.Module:
    """The network with SyncBatchNorm in place of batch norms if the recipe asks for it.

    Raises:
        NeuropilError: it does, without GPUs; PyTorch has no such norm for CPUs.
    """
    if config.model.normalisation != "sync_batch":
        return network
    if fabric.device.type != "cuda":
        raise NeuropilError("model.norm sync_batch (SyncBatchNorm) needs GPUs; on processors use group or batch")
    synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return synchronised


class _Across(torch.autograd.Function):
    """The sum over all ranks; its gradient is only that of this rank's part, because DDP averages over ranks later."""

    @staticmethod
    def forward(ctx: Any, total: Tensor) -> Tensor:
        out = total.detach().clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def across(total: Tensor) -> Tensor:
    """Sum a value over all ranks; differentiable.

    >>> across(torch.tensor(2.0)).item()
    2.0
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return total
    out: Tensor = _Across.apply(total)  # type: ignore[no-untyped-call]
    return out


@torch.no_grad()
def share_norms(network: nn.Module) -> None:
    """Average the running statistics of batch norms over all ranks.

    Otherwise only those of the first rank would be saved. Variances are those within the batch of a rank.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    found = [part for norm in norms for part in (norm.running_mean, norm.running_var) if part is not None]
    if not found:
        return
    flat = torch.cat(found)
    dist.all_reduce(flat)
    means = torch.split(flat / dist.get_world_size(), [len(part) for part in found])
    for part, mean in zip(found, means, strict=True):
        part.copy_(mean)


def agree(fabric: Fabric, seconds: float, stop: bool) -> tuple[float, bool]:
    """The longest time of all ranks, and whether any of them must stop, so that all end at the same step."""
    if fabric.world_size == 1:
        return seconds, stop
    both = torch.tensor([seconds, float(stop)], dtype=torch.float64, device=fabric.device)
    dist.all_reduce(both, op=dist.ReduceOp.MAX)
    return float(both[0]), bool(both[1] > 0)
