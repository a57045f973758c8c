"""Which number format the hardware computes convolutions in fast."""

from __future__ import annotations

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 in hardware (a GPU since Ampere; a processor with AVX512-BF16 or AMX).

    >>> has_fast_bf16(torch.device("cpu")) in (True, False)
    True
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Asked by name: older versions of torch do not tell, and then plain float32 is the safe answer.
    abilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
