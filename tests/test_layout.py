"""The layout of the package: one folder per step, in the order in which data flows; imports point upwards only."""

import ast
import importlib
from pathlib import Path
from types import FunctionType

import pytest

import neuropil

SOURCE = Path(neuropil.__file__).parent
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))

# From the first folder to the last. A module imports only from folders before its own; cli may import all.
ORDER = [
    *(
        "errors",
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


def folder(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def dotted(module: Path) -> str:
    """``volumes/hdf5.py`` as ``volumes.hdf5``, and ``volumes/__init__.py`` as ``volumes``."""
    return ".".join(module.with_suffix("").parts).removesuffix("__init__").removesuffix(".")


NAMES = {dotted(module) for module in MODULES} | {"_native"}


def imports(module: Path) -> set[str]:
    """Modules of the package that a module imports, in functions too, without the ``neuropil.`` in front."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((SOURCE / module).read_text(encoding="utf-8"))):
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
    body = ast.parse((SOURCE / module).read_text(encoding="utf-8")).body
    return [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]


TESTS = Path(__file__).parent
TEST_FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))

# Modules whose tests stand in the file of another one, through which users reach them.
TESTED_IN = {
    "cli/test_bad_input.py": "cli/app cli/options errors inputs",
    "cli/test_chain.py": "cli/predict cli/recipes",
    "cli/test_files.py": "cli/converting cli/info",
    "cli/test_proofreading.py": "proofreading/calibrating proofreading/ranking proofreading/sources",
    "cli/test_segment.py": "cli/evaluate cli/tune",
    "cli/test_tutorial.py": "compat/pytc/matching",
    "compat/connectomics/test_data_augmentation.py": "compat/connectomics/data/augmentation/build "
    "compat/connectomics/data/augmentation/composition compat/connectomics/data/augmentation/test_augmentor "
    "compat/connectomics/data/augmentation/transforms compat/connectomics/data/augmentation/varying targets/smoothing",
    "compat/connectomics/test_data_dataset.py": "compat/connectomics/data/dataset/build "
    "compat/connectomics/data/dataset/volume",
    "compat/connectomics/test_data.py": "compat/connectomics/data/utils compat/connectomics/utils/evaluate",
    "compat/pytc/test_checkpoint.py": "compat/pytc/weights",
    "compat/pytc/test_translation.py": "compat/pytc/augmentor compat/pytc/inference compat/pytc/networks "
    "compat/pytc/targets",
    "config/test_files.py": "choices config/applying config/learning config/mistakes config/networks config/schema "
    "config/section config/trainable",
    "blockwise/test_tune.py": "evaluation/changes",
    "evaluation/test_objects.py": "evaluation/blame evaluation/contact",
    "inference/test_in_memory.py": "inference/engine inference/request",
    "inference/test_memory.py": "memory",
    "inference/test_resumable.py": "inference/journal",
    "models/test_released.py": "models/checkpoint",
    "pipeline/test_inspecting.py": "pipeline/inspecting_labels pipeline/inspecting_page",
    "blockwise/test_segment.py": "pipeline/scaling",
    "proofreading/test_export.py": "proofreading/annotations proofreading/webknossos",
    "segmentation/test_merge_tree.py": "segmentation/scores",
    "synthetic/test_micrograph.py": "synthetic/noise synthetic/tubes",
    "targets/test_auxiliary.py": "targets/descriptors targets/distance",
    "test_dataset.py": "sources",
    "test_tutorial.py": "compat/connectomics/engine/trainer",
    "training/test_shelves.py": "augment/together",
    "pipeline/test_running.py": "pipeline/scoring viewing/results",
    "viewing/test_report.py": "viewing/definitions viewing/facts viewing/inline",
    "viewing/test_viewer.py": "cli/looking",
    "volumes/formats/test_hdf5.py": "volumes/formats/hdf5_file",
    "volumes/formats/test_codecs.py": "volumes/formats/zipped",
    "volumes/formats/test_chunked.py": "volumes/formats/keys volumes/formats/making volumes/formats/ome",
    "volumes/formats/test_packaged.py": "volumes/formats/mrc volumes/formats/nifti volumes/formats/npy "
    "volumes/formats/nrrd",
    "volumes/formats/test_precomputed.py": "volumes/formats/precomputed_files",
    "volumes/formats/test_sections.py": "volumes/allowances volumes/formats/pages",
    "volumes/formats/test_table.py": "volumes/formats/base",
    "volumes/formats/test_tiff.py": "volumes/formats/colours volumes/formats/tiff_metadata volumes/formats/tiff_pages",
    "volumes/test_intermediate.py": "volumes/finishing volumes/locks",
    "volumes/test_metadata_origin.py": "volumes/units",
    "volumes/test_tissue.py": "volumes/pickling volumes/skipping",
    "volumes/test_volume.py": "volumes/arrays",
}

# Files about several modules at once, or about the repository.
SEVERAL = {
    *("cli/test_bad_input.py", "cli/test_chain.py", "cli/test_config.py", "cli/test_files.py", "cli/test_masks.py"),
    *("cli/test_mistakes.py", "cli/test_outputs.py", "cli/test_two_at_once.py", "segmentation/test_doors.py"),
    *("segmentation/test_hostile.py", "volumes/formats/test_conformance.py", "volumes/test_full_disk.py"),
    *("segmentation/test_interrupt.py", "volumes/formats/test_combinations.py", "volumes/formats/test_damage.py"),
    *("volumes/formats/test_table.py", "volumes/test_memory.py", "volumes/test_other_tools.py", "volumes/test_real.py"),
    *("volumes/test_truncated.py", "test_benchmarks.py", "test_configs.py", "test_constraints.py"),
    *("test_contributing.py", "test_devices.py", "test_docs.py", "test_docstrings.py", "test_earlier_versions.py"),
    *("test_import_time.py", "test_layout.py", "test_native.py", "test_notebooks.py", "test_tutorial.py"),
}


def owner(test: Path) -> Path | None:
    """The module that a test file is named after: ``test_MODULE.py`` or ``test_MODULE_TOPIC.py`` in the same folder."""
    stem = test.stem.removeprefix("test_")
    named = {m: m.parent.name if m.stem == "__init__" else m.stem for m in MODULES if m.name != "__main__.py"}
    places = {m: m.parent.parent if m.stem == "__init__" else m.parent for m in MODULES}
    fitting = [m for m, name in named.items() if places[m] == test.parent and f"{stem}_".startswith(f"{name}_")]
    return max(fitting, key=lambda m: len(named[m]), default=None)


def test_every_test_file_is_named_after_a_module():
    lost = [str(test) for test in TEST_FILES if owner(test) is None and str(test) not in SEVERAL]
    assert not lost, f"{lost}: name them test_MODULE.py or test_MODULE_TOPIC.py, or add them to SEVERAL here"
    gone = SEVERAL - {str(test) for test in TEST_FILES}
    assert not gone, f"SEVERAL names {gone}"


def test_every_module_has_tests():
    """In a file of its own, or in the one that TESTED_IN names. ``__init__`` of a folder has those of its modules."""
    elsewhere = {Path(f"{module}.py"): test for test, words in TESTED_IN.items() for module in words.split()}
    assert {str(test) for test in TEST_FILES} >= set(elsewhere.values())
    own = {owner(test) for test in TEST_FILES}
    modules = {m for m in MODULES if m.stem not in ("__init__", "__main__")}
    untested = sorted(str(m) for m in modules - own - set(elsewhere))
    assert not untested, f"{untested}: add tests/FOLDER/test_MODULE.py, or say in TESTED_IN which file has its tests"
    stale = sorted(str(m) for m in set(elsewhere) if m in own or m not in modules)
    assert not stale, f"TESTED_IN names modules that have a file of their own, or are gone: {stale}"


def test_every_folder_has_its_place():
    assert {folder(module) for module in MODULES} - {*ORDER, "__init__", "__main__"} == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_import_only_from_folders_above(module):
    here = folder(module)
    if here in ("__init__", "__main__", "cli"):
        return
    below = {
        name for name in imports(module) if (f := name.split(".")[0]) != here and ORDER.index(f) >= ORDER.index(here)
    }
    assert not below, f"{module} is in {here!r} and must not import from {sorted(below)}"


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
    for node in ast.parse((SOURCE / module).read_text(encoding="utf-8")).body:
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
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {alias.asname for block in guarded for node in block.body for alias in node.names}
    assert seen == set(neuropil.__all__)
