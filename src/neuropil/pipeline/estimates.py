"""Estimates of time, memory and disk space for work on a large volume, printed before it starts."""

from __future__ import annotations

from neuropil.geometry import Box
from neuropil.memory import expect_memory
from neuropil.segmentation.codes import thread_count
from neuropil.volumes import Volume

LARGE = 10**9
"""Voxels from which memory and time are printed before the work."""

SPEED = {"segmenting": 4e6, "segmenting by blocks": 1.7e6, "tuning": 3e6, "scoring": 3e7, "predicting": 2e5,
         "copying": 2e7}  # fmt: skip
"""Approximate voxels per second and core, on the machines of docs/speed.md."""


def tell_work(volume: Volume, doing: str, needed: int, box: Box | None = None, *, by_blocks: bool = False) -> None:
    """Print time and memory of work on a large volume before it starts, and refuse it if memory is too small.

    Args:
        volume: the volume.
        doing: a key of ``SPEED``.
        needed: bytes of memory that the work needs.
        box: the part of the volume, if not all.
        by_blocks: whether the work is done by blocks.

    Raises:
        NeuropilError: there is less memory than needed, or the box leaves the volume.
    """
    if box is not None:
        volume.check_box(box)
    voxels = (box or volume.box).size
    if voxels >= LARGE:
        cores = thread_count(None)
        hours = voxels / SPEED[f"{doing} by blocks" if by_blocks and f"{doing} by blocks" in SPEED else doing] / 3600
        print(
            f"{doing} {voxels:,} voxels of {volume.path}: about {_memory(needed, by_blocks)}{hours:,.1f} hours on one "
            f"core, {hours / cores:,.1f} on the {cores} of this machine",
            flush=True,
        )
    instead = "give smaller blocks" if by_blocks else "work by blocks (--block 128,512,512), or on a part (--box)"
    expect_memory(needed, f"{doing} {volume.path}", instead)


def _memory(needed: int, by_blocks: bool) -> str:
    if not needed:
        return ""
    return f"{needed / 1e9:,.1f} GB of memory{' for each worker' if by_blocks else ''} and "
