"""All benchmarks that need no data, in 15 minutes: one table for each question, beside a peer in the same run.

    python benchmarks/run.py [--only "segments;worst inputs"] [--affinities A.zarr --labels L.h5] [--out FILE.md]

    segments      affinities to segments, against waterz: mean and median
    worst inputs  time per voxel of inputs made for the worst case, beside that of ordinary ones
    mutex         the mutex watershed, against mwatershed and bioimage-cpp
    scores        adapted Rand and VI, against scikit-image; every threshold, against one
    prediction    the classic tutorial's network, against plain PyTorch
    training      steps of training, against a plain loop over the same samples

Sizes are small, so that all of it fits: the scripts beside this one measure the same at any size, and more. Rows of
one table alternate, each in a process of its own; medians, with the lowest and highest where there are several runs.
Without --affinities those of synthetic neurites are segmented. A question for which no time is left is named.
"""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import neuropil
from neuropil.segmentation.codes import thread_count

HERE = Path(__file__).parent
MINUTES = 15
SEGMENTS = (
    "neuropil mean;neuropil segment;neuropil segment, minimum size 400;waterz mean;neuropil q50;waterz median, 256 bins"
)
QUESTIONS: dict[str, tuple[str, list[str]]] = {
    "segments": ("segmentation.py", ["--crop", "16,768,768", "--repeat", "3", "--only", SEGMENTS]),
    "worst inputs": ("segmentation.py", ["--crop", "16,256,256", "--hostile", "--voxels", "65536"]),
    "mutex": (
        "segmentation.py",
        ["--crop", "8,256,256", "--only", "neuropil mutex;mwatershed;bioimage-cpp mutex", "--repeat", "3"],
    ),
    "scores": ("evaluation.py", ["--quick"]),
    "prediction": ("inference.py", ["--shape", "17,257,257", "--only", "plain;neuropil"]),
    "training": ("training.py", ["--only", "steps", "--steps", "8"]),
}


def processor() -> str:
    """What the machine calls its processor."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def answer(question: str, given: list[str], seconds: float) -> str:
    """What a script prints, under the command that it was."""
    script, arguments = QUESTIONS[question]
    own = given if script == "segmentation.py" else []
    command = [str(HERE / script), *arguments, *own]
    start = time.perf_counter()
    shown = " ".join(f'"{part}"' if " " in part else part for part in ["benchmarks/" + script, *command[1:]])
    try:
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"## {question}\n\nLeft out: no time was left.\n"
    if done.returncode:
        return f"## {question}\n\nFailed: {done.stderr.strip().splitlines()[-1:]}\n"
    taken = time.perf_counter() - start
    return f"## {question}\n\n`python {shown}`, {taken:.0f} s\n\n{done.stdout.strip()}\n"


def main() -> None:
    """Ask all questions, or some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=";".join(QUESTIONS), help="questions, with ; between them")
    parser.add_argument("--affinities")
    parser.add_argument("--labels")
    parser.add_argument("--out", type=Path, help="a file for the tables")
    options = parser.parse_args()
    asked = options.only.split(";")
    if unknown := set(asked) - set(QUESTIONS):
        parser.error(f"expected some of {'; '.join(QUESTIONS)}; got {'; '.join(sorted(unknown))}")
    given = ["--affinities", options.affinities, "--labels", options.labels] if options.affinities else []
    until = time.perf_counter() + 60 * MINUTES
    texts = [
        f"# neuropil {neuropil.__version__} on {processor()}, {thread_count(None)} cores, {time.strftime('%Y-%m-%d')}\n"
    ]
    print(texts[0], flush=True)
    for question in asked:
        texts.append(answer(question, given, until - time.perf_counter()))
        print(texts[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(texts), encoding="utf-8")
    if any("\nFailed: " in text for text in texts):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
