"""Tests mirror the source: every module has its tests in a file of its name, or a list here says where."""

from pathlib import Path

import neuropil

SOURCE = Path(neuropil.__file__).parent
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
TESTS = Path(__file__).parent
TEST_FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))

# Modules whose tests stand in the file of another one, through which users reach them.
TESTED_IN = {
    "cli/test_bad_input.py": "cli/app cli/options errors inputs",
    "cli/test_chain.py": "cli/predict cli/recipes",
    "cli/test_files.py": "cli/converting cli/info",
    "cli/test_proofreading.py": "proofreading/sources",
    "cli/test_evaluate.py": "cli/tune",
    "compat/connectomics/test_data_augmentation.py": "compat/connectomics/data/augmentation/build "
    "compat/connectomics/data/augmentation/composition compat/connectomics/data/augmentation/test_augmentor "
    "compat/connectomics/data/augmentation/transforms compat/connectomics/data/augmentation/varying targets/smoothing",
    "compat/connectomics/test_data_dataset.py": "compat/connectomics/data/dataset/batches "
    "compat/connectomics/data/dataset/build "
    "compat/connectomics/data/dataset/volume",
    "compat/connectomics/test_data.py": "compat/connectomics/data/utils compat/connectomics/utils/evaluate",
    "compat/connectomics/test_engine.py": "compat/connectomics/engine/trainer",
    "compat/pytc/test_checkpoint.py": "compat/pytc/weights",
    "compat/pytc/test_program.py": "cli/classic compat/pytc/matching",
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
    "blockwise/test_segment.py": "blockwise/merge_tasks pipeline/scaling",
    "proofreading/test_export.py": "proofreading/annotations proofreading/webknossos",
    "segmentation/test_merge_tree.py": "segmentation/scores",
    "synthetic/test_micrograph.py": "synthetic/noise synthetic/tubes",
    "targets/test_auxiliary.py": "targets/descriptors targets/distance",
    "test_dataset.py": "sources",
    "training/test_device_batches.py": "augment/together",
    "pipeline/test_running.py": "pipeline/scoring viewing/results",
    "viewing/test_report.py": "viewing/definitions viewing/facts viewing/inline",
    "viewing/test_viewer.py": "cli/looking",
    "volumes/formats/test_hdf5.py": "volumes/formats/hdf5_file",
    "volumes/formats/test_codecs.py": "volumes/formats/zipped",
    "volumes/formats/test_chunked.py": "volumes/formats/making volumes/formats/ome",
    "volumes/formats/test_n5.py": "volumes/formats/n5_place",
    "volumes/formats/test_precomputed.py": "volumes/formats/precomputed_files",
    "volumes/formats/test_sections.py": "volumes/formats/pages",
    "volumes/formats/test_table.py": "volumes/formats/base",
    "volumes/formats/test_tiff_pages.py": "volumes/formats/tiff_checks",
    "volumes/formats/test_tiff.py": "volumes/formats/colours volumes/formats/tiff_metadata",
    "volumes/test_arrangement.py": "volumes/naming",
    "volumes/test_intermediate.py": "volumes/finishing volumes/locks",
    "volumes/test_tissue.py": "volumes/pickling volumes/skipping",
    "volumes/test_volume.py": "volumes/arrays",
}

# Files about several modules at once, or about the repository.
SEVERAL = {
    *("cli/test_bad_input.py", "cli/test_chain.py", "cli/test_config.py", "cli/test_files.py", "cli/test_masks.py"),
    *("cli/test_hostile.py", "compat/pytc/test_foreign_files.py", "torture/test_torture.py"),
    *("cli/test_mistakes.py", "cli/test_outputs.py", "cli/test_two_at_once.py", "segmentation/test_doors.py"),
    *("segmentation/test_hostile.py", "volumes/formats/test_conformance.py", "volumes/test_full_disk.py"),
    *("segmentation/test_interrupt.py", "volumes/formats/test_combinations.py", "volumes/formats/test_damage.py"),
    *("volumes/formats/test_table.py", "volumes/test_memory.py", "volumes/test_other_tools.py", "volumes/test_real.py"),
    *("volumes/test_truncated.py", "test_benchmarks.py", "test_configs.py", "test_constraints.py"),
    *("test_contributing.py", "test_devices.py", "test_docs.py", "test_docstrings.py", "test_earlier_versions.py"),
    *(
        "compat/test_vol0.py",
        "test_import_time.py",
        "test_layout.py",
        "test_mirror.py",
        "test_native.py",
        "test_notebooks.py",
        "test_tutorial.py",
        "test_ways.py",
    ),
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
