"""Choose the precision of convolutions: bfloat16 where it is fast and correct, else float32."""

from __future__ import annotations

import os
from typing import Literal

import torch

from neuropil.choices import Precision
from neuropil.errors import NeuropilError
from neuropil.models.selfcheck import amx_fault
from neuropil.processor import SWITCH, Processor, amx_wanted, forbid_amx, read_flags, this_processor

NumberFormat = Literal["int8", "bf16", "fp32"]
"""The numbers in which convolutions compute."""


def has_fast_bf16(device: torch.device) -> bool:
    """Whether this device computes faster in bfloat16 than in float32.

    GPUs since Ampere do; CPUs with AMX, or with AVX512-BF16 and not of Intel, unless ``ONEDNN_MAX_CPU_ISA`` forbids it.

    >>> has_fast_bf16(torch.device("cpu")) in (True, False)
    True
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _fast(processor_here(), own=True)


def processor_here() -> Processor:
    """The CPU of this process; if the system does not list its features, they are taken from torch."""
    here = this_processor()
    if read_flags():
        return here
    # Older versions of torch do not have this function; without features the result is float32, which is safe.
    abilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    names = {"avx512_f": "avx512f"}
    return Processor(
        frozenset(names.get(name, name) for name, there in abilities.items() if there is True),
        here.environ,
        here.uses_tiles,
        here.vendor,
    )


def computes_in_bf16(
    device: torch.device, precision: str, own: bool, learns: bool, processor: Processor | None = None
) -> bool:
    """Whether to compute in bfloat16: if asked for (``bf16``) or fast (``auto``; ``fp16`` on a CPU), and correct.

    If it is not correct on this CPU, a printed line says why. On CPUs with AMX this also decides, for the whole
    process, whether AMX is used: neuropil's networks use it, others do not.

    Args:
        device: the device that computes.
        precision: value of ``training.precision``.
        own: whether all convolutions of the network are neuropil's (:mod:`neuropil.models.convolution`).
        learns: whether gradients are computed.
        processor: the CPU to decide for; None: this one.

    Raises:
        NeuropilError: another precision, or a wrong ``NEUROPIL_AMX``.
    """
    if precision not in ("auto", "bf16", "fp16", "fp32"):
        raise NeuropilError(f"expected a precision of auto, bf16, fp16 or fp32, got {precision!r}")
    here = processor or processor_here()
    amx_wanted(here.environ)  # a wrong value is refused
    if device.type != "cpu":
        return precision == "bf16" or (precision in ("auto", "fp16") and has_fast_bf16(device))
    if precision != "bf16" and not (precision in ("auto", "fp16") and _fast(here, own)):
        return False
    why = forbidden(here, own, learns)
    if why:
        say(f"computing in fp32: {why}", everywhere=own or not learns)  # these reasons may differ between ranks
    return not why


def numbers_for(
    device: torch.device, wanted: Precision, trained: str, own: bool, processor: Processor | None = None
) -> NumberFormat:
    """The numbers in which a network predicts.

    Args:
        device: the device that computes.
        wanted: value of ``predict.precision``.
        trained: value of ``training.precision``, which ``auto`` stands for.
        own: whether all convolutions of the network are neuropil's.
        processor: the CPU to decide for; None: this one.

    Raises:
        NeuropilError: int8 for a network that is not ours, or where there is no AVX512-VNNI or there is AMX.

    >>> numbers_for(torch.device("cpu"), "fp32", "auto", own=True)
    'fp32'
    """
    if wanted != "int8":
        precision = trained if wanted == "auto" else wanted
        return "bf16" if computes_in_bf16(device, precision, own, learns=False, processor=processor) else "fp32"
    why = no_int8(device, own, processor)
    if why:
        raise NeuropilError(f"predict.precision int8: {why}; take bf16 or fp32")
    return "int8"


def no_int8(device: torch.device, own: bool, processor: Processor | None = None) -> str:
    """Why a network cannot predict in 8 bits, or an empty string; arguments as for :func:`numbers_for`."""
    here = processor or processor_here()
    if device.type != "cpu":
        return "it is for processors"
    if not own:
        return "it is for networks of neuropil"
    if not here.fast_int8:
        return f"oneDNN has {here.isa} here, and AVX512_CORE_VNNI is needed"
    return f"it is not tested with AMX, where bf16 is fast; {SWITCH}=0 switches AMX off" if here.uses_amx else ""


def forbidden(processor: Processor, own: bool, learns: bool) -> str:
    """Why bf16 must not be used on a CPU, or an empty string; also switches AMX off if it must not be used."""
    if processor.uses_amx and own and amx_wanted(processor.environ):
        fault = amx_fault()
        advice = f"{SWITCH}=0 leaves AMX and its check out"
        return f"the check of convolutions with AMX failed, {fault}; {advice}" if fault else ""
    if processor.uses_amx:
        forbid_amx(processor.environ)
        # This makes oneDNN choose its instructions now, for the whole process; later settings have no effect.
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
        if not own and not processor.uses_tiles():
            say("AMX is off in this process: torch computes networks that are not ours wrongly with it")
    if learns and not own:
        return "torch computes weight gradients of three-dimensional convolutions wrongly in bf16 on processors"
    too_late = (
        "torch has computed in this process before neuropil could switch AMX off, and its bf16 convolutions are wrong "
        f"with AMX; set {SWITCH}=0 and import neuropil first to compute in bf16"
    )
    return too_late if processor.uses_amx and processor.uses_tiles() else ""


def _fast(processor: Processor, own: bool) -> bool:
    """Whether bfloat16 is faster than float32; for other networks also on Intel, where torch leaves oneDNN out of
    many of their convolutions in float32, and takes up to 27 times the memory for them."""
    fast = processor.fast_bf16 if own else processor.has_bf16
    return bool(torch.backends.mkldnn.is_available()) and fast  # type: ignore[no-untyped-call]


def say(line: str, everywhere: bool = False) -> None:
    """Print a note, on the first rank only or, with the rank's number, on every rank."""
    rank = os.environ.get("RANK", "0")
    if everywhere or rank == "0":
        print(f"note: {line}" if rank == "0" else f"note of rank {rank}: {line}", flush=True)
