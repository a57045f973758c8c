"""The house of the package: one room per step, in the order data flows, and each looks only upstairs."""

import ast
import importlib
from pathlib import Path
from types import FunctionType

import pytest

import neuropil

SOURCE = Path(neuropil.__file__).parent
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))

# From the first room to the last. A room imports only from rooms before it.
ROOMS = [
    *("errors", "geometry", "config", "_native", "synthetic", "fetch", "volumes", "targets", "augment", "recipes"),
    *("dataset", "models", "losses", "inference", "segmentation", "evaluation", "training", "blockwise", "viewing"),
    *("compat", "describe", "pipeline", "demo", "cli"),
]


def room(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imports(module: Path) -> set[str]:
    """Rooms that a module imports, in functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((SOURCE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import; write it out"
            inside = node.module == "neuropil"
            found |= {f"neuropil.{alias.name}" for alias in node.names} if inside else {node.module}
    names = {name.split(".")[1] for name in found - {"neuropil.__version__"} if name.startswith("neuropil.")}
    return {neuropil._HOME.get(name, name).split(".")[0] for name in names}


def definitions(module: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes at the top level of a module."""
    body = ast.parse((SOURCE / module).read_text(encoding="utf-8")).body
    return [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]


def test_every_room_has_its_place():
    assert {room(module) for module in MODULES} - {*ROOMS, "__init__", "__main__"} == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_rooms_import_only_from_rooms_above(module):
    here = room(module)
    if here in ("__init__", "__main__"):
        return
    below = {name for name in imports(module) if name != here and ROOMS.index(name) >= ROOMS.index(here)}
    assert not below, f"{module} is in {here!r} and must not import from {sorted(below)}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_files_can_be_read_in_one_sitting(module):
    lines = (SOURCE / module).read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{module} has {lines} lines: split it by what its parts do"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_public_things_say_what_they_are(module):
    text = (SOURCE / module).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{module} does not say what it is for"
    silent = [node.name for node in definitions(module) if not ast.get_docstring(node)]
    assert not silent, f"{module}: no docstring on {', '.join(silent)}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_option_is_swallowed(module):
    """``**kwargs`` would take a mistyped option in silence."""
    for node in ast.walk(ast.parse((SOURCE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert node.args.kwarg is None, f"{module}:{node.lineno}: {node.name}(**{node.args.kwarg.arg})"


@pytest.mark.parametrize("name", neuropil.__all__)
def test_public_names_resolve_and_public_functions_show_an_example(name):
    thing = getattr(neuropil, name)
    assert thing is getattr(importlib.import_module(f"neuropil.{neuropil._HOME[name]}"), name)
    if isinstance(thing, FunctionType):
        assert ">>>" in (thing.__doc__ or ""), f"neuropil.{name} has no example"


def test_public_names_are_few_and_known_to_the_type_checker():
    assert sorted(neuropil.__all__) == sorted(neuropil._HOME)
    assert len(neuropil.__all__) <= 35
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname for block in guarded for node in block.body for alias in node.names}
    assert seen == set(neuropil.__all__)
