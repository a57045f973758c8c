import resource

import pytest
import torch
from torch import nn

from neuropil.inference import memory
from neuropil.inference.memory import bytes_per_voxel, free_memory, reusing_memory


def faults_of_a_new_block():
    """Pages that the system has to find for 64 MB, after the first few of that size."""
    for _ in range(4):
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(memory._glibc() is None, reason="needs glibc")
def test_memory_that_was_used_is_used_again():
    with reusing_memory():
        assert faults_of_a_new_block() < 64
    held = memory._field("/proc/self/status", "VmRSS")
    block = torch.ones(2**26)
    assert memory._field("/proc/self/status", "VmRSS") > held + 2**27
    del block
    assert memory._field("/proc/self/status", "VmRSS") < held + 2**27, "and afterwards what is freed is handed back"


def test_without_glibc_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with reusing_memory():
        assert torch.ones(3).sum() == 3


def test_a_control_group_bounds_what_is_free(monkeypatch):
    files = {"memory.max": 10**9, "memory.current": 4 * 10**8}
    monkeypatch.setattr(memory, "_number", lambda file: files[file.name])
    assert free_memory(torch.device("cpu")) <= 6 * 10**8
    monkeypatch.setattr(memory, "_number", lambda file: None)
    assert free_memory(torch.device("cpu")) > 0


def test_wider_networks_take_more():
    narrow, wide = (nn.Conv3d(1, width, 1) for width in (4, 40))
    assert bytes_per_voxel(wide, torch.device("cpu")) == 10 * bytes_per_voxel(narrow, torch.device("cpu"))
    assert bytes_per_voxel(lambda image: image, torch.device("cpu")) > 0
