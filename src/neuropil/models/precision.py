"""Which number format convolutions are computed in: bfloat16 where that is fast and right."""

from __future__ import annotations

import os

import torch

from neuropil.errors import NeuropilError
from neuropil.models.selfcheck import amx_fault
from neuropil.processor import SWITCH, Processor, amx_wanted, forbid_amx, read_flags, this_processor


def has_fast_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 in hardware, and torch uses that.

    A GPU since Ampere; a processor with AVX512-BF16 or AMX, unless ``ONEDNN_MAX_CPU_ISA`` forbids it.

    >>> has_fast_bf16(torch.device("cpu")) in (True, False)
    True
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _fast(processor_here())


def processor_here() -> Processor:
    """The processor of this process; where the system does not list its features, torch is asked for them."""
    here = this_processor()
    if read_flags():
        return here
    # Asked by name: older versions of torch do not tell, and then plain float32 is the safe answer.
    abilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    names = {"avx512_f": "avx512f"}
    return Processor(
        frozenset(names.get(name, name) for name, there in abilities.items() if there is True),
        here.environ,
        here.uses_tiles,
    )


def computes_in_bf16(
    device: torch.device, precision: str, own: bool, learns: bool, processor: Processor | None = None
) -> bool:
    """Whether to compute in bfloat16, where it is asked for (``bf16``) or fast (``auto``; ``fp16`` on a processor).

    On processors only where it is right, too: elsewhere the answer is no, and a line says why. On those with AMX this
    also decides whether this process uses it: our networks do, others do not, and once for all.

    Args:
        device: where it is computed.
        precision: as ``training.precision`` has it.
        own: whether all convolutions of the network are ours (:mod:`neuropil.models.convolution`).
        learns: whether gradients are computed.
        processor: the one to ask; None: this one.

    Raises:
        NeuropilError: another precision, or a wrong ``NEUROPIL_AMX``.
    """
    if precision not in ("auto", "bf16", "fp16", "fp32"):
        raise NeuropilError(f"expected a precision of auto, bf16, fp16 or fp32, got {precision!r}")
    here = processor or processor_here()
    amx_wanted(here.environ)  # a wrong value is refused
    if device.type != "cpu":
        return precision == "bf16" or (precision in ("auto", "fp16") and has_fast_bf16(device))
    if precision != "bf16" and not (precision in ("auto", "fp16") and _fast(here)):
        return False
    why = forbidden(here, own, learns)
    if why:
        say(f"computing in fp32: {why}", everywhere=own or not learns)  # ranks may differ in these reasons
    return not why


def forbidden(processor: Processor, own: bool, learns: bool) -> str:
    """Why bf16 must not be used on a processor, empty where it may; AMX is switched off where it must not be used."""
    if processor.uses_amx and own and amx_wanted(processor.environ):
        fault = amx_fault()
        advice = f"{SWITCH}=0 computes in bf16 without AMX"
        return f"the check of convolutions with AMX failed, {fault}; {advice}" if fault else ""
    if processor.uses_amx:
        forbid_amx(processor.environ)
        # oneDNN decides now, and once for all: what others set later changes nothing.
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


def _fast(processor: Processor) -> bool:
    return bool(torch.backends.mkldnn.is_available()) and processor.fast_bf16  # type: ignore[no-untyped-call]


def say(line: str, everywhere: bool = False) -> None:
    """Print a line, on the first rank only or on every one, with its number."""
    rank = os.environ.get("RANK", "0")
    if everywhere or rank == "0":
        print(f"note: {line}" if rank == "0" else f"note of rank {rank}: {line}", flush=True)
