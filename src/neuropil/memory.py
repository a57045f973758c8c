"""Find out how much memory is free, and refuse work that would need more before it starts."""

from __future__ import annotations

import resource
from pathlib import Path

from neuropil.errors import NeuropilError

UNKNOWN = 4 * 2**30
"""Bytes assumed where the system does not tell."""

SMALL = 2**28
"""Bytes up to which nothing is checked."""


def free_ram() -> int:
    """Bytes that this process may still allocate: the minimum of free memory, what is left of the limit of its control
    group (cgroup v2), and what is left of its address-space limit.

    >>> free_ram() > 0
    True
    """
    group = Path("/sys/fs/cgroup")
    limits = [_field("/proc/meminfo", "MemAvailable")]
    most, used = _number(group / "memory.max"), _number(group / "memory.current")
    if most is not None and used is not None:
        limits.append(most - used)
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    taken = _field("/proc/self/status", "VmSize")
    if space != resource.RLIM_INFINITY and taken is not None:
        limits.append(space - taken)
    return max(min((n for n in limits if n is not None), default=UNKNOWN), 1)


def expect_memory(needed: int, doing: str, instead: str) -> None:
    """Refuse work that needs more memory than is free.

    Args:
        needed: bytes.
        doing: the work, for the message.
        instead: advice, for the message.

    Raises:
        NeuropilError: ``needed`` bytes are not free.

    >>> expect_memory(10**18, "segmenting a.h5", "give --block 128,512,512")
    Traceback (most recent call last):
    neuropil.errors.NeuropilError: segmenting a.h5 needs about 1,000,000,000.0 GB of memory, and ... GB are free; ...
    """
    if needed > SMALL and needed > (free := free_ram()):
        raise NeuropilError(
            f"{doing} needs about {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free; {instead}"
        )


def _field(file: str, name: str) -> int | None:
    """Bytes in a line ``Name: 123 kB`` of a file."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None
