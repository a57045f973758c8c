"""``make torture``: kills, limits, damaged files and random block runs until the time is over.

    python -m torture [MINUTES] [SEED]

A failure names its seed and case; the same seed gives the same cases.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from torture import blocks, kills, limits, mutations
from torture.children import Outcome, preload

SHARES = ((blocks.torture, 250), (mutations.torture, 1000), (kills.torture, 100), (limits.torture, 60))
"""Cases of each kind in a round."""


def main(minutes: float, seed: int) -> int:
    """Rounds until the time is over; returns how many failures there were."""
    preload()
    os.environ.setdefault("TORTURE_PATIENT", "1")  # other programs may run beside
    end = time.monotonic() + 60 * minutes
    totals = [Outcome("random block runs"), Outcome("mutated files"), Outcome("kills"), Outcome("limits")]
    print(f"seed {seed}, {minutes:g} minutes", flush=True)
    start = Path.cwd()
    while time.monotonic() < end:
        for (torture, count), total in zip(SHARES, totals, strict=True):
            with tempfile.TemporaryDirectory() as folder:
                done = torture(seed, count, Path(folder) / "cases", lambda line: None)
            os.chdir(start)
            total.add(done.cases, done.failures)
            for failure in done.failures:
                print(failure[:500], flush=True)
        print("; ".join(map(str, totals)) + f" (seeds to {seed})", flush=True)
        seed += 1
    return sum(len(total.failures) for total in totals)


if __name__ == "__main__":
    numbers = sys.argv[1:]
    first = int(numbers[1]) if len(numbers) > 1 else int.from_bytes(os.urandom(4))
    sys.exit(min(1, main(float(numbers[0]) if numbers else 60, first)))
