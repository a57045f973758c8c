"""Memory on CPU and GPU: free memory, memory that a network needs, and reuse of freed memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from neuropil.memory import free_ram


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still allocate on a device; in CPU memory the least of free memory, control group
    limit and address-space limit.

    >>> free_memory(torch.device("cpu")) > 0
    True
    """
    if device.type == "cuda":  # memory in torch's cache can be reused
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return free_ram()


def bytes_per_voxel(network: Callable[[Tensor], Tensor], device: torch.device) -> int:
    """A generous estimate of the memory in bytes that a network needs for each voxel of its input.

    Eight times its largest activation in float32: input, output, shortcut and skips of a level exist at the same time,
    and convolutions need workspace.

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
    """A context in which freed memory is kept for the next allocations; it is returned to the system at the end.

    Otherwise glibc returns every large block to the system at once, and the page faults of the next one take half of
    the time of a prediction on a CPU. Without glibc nothing is changed.

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
        # Once set, glibc no longer adapts these thresholds; these values are what it would have reached.
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_MMAP_THRESHOLD, 2**25)
        libc.mallopt(_TRIM_THRESHOLD, 2**26)
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None
    except (OSError, TypeError):  # a system without glibc
        return None
