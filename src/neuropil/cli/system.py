"""The output of ``info --system``: torch, threads, instruction sets, GPUs, and what was switched off."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuropil.processor import Processor

TOLD = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_fp16")
"""Features of a CPU that matter for the speed of networks."""


def describe_system(processor: Processor | None = None, check: Callable[[], str] | None = None) -> list[str]:
    """Lines that describe the hardware and software that neuropil computes with.

    Args:
        processor: the CPU to describe; None: this one.
        check: function that tests convolutions with AMX; None: :func:`neuropil.models.selfcheck.amx_fault`.

    >>> describe_system()[0].startswith("neuropil      ")
    True
    """
    import torch

    from neuropil import __version__
    from neuropil.models.precision import processor_here
    from neuropil.models.selfcheck import amx_fault
    from neuropil.processor import processor_name
    from neuropil.segmentation.codes import thread_count

    here = processor or processor_here()
    off = switched_off(here, check or amx_fault)
    lines = {
        "neuropil": f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads; segmentation {thread_count(None)} threads",
        "processor": f"{processor_name()}, {os.cpu_count()} cores",
        "instructions": ", ".join(flag for flag in TOLD if flag in here.flags) or "not told by the system",
        "in use": f"{here.isa} by convolutions, {torch.backends.cpu.get_cpu_capability()} elsewhere",
        "bf16": "fast: precision auto means bf16" if here.fast_bf16 else "not fast here: precision auto means fp32",
    }
    told = [f"{name:<12}  {value}" for name, value in lines.items()]
    told += [f"{'GPU':<12}  {gpu}" for gpu in gpus() or ["none"]]
    return told + [f"{'switched off':<12}  {what}" for what in off or ["nothing"]]


def switched_off(processor: Processor, check: Callable[[], str]) -> list[str]:
    """Features of the CPU, or GPUs, that are not used, and why."""
    from neuropil.processor import LIMITS, SWITCH, amx_wanted, limit

    environ = processor.environ
    name = next((n for n in LIMITS if environ.get(n)), LIMITS[0])
    off = []
    if not amx_wanted(environ) and processor.has_amx:
        off.append(f"AMX, since {SWITCH} is 0")
    elif processor.has_amx and not processor.uses_amx:
        off.append(f"AMX, since {name} is {environ.get(name)}")
    elif processor.uses_amx:
        off.append("AMX for networks that are not ours: torch convolves wrongly with it")
        if fault := check():
            off.append(f"bf16, since the check of convolutions with AMX failed: {fault}")
    if "avx512_bf16" in processor.flags and not processor.fast_bf16:
        slow = "AVX512-BF16 of Intel is slower than fp32"
        off.append(f"bf16, since {slow if processor.has_bf16 else f'{name} is {limit(environ)}'}")
    if processor.fast_bf16:
        off.append("bf16 for training networks that are not ours on this processor: torch's weight gradients are wrong")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        off.append("GPUs, since CUDA_VISIBLE_DEVICES hides them")
    return off


def gpus() -> list[str]:
    """Name, memory and number formats of each visible GPU."""
    import torch

    found = []
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        formats = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        tf32 = "TF32" if torch.backends.cudnn.allow_tf32 and about.major >= 8 else "fp32"
        found.append(
            f"{number}: {about.name}, {about.total_memory / 2**30:.0f} GiB, compute capability "
            f"{about.major}.{about.minor}, fast {formats}; convolutions in fp32 use {tf32}"
        )
    return found
