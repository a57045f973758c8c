"""Detect the instruction sets of the CPU, and limit those that oneDNN, torch's library of convolutions, may use.

The oneDNN of torch 2.13 and 2.14 computes 3-D convolutions in bf16 wrongly on CPUs with AMX (Sapphire Rapids and
later): values are wrong or NaN, memory is written out of bounds, and some calls never return. Our networks avoid these
calls (:mod:`neuropil.models.convolution`); for others AMX is switched off. ``NEUROPIL_AMX=0`` in the environment
switches it off everywhere.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from neuropil.errors import NeuropilError

SWITCH = "NEUROPIL_AMX"
"""Environment variable: ``0`` for no AMX anywhere."""

LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that oneDNN reads once, when torch first multiplies or convolves; the first one wins."""

ISAS = (
    *("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16"),
    *("AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16", "AVX10_2", "AVX10_2_AMX_2"),
)
"""oneDNN's names of instruction sets; each includes those before it."""

ALIASES = {
    "AVX10_1_512": "AVX512_CORE_FP16",
    "AVX10_1_512_AMX": "AVX512_CORE_AMX",
    "AVX10_1_512_AMX_FP16": "AVX512_CORE_AMX_FP16",
}
"""Other names that oneDNN understands."""

CPUINFO = Path("/proc/cpuinfo")

WITHOUT_AMX, FIRST_WITH_AMX = "AVX512_CORE_BF16", "AVX512_CORE_AMX"


@dataclass(frozen=True)
class Processor:
    """What the processor can do, and what oneDNN may use of it in this process.

    >>> Processor(frozenset({"avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16"}), {}, lambda: False).isa
    'AVX512_CORE_AMX'
    """

    flags: frozenset[str]
    """Features as Linux names them, ``avx512_bf16`` for example."""
    environ: MutableMapping[str, str]
    """The environment of this process."""
    uses_tiles: Callable[[], bool]
    """Whether this process may use AMX registers. oneDNN asks the kernel for that when it decides to use AMX."""
    vendor: str = ""
    """``GenuineIntel`` or ``AuthenticAMD``; empty if the system does not tell."""

    @property
    def has_amx(self) -> bool:
        """Whether the processor has AMX, used or not."""
        return "amx_tile" in self.flags

    @property
    def isa(self) -> str:
        """oneDNN's name of the newest instruction set that it may use here: that of the CPU, or a lower limit."""
        able = "SSE41"
        for flag, name in (
            ("avx", "AVX"),
            ("avx2", "AVX2"),
            ("avx512f", "AVX512_CORE"),
            ("avx512_vnni", "AVX512_CORE_VNNI"),
            ("avx512_bf16", "AVX512_CORE_BF16"),
            ("avx512_fp16", "AVX512_CORE_FP16"),
            ("amx_tile", "AVX512_CORE_AMX"),
        ):
            able = name if flag in self.flags else able
        if self.has_amx and self.uses_tiles():  # oneDNN already uses AMX: a limit set later has no effect
            return able
        return min(able, limit(self.environ) or able, key=ISAS.index)

    @property
    def uses_amx(self) -> bool:
        """Whether oneDNN uses AMX, or will when it is first asked."""
        return ISAS.index(self.isa) >= ISAS.index(FIRST_WITH_AMX)

    @property
    def fast_bf16(self) -> bool:
        """Whether oneDNN convolves faster in bfloat16 than in float32 here.

        It does with AMX, and with AVX512-BF16 on processors of AMD. On those of Intel, AVX512-BF16 takes 1.3 to 2 times
        as long as float32 (``benchmarks/convolutions.py --only speed``).
        """
        return self.uses_amx or (self.has_bf16 and self.vendor != "GenuineIntel")

    @property
    def fast_int8(self) -> bool:
        """Whether oneDNN multiplies 8-bit numbers in hardware here (AVX512-VNNI)."""
        return ISAS.index(self.isa) >= ISAS.index("AVX512_CORE_VNNI")

    @property
    def has_bf16(self) -> bool:
        """Whether oneDNN multiplies bfloat16 in hardware here (AVX512-BF16 or AMX, and no limit below)."""
        return ISAS.index(self.isa) >= ISAS.index("AVX512_CORE_BF16")


def this_processor() -> Processor:
    """The processor that this process runs on."""
    return Processor(read_flags(), os.environ, uses_tiles, _told(CPUINFO, "vendor_id"))


def read_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """The features of the first processor, from Linux's cpuinfo; empty on other systems."""
    return frozenset(_told(cpuinfo, "flags").split())


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """Model, family and number of the first processor, from Linux's cpuinfo; elsewhere from Python."""
    told = " ".join(_told(cpuinfo, name) for name in ("model name", "cpu family", "model"))
    return told.strip() or platform.processor() or platform.machine()


def _told(cpuinfo: Path, name: str) -> str:
    """The value of the first line of this name."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            found = next((line for line in lines if line.partition(":")[0].strip() == name), "")
    except OSError:
        found = ""
    return found.partition(":")[2].strip()


def uses_tiles() -> bool:
    """Whether the Linux kernel has granted this process the AMX tile registers (``arch_prctl``, bit 18)."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    granted = ctypes.c_uint64()
    arch_prctl, get_permissions = 158, 0x1022
    failed = ctypes.CDLL(None).syscall(arch_prctl, get_permissions, ctypes.byref(granted))
    return not failed and bool(granted.value >> 18 & 1)


def amx_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment variable ``NEUROPIL_AMX`` allows AMX.

    Raises:
        NeuropilError: a value other than 0 and 1.

    >>> amx_wanted({}), amx_wanted({"NEUROPIL_AMX": "0"})
    (True, False)
    """
    value = environ.get(SWITCH, "1")
    if value not in ("0", "1"):
        raise NeuropilError(f"{SWITCH}: expected 0 (no AMX) or 1 in the environment, got {value!r}")
    return value == "1"


def limit(environ: Mapping[str, str]) -> str | None:
    """The instruction set to which the environment limits oneDNN; None for no limit, or a value oneDNN ignores.

    >>> limit({"ONEDNN_MAX_CPU_ISA": "avx2"}), limit({"ONEDNN_MAX_CPU_ISA": "DEFAULT"})
    ('AVX2', None)
    """
    given = next((environ[name] for name in LIMITS if environ.get(name)), "").upper()
    given = ALIASES.get(given, given)
    return given if given in ISAS else None


def forbid_amx(environ: MutableMapping[str, str]) -> None:
    """Limit oneDNN to instruction sets before AMX; a lower limit stays. No effect after torch first computes."""
    now = limit(environ)
    if now is None or ISAS.index(now) >= ISAS.index(FIRST_WITH_AMX):
        environ[LIMITS[0]] = WITHOUT_AMX
