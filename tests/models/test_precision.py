"""The number format on made-up processors, and on this one."""

import pytest
import torch

from forks import start
from neuropil import NeuropilError
from neuropil.models import precision
from neuropil.models.precision import computes_in_bf16, numbers_for
from neuropil.processor import Processor

CPU = torch.device("cpu")
ZEN4 = frozenset({"avx", "avx2", "avx512f", "avx512_bf16"})
SAPPHIRE_RAPIDS = ZEN4 | {"amx_tile", "amx_bf16"}
LIMITED = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}


@pytest.fixture
def check(monkeypatch):
    """What the check of our convolutions finds; and how often it was asked."""
    asked = []
    found = {"fault": ""}

    def fault():
        asked.append(1)
        return found["fault"]

    monkeypatch.setattr(precision, "amx_fault", fault)
    return found, asked


@pytest.mark.parametrize("flags", [frozenset({"avx", "avx2"}), ZEN4, SAPPHIRE_RAPIDS])
@pytest.mark.parametrize("wanted", ["auto", "bf16", "fp16", "fp32"])
@pytest.mark.parametrize(("own", "learns"), [(True, True), (True, False), (False, False)])
def test_bf16_where_it_is_asked_for_or_fast(check, flags, wanted, own, learns):
    expected = wanted == "bf16" or (wanted != "fp32" and "avx512_bf16" in flags)
    assert computes_in_bf16(CPU, wanted, own, learns, Processor(flags, {}, lambda: False)) == expected


def test_on_intel_without_amx_only_other_networks_compute_in_bf16_unless_asked(check):
    for environ in ({}, LIMITED):
        for own, wanted in ((True, "auto"), (True, "bf16"), (False, "auto"), (False, "bf16")):
            processor = Processor(SAPPHIRE_RAPIDS, dict(environ), lambda: False, "GenuineIntel")
            expected = not own or wanted == "bf16" or not environ
            assert computes_in_bf16(CPU, wanted, own, False, processor) == expected


@pytest.mark.parametrize("switch", [None, "1", "0"])
@pytest.mark.parametrize(("own", "learns"), [(True, True), (True, False), (False, False)])
def test_amx_is_for_our_networks_only(check, capsys, switch, own, learns):
    environ = {} if switch is None else {"NEUROPIL_AMX": switch}
    before = dict(environ)
    processor = Processor(SAPPHIRE_RAPIDS, environ, lambda: False)
    assert not computes_in_bf16(CPU, "fp32", own, learns, processor)
    assert environ == before, "fp32 does not use AMX"
    assert computes_in_bf16(CPU, "auto", own, learns, processor)
    assert environ == (before if own and switch != "0" else before | LIMITED)
    assert len(check[1]) == (own and switch != "0")
    assert capsys.readouterr().out.startswith("note: AMX is off in this process") == (not own)
    assert computes_in_bf16(CPU, "auto", own, learns, processor)
    assert capsys.readouterr().out == "", "once in a process"


@pytest.mark.parametrize("wanted", ["auto", "bf16"])
def test_where_it_is_too_late_to_switch_amx_off_it_is_fp32_and_said(wanted, capsys):
    assert not computes_in_bf16(CPU, wanted, False, False, Processor(SAPPHIRE_RAPIDS, {}, lambda: True))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.startswith("note: computing in fp32: torch has computed in this process before")
    assert "NEUROPIL_AMX=0" in said


def test_where_the_check_fails_it_is_fp32_and_said(check, capsys):
    check[0]["fault"] = "it ended with exit code -6"
    assert not computes_in_bf16(CPU, "auto", True, True, Processor(SAPPHIRE_RAPIDS, {}, lambda: False))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "computing in fp32: the check of convolutions with AMX failed, it ended with exit code -6" in said


@pytest.mark.parametrize("flags", [ZEN4, SAPPHIRE_RAPIDS])
def test_other_networks_learn_in_fp32(flags, capsys):
    """AMX is off, so that what the same process predicts afterwards is not too late."""
    environ = {}
    processor = Processor(flags, environ, lambda: False)
    assert not computes_in_bf16(CPU, "auto", False, True, processor)
    assert "wrongly in bf16" in capsys.readouterr().out
    assert environ == (LIMITED if processor.has_amx else {})
    assert computes_in_bf16(CPU, "auto", False, False, processor)
    assert capsys.readouterr().out == ""


def test_the_first_rank_says_what_holds_for_all_and_each_what_may_not(monkeypatch, capsys, check):
    monkeypatch.setenv("RANK", "1")
    assert not computes_in_bf16(CPU, "auto", False, True, Processor(ZEN4, {}, lambda: False))
    assert capsys.readouterr().out == ""
    check[0]["fault"] = "it ended with exit code -6"
    assert not computes_in_bf16(CPU, "auto", True, True, Processor(SAPPHIRE_RAPIDS, {}, lambda: False))
    assert capsys.readouterr().out.startswith("note of rank 1: computing in fp32: the check")


def test_wrong_words_are_refused():
    with pytest.raises(NeuropilError, match="expected a precision of auto, bf16, fp16 or fp32, got 'half'"):
        computes_in_bf16(CPU, "half", True, True)
    with pytest.raises(NeuropilError, match="NEUROPIL_AMX: expected 0"):
        computes_in_bf16(CPU, "fp32", True, True, Processor(ZEN4, {"NEUROPIL_AMX": "no"}, lambda: False))


def test_a_limit_of_onednn_below_bf16_means_fp32():
    code = "import torch; from neuropil.models.precision import *; print(has_fast_bf16(torch.device('cpu')))"
    assert start("-c", code, environ={"ONEDNN_MAX_CPU_ISA": "AVX2"}).wait().stdout == "False\n"


def test_int8_is_for_our_networks_on_processors_that_can():
    vnni = frozenset({"avx", "avx2", "avx512f", "avx512_vnni"})
    assert numbers_for(CPU, "int8", "auto", True, Processor(vnni, {}, lambda: False)) == "int8"
    for device, own, flags, why in (
        (torch.device("cuda"), True, vnni, "it is for processors"),
        (CPU, False, vnni, "networks of neuropil"),
        (CPU, True, frozenset({"avx", "avx2"}), "oneDNN has AVX2 here, and AVX512_CORE_VNNI is needed"),
        (CPU, True, vnni | SAPPHIRE_RAPIDS, "NEUROPIL_AMX=0 switches AMX off"),
    ):
        with pytest.raises(NeuropilError, match=f"^predict.precision int8: .*{why}.*take bf16 or fp32"):
            numbers_for(device, "int8", "auto", own, Processor(flags, {}, lambda: False))


@pytest.mark.parametrize(
    ("wanted", "trained", "expected"),
    [("auto", "auto", "bf16"), ("auto", "fp32", "fp32"), ("fp32", "auto", "fp32"), ("bf16", "fp32", "bf16")],
)
def test_what_is_asked_for_in_prediction_counts_before_what_was_trained(wanted, trained, expected):
    assert numbers_for(CPU, wanted, trained, True, Processor(ZEN4, {}, lambda: False)) == expected
