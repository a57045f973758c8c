"""Ten minutes of ``make torture``, without a failure; a failure is printed with the seed and case that repeat it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_ten_minutes():
    tests = Path(__file__).parents[1]
    words = [sys.executable, "-W", "ignore", "-m", "torture", "10"]
    done = subprocess.run(words, cwd=tests, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
