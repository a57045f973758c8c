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


def test_verbs_that_run_no_network_start_without_torch(tmp_path):
    code = (
        "import sys, numpy, neuropil; from neuropil.cli import app\n"
        "neuropil.write_volume('a.h5', numpy.ones((3, 1, 4, 4), numpy.float32))\n"
        "neuropil.write_volume('l.h5', numpy.ones((1, 4, 4), numpy.uint8))\n"
        "for words in ('info a.h5', 'segment a.h5 -o s.h5', 'tune a.h5 l.h5', 'evaluate s.h5 l.h5',\n"
        "              'rank a.h5 s.h5 -o r.csv', 'objects s.h5 -o o.csv', 'convert a.h5 b.zarr'):\n"
        "    app(words.split(), standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
