"""The number format on made-up processors, and on this one."""

import os
import subprocess
import sys

import pytest
import torch

from neuropil import NeuropilError
from neuropil.models.precision import computes_in_bf16
from neuropil.processor import Processor

CPU = torch.device("cpu")
ZEN4 = frozenset({"avx", "avx2", "avx512f", "avx512_bf16"})
SAPPHIRE_RAPIDS = ZEN4 | {"amx_tile", "amx_bf16"}


@pytest.mark.parametrize("flags", [frozenset({"avx", "avx2"}), ZEN4, SAPPHIRE_RAPIDS])
@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16", "fp32"])
def test_bf16_where_it_is_asked_for_or_fast(flags, precision):
    processor = Processor(flags, {}, lambda: False)
    expected = precision == "bf16" or (precision != "fp32" and "avx512_bf16" in flags)
    assert computes_in_bf16(CPU, precision, processor) == expected


def test_amx_is_switched_off_before_bf16_is_used(capsys):
    environ = {}
    processor = Processor(SAPPHIRE_RAPIDS, environ, lambda: False)
    assert computes_in_bf16(CPU, "fp32", processor) is False
    assert environ == {}, "fp32 does not use AMX"
    assert computes_in_bf16(CPU, "auto", processor)
    assert environ == {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_where_that_is_too_late_it_is_fp32_and_said(precision, capsys):
    processor = Processor(SAPPHIRE_RAPIDS, {}, lambda: True)
    assert computes_in_bf16(CPU, precision, processor) is False
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.startswith("note: computing in fp32: torch has computed in this process before")
    assert "NEUROPIL_AMX=0" in said


def test_wrong_words_are_refused():
    with pytest.raises(NeuropilError, match="expected a precision of auto, bf16, fp16 or fp32, got 'half'"):
        computes_in_bf16(CPU, "half")
    with pytest.raises(NeuropilError, match="NEUROPIL_AMX: expected 0"):
        computes_in_bf16(CPU, "fp32", Processor(ZEN4, {"NEUROPIL_AMX": "no"}, lambda: False))


def test_a_limit_of_onednn_below_bf16_means_fp32():
    code = "import torch; from neuropil.models.precision import *; print(has_fast_bf16(torch.device('cpu')))"
    environ = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
