"""`neuropil --help` and `import neuropil` are instant: nothing heavy is imported before a verb runs."""

import json
import os
import subprocess
import sys

HEAVY = {"torch", "numpy", "h5py", "tensorstore", "tifffile", "matplotlib", "pydantic", "PIL", "scipy", "lightning"}


def run(*arguments: str) -> tuple[float, str]:
    """Processor seconds of a fresh interpreter (other work on the machine does not count), and what it printed."""
    before = os.times()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return spent, done.stdout


def test_help_takes_less_than_half_a_second():
    seconds, text = min(run("-m", "neuropil", "--help") for _ in range(3))
    assert "Usage:" in text
    assert seconds < 0.5


def test_help_imports_nothing_heavy():
    code = "import sys, json, neuropil, neuropil.cli; print(json.dumps(sorted(sys.modules)))"
    names = {name.split(".")[0] for name in json.loads(run("-c", code)[1])}
    assert not names & HEAVY
