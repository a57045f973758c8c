"""What ``neuropil info --system`` says, also of processors that are not here."""

import pytest
import torch

from commands import neuropil, printed
from neuropil.cli.system import describe_system
from neuropil.processor import Processor

ZEN4 = frozenset({"avx", "avx2", "avx512f", "avx512_bf16"})
SAPPHIRE_RAPIDS = ZEN4 | {"amx_tile", "amx_bf16"}


def told(flags, environ, fault="", tiles=False):
    lines = describe_system(Processor(flags, environ, lambda: tiles), lambda: fault)
    return "\n".join(lines)


def test_a_processor_with_amx():
    text = told(SAPPHIRE_RAPIDS, {})
    assert "in use        AVX512_CORE_AMX by convolutions" in text
    assert "switched off  AMX for networks that are not ours" in text
    assert "check" not in text
    assert "the check of convolutions with AMX failed: it hangs" in told(SAPPHIRE_RAPIDS, {}, "it hangs")


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"NEUROPIL_AMX": "0", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "AMX, since NEUROPIL_AMX is 0"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "AMX, since ONEDNN_MAX_CPU_ISA is AVX512_CORE_BF16"),
        ({"DNNL_MAX_CPU_ISA": "AVX2"}, "bf16, since DNNL_MAX_CPU_ISA is AVX2"),
    ],
)
def test_what_was_switched_off_and_why(environ, why):
    text = told(SAPPHIRE_RAPIDS, environ)
    assert f"switched off  {why}" in text
    assert f"precision auto means {'bf16' if why.startswith('AMX') else 'fp32'}" in text


def test_intel_without_amx():
    text = "\n".join(describe_system(Processor(ZEN4, {}, lambda: False, "GenuineIntel"), lambda: ""))
    assert "precision auto means fp32" in text
    assert "switched off  bf16, since AVX512-BF16 of Intel is slower than fp32" in text


def test_an_older_processor(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    text = told(frozenset({"avx", "avx2"}), {})
    assert "instructions  avx2\n" in text
    assert text.endswith("switched off  nothing")


def test_the_verb(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)  # as torch says where it starts with that
    told = printed("info", "--system")
    for word in (
        f"torch         {torch.__version__}",
        "threads",
        "GPU           none",
        "CUDA_VISIBLE_DEVICES hides them",
    ):
        assert word in told
    for arguments in ((), ("snemi3d", "--system")):
        code, _, said = neuropil("info", *arguments)
        assert code == 2
        assert "expected a PATH or NAME, or --system" in said
