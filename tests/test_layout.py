"""The layout of the package: one folder per step, in the order in which data flows; imports point upwards only."""

import ast
import importlib
from functools import cache
from pathlib import Path
from types import FunctionType

import neuropil

SOURCE = Path(neuropil.__file__).parent
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))

# From the first folder to the last. A module imports only from folders before its own. The verbs that also take files
# of PyTorch Connectomics reach compat, the last, through one module.
DOOR = "cli/classic.py"
ORDER = [
    *(
        "errors",
        "extras",
        "inputs",
        "memory",
        "processor",
        "geometry",
        "choices",
        "progress",
        "_native",
        "config",
        "synthetic",
        "volumes",
        "targets",
        "augment",
        "sources",
        "dataset",
    ),
    *("models", "losses", "segmentation", "inference", "evaluation", "training", "blockwise", "proofreading"),
    *("viewing", "pipeline", "cli", "compat"),
]


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse((SOURCE / module).read_text(encoding="utf-8"))


def folder(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def dotted(module: Path) -> str:
    """``volumes/hdf5.py`` as ``volumes.hdf5``, and ``volumes/__init__.py`` as ``volumes``."""
    return ".".join(module.with_suffix("").parts).removesuffix("__init__").removesuffix(".")


NAMES = {dotted(module) for module in MODULES} | {"_native"}


@cache
def imports(module: Path) -> set[str]:
    """Modules of the package that a module imports, in functions too, without the ``neuropil.`` in front."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import; write it out"
            inside = node.module == "neuropil"
            public = {alias.name: f"neuropil.{neuropil._HOME.get(alias.name, alias.name)}" for alias in node.names}
            found |= {public[alias.name] if inside else f"{node.module}.{alias.name}" for alias in node.names}
    return {_module(name.removeprefix("neuropil.")) for name in found if name.startswith("neuropil.")} - {""}


def _module(name: str) -> str:
    """The module that holds a dotted name: ``volumes.hdf5.open_hdf5`` is in ``volumes.hdf5``."""
    while name and name not in NAMES:
        name = name.rpartition(".")[0]
    return name


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of a graph of imports, or nothing."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def definitions(module: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes at the top level of a module."""
    return [
        node for node in tree(module).body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
    ]


def test_every_folder_has_its_place():
    assert {folder(module) for module in MODULES} - {*ORDER, "__init__", "__main__"} == set()


def test_modules_import_only_from_folders_above():
    wrong = [
        f"{module} must not import {name}"
        for module in MODULES
        if (here := folder(module)) not in ("__init__", "__main__") and str(module) != DOOR
        for name in imports(module)
        if (other := name.split(".")[0]) != here and ORDER.index(other) >= ORDER.index(here)
    ]
    assert not wrong, wrong


def test_no_modules_import_each_other():
    """Inside folders, too. ``__init__`` of a folder imports its modules, and they never import it."""
    graph = {dotted(module): imports(module) - {dotted(module)} for module in MODULES if dotted(module)}
    assert not (found := circle(graph)), " → ".join(found)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def meanings(module: Path) -> dict[str, str]:
    """Public classes and type aliases of a module, and what defines each."""
    found = {}
    for node in tree(module).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = f"class of {module}"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.unparse(node.value).replace("npt.NDArray", "NDArray")
    return {name: what for name, what in found.items() if name[0].isupper() and not name.isupper()}


def test_a_name_means_one_thing():
    """Two modules give no class or type alias the same name, unless the two aliases are the same."""
    known: dict[str, tuple[Path, str]] = {}
    twice = []
    for module in MODULES:
        for name, what in meanings(module).items():
            first, meaning = known.setdefault(name, (module, what))
            if meaning != what:
                twice.append(f"{name}: {first} and {module}")
    assert not twice, twice


def test_files_can_be_read_in_one_sitting():
    """Tests, too."""
    files = [*SOURCE.rglob("*.py"), *Path(__file__).parent.rglob("*.py")]
    lines = {file: file.read_text(encoding="utf-8").count("\n") for file in files}
    long = [f"{file} has {many} lines: split it by what its parts do" for file, many in lines.items() if many > 400]
    assert not long, long


def test_public_things_say_what_they_are():
    silent = [str(module) for module in MODULES if not ast.get_docstring(tree(module))]
    silent += [
        f"{module}: {node.name}" for module in MODULES for node in definitions(module) if not ast.get_docstring(node)
    ]
    assert not silent, f"no docstring: {silent}"


def test_no_option_is_swallowed():
    """``**kwargs`` would take a mistyped option in silence."""
    taken = [
        f"{module}:{node.lineno}: {node.name}(**{node.args.kwarg.arg})"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.args.kwarg
    ]
    assert not taken, taken


def test_public_names_resolve_and_public_functions_show_an_example():
    for name in neuropil.__all__:
        thing = getattr(neuropil, name)
        assert thing is getattr(importlib.import_module(f"neuropil.{neuropil._HOME[name]}"), name)
        if isinstance(thing, FunctionType):
            assert ">>>" in (thing.__doc__ or ""), f"neuropil.{name} has no example"


def test_public_names_are_few_and_known_to_the_type_checker():
    assert sorted(neuropil.__all__) == sorted(neuropil._HOME)
    assert len(neuropil.__all__) <= 35
    guarded = [
        node
        for node in tree(Path("__init__.py")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = {alias.asname for block in guarded for node in block.body for alias in node.names}
    assert seen == set(neuropil.__all__)
