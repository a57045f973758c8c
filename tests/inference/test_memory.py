import subprocess
import sys

import pytest
import torch
from torch import nn

from neuropil.inference import memory
from neuropil.inference.memory import bytes_per_voxel, free_memory, reusing_memory

SCRIPT = """
import resource
import torch
from neuropil.inference.memory import reusing_memory
from neuropil.memory import _field

def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

outside = faults(4)
with reusing_memory():
    faults(4)
    inside = faults(4)
print(outside, inside, _field("/proc/self/status", "VmRSS"))
"""


@pytest.mark.skipif(memory._glibc() is None, reason="needs glibc")
def test_memory_that_was_used_is_used_again():
    """In a process of its own, whose memory nobody has cut into pieces. A block is 64 MB."""
    said = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True).stdout
    outside, inside, held = map(int, said.split())
    assert outside > 4 * 25, "or this proves nothing"  # 16,384 pages each, 32 where the system makes huge ones
    assert inside < 25
    assert held < 1.5 * 2**30, "afterwards what is freed is handed back"


def test_without_glibc_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with reusing_memory():
        assert torch.ones(3).sum() == 3


def test_a_control_group_bounds_what_is_free(monkeypatch):
    files = {"memory.max": 10**9, "memory.current": 4 * 10**8}
    monkeypatch.setattr("neuropil.memory._number", lambda file: files[file.name])
    assert free_memory(torch.device("cpu")) <= 6 * 10**8
    monkeypatch.setattr("neuropil.memory._number", lambda file: None)
    assert free_memory(torch.device("cpu")) > 0


def test_what_torch_keeps_of_a_gpu_is_free(monkeypatch):
    for name, answer in (("mem_get_info", (5, 99)), ("memory_reserved", 40), ("memory_allocated", 30)):
        monkeypatch.setattr(torch.cuda, name, lambda _, answer=answer: answer)
    assert free_memory(torch.device("cuda")) == 15


def test_wider_networks_take_more():
    narrow, wide = (nn.Conv3d(1, width, 1) for width in (4, 40))
    assert bytes_per_voxel(wide, torch.device("cpu")) == 10 * bytes_per_voxel(narrow, torch.device("cpu"))
    assert bytes_per_voxel(lambda image: image, torch.device("cpu")) > 0
