"""Commands in want of disk, memory or rights, and two at once: one message, nothing half, and later they succeed."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torture.children import Child, Outcome, in_child
from torture.kills import begin, cases, ended, run_in, shown, start

NOBODY = 65534


def torture(seed: int, count: int, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Limit commands, look, and run them again without limits."""
    return cases(Outcome("limits"), one, seed, count, folder, tell)


def one(rng: random.Random, work: Path, base: Path, words: str, seconds: float, expected: dict[str, Any]) -> str:
    """Run a command under one limit, then without; what is wrong, or ""."""
    kind = rng.choice([limited_files, full_disk, limited_memory, other_user, two_at_once])
    replaced = begin(rng, work, base, words)
    try:
        wrong = kind(rng, work, words) or shown(work, words, expected, replaced) or ended(work, words, expected)
    finally:
        subprocess.run(["umount", str(work)], capture_output=True, check=False)
    return f"{kind.__name__}: {wrong}" if wrong else ""


def judged(done: Child) -> str:
    """What is wrong with how a command ended, which may have been refused."""
    if done.value is None:
        return f"it died: {done.told}"
    code, complaint = done.value
    if code == 1 and "failed blocks: " in complaint:
        return ""
    if code not in (0, 2):
        return f"exit {code}: {complaint[-300:]}"
    if "Traceback" in complaint or (code == 2 and "neuropil: " not in complaint):
        return f"not in plain words: {complaint[-300:]}"
    return ""


def limited_files(rng: random.Random, work: Path, words: str) -> str:
    """No file may be larger than some size (``ulimit -f``)."""
    size = int(10 ** rng.uniform(1, 5))

    def go() -> tuple[int, str]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return run_in(work, words)

    return judged(in_child(go, 120))


def full_disk(rng: random.Random, work: Path, words: str) -> str:
    """The folder is a disk that has little room left. Nothing is tried where disks may not be mounted."""
    kept = work.with_name("kept")
    shutil.copytree(work, kept)
    need = sum(file.stat().st_size // 4096 * 4096 + 8192 for file in kept.rglob("*"))
    size = need + int(10 ** rng.uniform(3, 5.3))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(work)], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        shutil.copytree(kept, work, dirs_exist_ok=True)
    shutil.rmtree(kept)
    wrong = judged(in_child(lambda: run_in(work, words), 120))
    if mounted.returncode == 0:  # room comes
        subprocess.run(["mount", "-o", "remount,size=1g", str(work)], capture_output=True, check=True)
    return wrong


def limited_memory(rng: random.Random, work: Path, words: str) -> str:
    """Little memory above what the process has (``prlimit --as``). TensorStore and torch abort where a thread finds
    none; then only what the next run leaves is looked at."""
    room = int(rng.uniform(1, 300) * 2**20)

    def go() -> tuple[int, str]:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        in_use = pages * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (in_use + room, before[1]))
        found = run_in(work, words)
        resource.setrlimit(resource.RLIMIT_AS, before)
        return found

    done = in_child(go, 120)
    return "" if done.told in (f"exit {-signal.SIGABRT}", f"exit {-signal.SIGSEGV}") else judged(done)


def other_user(rng: random.Random, work: Path, words: str) -> str:
    """A user who may read the folder and not write to it."""
    if os.getuid():
        return ""
    for folder in [work.parent, work.parent.parent, work, *work.rglob("*")]:
        folder.chmod(0o755 if folder.is_dir() else 0o644)

    def go() -> tuple[int, str]:
        os.environ["HOME"] = "/nowhere"
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return run_in(work, words)

    done = in_child(go, 120)
    if done.value is not None and done.value[0] == 0:
        return "it says that it succeeded"
    return judged(done)


def two_at_once(rng: random.Random, work: Path, words: str) -> str:
    """The same command twice, together: both succeed, or one is refused."""
    other = start(lambda: run_in(work, words))
    wrong = judged(in_child(lambda: run_in(work, words), 120))
    os.waitpid(other, 0)
    return wrong
