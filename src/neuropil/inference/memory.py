"""Memory on CPU and GPU: how much is free, how much a network needs, and buffers that are allocated once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from neuropil.memory import free_ram


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on a device: of a processor the least of what is free, what its control
    group leaves and what its address-space limit leaves.

    >>> free_memory(torch.device("cpu")) > 0
    True
    """
    if device.type == "cuda":  # what torch has freed and keeps is as good as free
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return free_ram()


def bytes_per_voxel(network: Callable[[Tensor], Tensor], device: torch.device) -> int:
    """A generous estimate of the memory that a network takes for each voxel of its input.

    Eight times its largest activation in float32: input, output, shortcut and skips of a level are alive together,
    and convolutions want room to work in.

    >>> bytes_per_voxel(nn.Conv3d(1, 16, 3, padding=1), torch.device("cpu"))
    512
    """
    if not isinstance(network, nn.Module):
        return 64
    size, largest = (8, 64, 64), 0

    def look(_: nn.Module, __: object, out: object) -> None:
        nonlocal largest
        if isinstance(out, Tensor):
            largest = max(largest, out.numel())

    hooks = [part.register_forward_hook(look) for part in network.modules()]
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 1, *size, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return 32 * max(largest // (size[0] * size[1] * size[2]), 1)


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # names of malloc.h


@contextmanager
def reusing_memory() -> Iterator[None]:
    """What is freed in this block is kept for what is allocated next, and handed back at its end.

    Otherwise glibc takes every large block from the system and gives it back, and each is paid for page by page when
    it is first written: on a processor that takes half of the time. Without glibc nothing is changed.

    >>> with reusing_memory():
    ...     torch.zeros(3).sum().item()
    0.0
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        # Once set, these no longer adapt: where they would have ended up.
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_MMAP_THRESHOLD, 2**25)
        libc.mallopt(_TRIM_THRESHOLD, 2**26)
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None
    except (OSError, TypeError):  # a system without such a thing
        return None
