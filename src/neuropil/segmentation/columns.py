"""Region graphs and merge trees as columns, one array per field: checks before kernels read them, and .npz files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.volumes.atomic import replacing
from neuropil.volumes.marks import anything
from neuropil.volumes.volume import writable

Wide = npt.NDArray[np.uint64]
Narrow = npt.NDArray[np.uint16]

EdgeColumns = tuple[npt.NDArray[Any], npt.NDArray[Any], Wide, Wide, Wide, Narrow, Narrow]
"""Edges as kernels take and return them: both nodes (uint32 or uint64); count, sum, key, max and min of the faces."""

BinColumns = tuple[Wide, Narrow, Wide]
"""Histograms of the edges: where each edge's bins begin, and the code and count of every bin; empty without them."""


def check_columns(columns: Sequence[Any], types: Sequence[str], what: str) -> None:
    """Refuse columns of a hand-made graph that are not arrays of one length and of these types.

    Raises:
        NeuropilError: types expected, and what came.

    >>> check_columns([np.zeros(2, np.uint32), np.zeros(2)], ["u4", "f8"], "graph")
    """
    arrays = [column for column in columns if isinstance(column, np.ndarray) and column.ndim == 1]
    if (
        len(arrays) != len(columns)
        or len({len(array) for array in arrays}) > 1
        or [array.dtype for array in arrays] != [np.dtype(kind) for kind in types]
    ):
        got = ", ".join(map(described, columns))
        raise NeuropilError(f"a {what} has columns of one length and the types {', '.join(types)}; got {got}")


def described(column: object) -> str:
    """Type and shape of a column, for error messages.

    >>> described(np.zeros(3, np.uint8)), described([1, 2])
    ('uint8 (3,)', 'list')
    """
    return f"{column.dtype} {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__


def check_ids(ids: Any, count: int, what: str) -> None:
    """Refuse ids unless they are empty, or ``count`` ascending uint64 ids from 1 on."""
    if not isinstance(ids, np.ndarray) or ids.dtype != np.uint64 or ids.ndim != 1 or len(ids) not in (0, count):
        raise NeuropilError(f"expected the ids of {count} {what} as uint64, or none; got {len(ids)}")
    if len(ids) and not (ids[0] > 0 and (ids[1:] > ids[:-1]).all()):
        raise NeuropilError(f"the ids of {what} ascend from 1 on, each once")


def no_ids() -> npt.NDArray[np.uint64]:
    """The empty ``ids`` of a graph or tree whose nodes are the fragment ids themselves."""
    return np.zeros(0, np.uint64)


def save_fields(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write an .npz file; an existing one is replaced only when the new one is complete.

    Raises:
        NeuropilError: it cannot be written.
    """
    if Path(path).is_dir():
        raise NeuropilError(f"cannot write {path}: it is a folder; name a file in it")
    with writable(str(path)), replacing(Path(path), anything) as temporary, temporary.open("wb") as file:
        np.savez(file, **values)


def load_fields(path: str | Path, names: Iterable[str]) -> dict[str, Any]:
    """Arrays of these names from an .npz file."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in names}


@contextmanager
def saved(path: str | Path, what: str) -> Iterator[None]:
    """Turn any error while a file is read into one NeuropilError that names the file."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile, NeuropilError) as problem:
        raise NeuropilError(f"expected a saved {what} (.npz) in {path}: {problem}") from problem
