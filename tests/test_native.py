"""The types of the kernels that mypy reads are those of the kernels that were compiled."""

import importlib.util
from pathlib import Path

import pytest

from neuropil import _native

SCRIPT = Path(__file__).parent.parent / "src" / "native" / "stubs.py"


@pytest.fixture(scope="module")
def stubs():
    spec = importlib.util.spec_from_file_location("stubs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stub_in_the_repository_is_the_one_of_the_compiled_kernels(stubs):
    assert stubs.STUB.read_text(encoding="utf-8") == stubs.text(), "run python src/native/stubs.py"


def test_every_kernel_has_types(stubs):
    text = stubs.STUB.read_text(encoding="utf-8")
    kernels = [name for name in dir(_native) if not name.startswith("_")]
    assert all(f"def {name}(" in text or f"{name}: int" in text for name in kernels)
    assert "arg0" not in text
    assert "Annotated" not in text
