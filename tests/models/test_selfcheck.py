"""The check that runs in another process: what it finds, what it survives, what it remembers."""

import json
import os
import random
import subprocess
import sys

import pytest
import torch

from neuropil.models import selfcheck
from neuropil.models.convolution import Convolution
from neuropil.models.selfcheck import CASES, amx_fault, faults
from neuropil.processor import Processor, this_processor


def test_our_convolution_passes_here(tmp_path):
    memory = tmp_path / "folder" / "selfcheck.json"
    assert amx_fault(memory=memory) == ""
    (key,) = json.loads(memory.read_text())
    assert torch.__version__ in key
    assert key.endswith(f"; {this_processor().isa}; {torch.get_num_threads()} threads")


@pytest.fixture
def python(tmp_path, monkeypatch):
    """A Python that writes down its limits of instructions and fails; the file that it writes to."""
    program, told = tmp_path / "python", tmp_path / "told"
    program.write_text(f"""#!/bin/sh\necho "limit ${{ONEDNN_MAX_CPU_ISA}} $1" >> {told}\nexit 1\n""")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(selfcheck, "_FAULTS", {})
    return told


def test_what_fails_is_asked_once_in_a_process_and_with_the_instructions_that_it_uses(tmp_path, monkeypatch, python):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # too late: this process uses AMX
    flags = frozenset({"avx", "avx2", "avx512f", "avx512_bf16", "amx_tile"})
    monkeypatch.setattr(selfcheck, "this_processor", lambda: Processor(flags, os.environ, lambda: True))
    for _ in range(3):
        assert amx_fault(memory=tmp_path / "memory.json") == "it ended with exit code 1"
    assert python.read_text() == "limit  -P\n"


def test_a_python_that_does_not_start_is_told(tmp_path, monkeypatch, python):
    for executable in ("", str(tmp_path)):
        monkeypatch.setattr(sys, "executable", executable)
        monkeypatch.setattr(selfcheck, "_FAULTS", {})
        assert "it did not start" in amx_fault(memory=tmp_path / "memory.json")


def test_words_in_another_encoding_are_told(tmp_path):
    code = r"import os; os.write(2, b'wrong by \xd7 2'); os._exit(1)"
    assert "exit code 1: wrong by" in amx_fault([sys.executable, "-c", code], tmp_path / "memory.json")


def test_without_a_home_nothing_is_remembered(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(selfcheck.Path, "home", no_home)
    assert amx_fault([sys.executable, "-c", ""]) == ""


def test_what_passed_is_remembered_and_what_failed_is_not(tmp_path):
    memory, runs = tmp_path / "selfcheck.json", tmp_path / "runs"
    code = f"import sys; open({str(runs)!r}, 'a').write('x'); sys.exit(len(open({str(runs)!r}).read()) == 1)"
    for _ in range(4):
        amx_fault([sys.executable, "-c", code], memory)
    assert runs.read_text() == "xx", "failed, passed, remembered, remembered"
    for count, damaged in enumerate(("no JSON", "[" * 100_000), 3):
        memory.write_text(damaged)
        amx_fault([sys.executable, "-c", code], memory)
        assert runs.read_text() == "x" * count


def test_wrong_values_crashes_and_hangs_are_told(tmp_path):
    memory = tmp_path / "selfcheck.json"
    run = [sys.executable, "-c"]
    assert "exit code 1: the gradient is wrong" in amx_fault(
        [*run, "import sys; sys.exit('the gradient is wrong')"], memory
    )
    assert "exit code -6" in amx_fault([*run, "import os; os.abort()"], memory)
    assert "did not end in 0.5 s" in amx_fault([*run, "import time; time.sleep(60)"], memory, seconds=0.5)
    assert not memory.exists()


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    assert amx_fault([sys.executable, "-c", ""], tmp_path / "file" / "selfcheck.json") == ""


def test_wrong_values_are_found(monkeypatch):
    case = [(1, 4, 3, 8, (3, 3, 3))]
    assert list(faults(case)) == []
    right = selfcheck._results

    def wrong(own, image, dtype):
        found = right(own, image, dtype)
        if dtype == torch.bfloat16:
            found[2][0, 0, 0, 0, 0] = float("nan")
        return found

    monkeypatch.setattr(selfcheck, "_results", wrong)
    (said,) = faults(case)
    assert said == "gradient of the weight of kernel (3, 3, 3) on 1×4×3×8×8: relative error nan"


def test_plain_autograd_would_be_found_out_on_processors_that_compute_it_wrongly(monkeypatch):
    """Weight gradients of two sections are wrong in torch 2.13 with AVX512-BF16, too."""
    deep = [case for case in CASES if case[4] == (3, 3, 3) and case[2] == 2]
    assert deep
    assert list(faults(deep)) == []
    monkeypatch.setattr(Convolution, "forward", torch.nn.Conv3d.forward)
    said = list(faults(deep))
    assert all("gradient of the weight" in line for line in said)


@pytest.mark.skipif(not this_processor().uses_amx, reason="this processor has no AMX, or it is switched off")
@pytest.mark.parametrize("threads", [1, 2])
def test_fifty_shapes_with_amx(threads):
    rng = random.Random(threads)
    kernels = [(1, 1, 1), (1, 3, 3), (3, 3, 3), (1, 5, 5)]
    cases = [
        (
            rng.choice([1, 2]),
            rng.choice([12, 20, 32]),
            rng.choice([1, 2, 4, 8]),
            rng.choice([20, 64, 80]),
            kernels[n % 4],
        )
        for n in range(25)
    ]
    code = f"import torch; torch.set_num_threads({threads}); from neuropil.models.selfcheck import faults; "
    code += f"print(list(faults({cases})))"
    dirty = os.environ | {"MALLOC_PERTURB_": "128"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=dirty, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "[]"
