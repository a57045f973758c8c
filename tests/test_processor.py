"""What oneDNN may use of a processor, told from made-up features: no AMX is needed for that."""

import os
import subprocess
import sys

import pytest

from neuropil import NeuropilError
from neuropil.processor import ALIASES, ISAS, Processor, amx_wanted, forbid_amx, limit, read_flags, uses_tiles

AVX2 = frozenset({"sse4_1", "avx", "avx2"})
ZEN4 = AVX2 | {"avx512f", "avx512_vnni", "avx512_bf16"}
SAPPHIRE_RAPIDS = ZEN4 | {"avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"}


def test_the_first_processor_of_cpuinfo_counts(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2 amx_tile\n\nflags\t\t: other\n")
    assert read_flags(cpuinfo) == {"fpu", "avx2", "amx_tile"}
    assert read_flags(tmp_path / "nothing") == frozenset()


@pytest.mark.parametrize(
    ("flags", "environ", "isa"),
    [
        (AVX2, {}, "AVX2"),
        (ZEN4, {}, "AVX512_CORE_BF16"),
        (SAPPHIRE_RAPIDS, {}, "AVX512_CORE_AMX"),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "AVX2"),
        (AVX2, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, "AVX2"),
        (SAPPHIRE_RAPIDS, {"ONEDNN_MAX_CPU_ISA": "avx512_core_bf16"}, "AVX512_CORE_BF16"),
        (SAPPHIRE_RAPIDS, {"ONEDNN_MAX_CPU_ISA": "AVX10_1_512"}, "AVX512_CORE_FP16"),
        (SAPPHIRE_RAPIDS, {"ONEDNN_MAX_CPU_ISA": "nonsense"}, "AVX512_CORE_AMX"),
        (SAPPHIRE_RAPIDS, {"DNNL_MAX_CPU_ISA": "AVX2"}, "AVX2"),
        (SAPPHIRE_RAPIDS, {"DNNL_MAX_CPU_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "AVX512_CORE"),
    ],
)
def test_the_instruction_set_is_the_lesser_of_processor_and_limit(flags, environ, isa):
    processor = Processor(flags, environ, lambda: False)
    assert processor.isa == isa
    assert processor.uses_amx == ("AMX" in isa)
    assert processor.fast_bf16 == (isa not in ("AVX2", "AVX512_CORE"))


def test_intel_is_fast_in_bf16_only_with_amx():
    for environ, fast in (({}, True), ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, False)):
        assert Processor(SAPPHIRE_RAPIDS, environ, lambda: False, "GenuineIntel").fast_bf16 == fast
    assert not Processor(ZEN4, {}, lambda: False, "GenuineIntel").fast_bf16
    assert Processor(ZEN4, {}, lambda: False, "AuthenticAMD").fast_bf16


def test_a_limit_that_came_too_late_limits_nothing():
    assert Processor(SAPPHIRE_RAPIDS, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, lambda: True).uses_amx


@pytest.mark.parametrize("before", [*ISAS, *ALIASES, "DEFAULT", "nonsense", ""])
def test_amx_is_forbidden_and_a_lower_limit_stays(before):
    environ = {"ONEDNN_MAX_CPU_ISA": before}
    limited = limit(environ) is not None and "AMX" not in limit(environ) and limit(environ) != "AVX10_2"
    forbid_amx(environ)
    assert environ["ONEDNN_MAX_CPU_ISA"] == (before if limited else "AVX512_CORE_BF16")
    assert not Processor(SAPPHIRE_RAPIDS, environ, lambda: False).uses_amx


def test_the_switch_is_0_or_1():
    assert amx_wanted({"NEUROPIL_AMX": "1"})
    with pytest.raises(NeuropilError, match="NEUROPIL_AMX: expected 0"):
        amx_wanted({"NEUROPIL_AMX": "off"})


@pytest.mark.skipif("amx_tile" in read_flags(), reason="this processor has AMX")
def test_no_tiles_without_amx():
    assert not uses_tiles()


@pytest.mark.parametrize(("switch", "found"), [(None, "None"), ("1", "None"), ("0", "AVX512_CORE_BF16")])
def test_importing_the_package_changes_the_environment_only_where_it_is_told_to(switch, found):
    environ = {name: value for name, value in os.environ.items() if "MAX_CPU_ISA" not in name and "AMX" not in name}
    environ |= {} if switch is None else {"NEUROPIL_AMX": switch}
    code = "import os, neuropil; print(os.environ.get('ONEDNN_MAX_CPU_ISA'))"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found
