"""Write ``src/neuropil/_native.pyi``, the types of the kernels, from what was compiled.

python src/native/stubs.py            after a change of the bindings
python src/native/stubs.py --check    exit code 1 where the file is not what this would write
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from nanobind.stubgen import StubGen

STUB = Path(__file__).resolve().parent.parent / "neuropil" / "_native.pyi"
FIRST = "# Written by src/native/stubs.py from the bindings in src/native; shapes are in the bindings.\n"


def text() -> str:
    """The stub: types of all arguments and results."""
    from neuropil import _native

    stub = StubGen(_native, include_docstrings=False)
    stub.put(_native)
    return formatted(FIRST + short(plain(stub.get())))


def plain(stub: str) -> str:
    """Arrays by their type alone: NumPy's types know no shapes, and ``Annotated`` hides the rest.

    >>> plain("a: Annotated[NDArray[numpy.uint8], dict(shape=(None, 3), order='C')]")
    'a: NDArray[numpy.uint8]'
    """
    stub = re.sub(r"Annotated\[(NDArray(?:\[[\w.]+\])?), dict\((?:[^()]|\([^()]*\))*\)\]", r"\1", stub)
    return stub.replace("NDArray,", "NDArray[Any],").replace("import Annotated, ", "import ")


def short(stub: str) -> str:
    """With short names for types of arrays, so that a signature is seen at a glance."""
    types = sorted(set(re.findall(r"NDArray\[[\w.]+\]", stub)))
    names = {one: f"_{re.sub('^numpy.|_$', '', one[8:-1]).title()}" for one in types}
    for one, name in names.items():
        stub = stub.replace(one, name)
    aliases = "".join(f"{name} = {one}\n" for one, name in names.items())
    return stub.replace("from numpy.typing import NDArray\n", f"from numpy.typing import NDArray\n\n{aliases}", 1)


def formatted(stub: str) -> str:
    """As ruff formats it."""
    command = [sys.executable, "-m", "ruff", "--config", str(STUB.parents[2] / "pyproject.toml")]
    for step in (["check", "--quiet", "--fix", "--select", "I,F401"], ["format", "--quiet"]):
        given = [*command, *step, "--stdin-filename", str(STUB), "-"]
        stub = subprocess.run(given, input=stub, capture_output=True, text=True, check=True).stdout
    return stub


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    new = text()
    if not parser.parse_args().check:
        STUB.write_text(new, encoding="utf-8")
    elif STUB.read_text(encoding="utf-8") != new:
        sys.exit(f"{STUB} is not up to date: python src/native/stubs.py")


if __name__ == "__main__":
    main()
