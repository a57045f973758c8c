"""Write many objects into few files, in Neuroglancer's sharded format."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_TOGETHER = 6
"""Bits of an id: 2**6 ids in a row are listed in one minishard."""
_MINISHARDS = 7
"""Most bits of the number of a minishard: 2**7 lists in a file."""


class Item(NamedTuple):
    """An object of a sharded store."""

    id: int
    content: bytes
    before: bytes = b""
    """Bytes right before the content in the file, which no list names: the fragments of a mesh."""


def write_sharded(folder: Path, items: Iterable[Item], largest: int) -> dict[str, Any]:
    """Write ``*.shard`` files into a folder; returns the sharding specification for the ``info`` file.

    A file holds up to 8192 ids in a row, so that only these are in memory.
    Format: https://github.com/google/neuroglancer, ``src/datasource/precomputed/sharded.md``.

    Args:
        folder: exists already.
        items: ids ascending.
        largest: the largest id.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     found = write_sharded(Path(name), [Item(3, b"three"), Item(70, b"seventy")], 70)
    ...     found["minishard_bits"], found["shard_bits"], [path.name for path in Path(name).iterdir()]
    (1, 0, ['0.shard'])
    """
    minishard_bits = min(_MINISHARDS, max(0, largest.bit_length() - _TOGETHER))
    below = _TOGETHER + minishard_bits
    shard_bits = max(0, largest.bit_length() - below)
    for shard, inside in groupby(items, lambda item: item.id >> below):
        name = f"{shard:x}".zfill(-(-shard_bits // 4))
        _write_shard(folder / f"{name}.shard", inside, minishard_bits)
    return {
        "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": _TOGETHER,
        "minishard_bits": minishard_bits, "shard_bits": shard_bits, "minishard_index_encoding": "raw",
        "data_encoding": "raw",
    }  # fmt: skip


def _write_shard(path: Path, items: Iterable[Item], minishard_bits: int) -> None:
    """One file: where each list is, all contents, and for each minishard the list of its ids with their places."""
    count = 1 << minishard_bits
    lists: list[list[tuple[int, int, int]]] = [[] for _ in range(count)]
    index = np.zeros((count, 2), "<u8")
    with path.open("wb") as file:
        file.write(index.tobytes())
        for item in items:
            file.write(item.before)
            place = file.tell() - index.nbytes
            file.write(item.content)
            lists[(item.id >> _TOGETHER) & (count - 1)].append((item.id, place, len(item.content)))
        for i, entries in enumerate(lists):
            if entries:
                start = file.tell() - index.nbytes
                ids, places, sizes = np.array(entries, np.uint64).T
                ends = np.append(np.uint64(0), places + sizes)[:-1]  # each place is counted from the end before it
                file.write(np.stack([np.diff(ids, prepend=np.uint64(0)), places - ends, sizes]).astype("<u8").tobytes())
                index[i] = start, file.tell() - index.nbytes
        file.seek(0)
        file.write(index.tobytes())
