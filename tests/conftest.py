"""What all tests share."""

from functools import cache
from pathlib import Path

import pytest
import torch
import typer.testing
from hypothesis import HealthCheck, settings

# The tree of commands is built once, and not at each command, which took three times as long as most of them.
typer.main.get_command = typer.testing._get_command = cache(typer.main.get_command)

# A busy machine is no failure: no time limit per example, and slow first draws are allowed.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
# The same random cases in each run of `make test`: a change is judged by what it changes.
settings.register_profile("neuropil", max_examples=20, derandomize=True, **COMMON)
# `make test-slow` draws more of them, others in each run.
settings.register_profile("thorough", max_examples=400, **COMMON)
settings.load_profile("neuropil")


LONG = (
    "compat/pytc/test_program.py",
    "segmentation/test_merge_tree_operations.py",
    "blockwise/test_segment_real.py",
    "training/test_loop_shipped.py",
    "inference/test_resumable.py",
    "viewing/test_viewer.py",
    "test_docs.py",
    "pipeline/test_demo.py",
    "blockwise/test_segment.py",
    "blockwise/test_executor.py",
    "test_benchmarks.py",
    "cli/test_hostile.py",
    "models/test_monai.py",
    "segmentation/test_interrupt.py",
)
"""Files that take ten seconds and more come first: processes that share the files end at about the same time."""


def pytest_collection_modifyitems(items):
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no GPU is visible")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """The processor, and with `make test-gpu` a GPU: the same test on both."""
    return request.param
