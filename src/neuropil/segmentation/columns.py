"""Region graphs and merge trees as columns, one array per field: checked before kernels read them, and their files."""

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
"""Edges as kernels take and return them: two ends (uint32 or uint64), count, sum, key, max and min of their faces."""

BinColumns = tuple[Wide, Narrow, Wide]
"""Their histograms: where the bins of each edge begin, and every bin's code and count; empty where not asked for."""


def check_columns(columns: Sequence[Any], types: Sequence[str], what: str) -> None:
    """Refuse columns of a hand-made graph that are not arrays of one length and of these types.

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
    """What a column is, in a few words: its type and shape.

    >>> described(np.zeros(3, np.uint8)), described([1, 2])
    ('uint8 (3,)', 'list')
    """
    return f"{column.dtype} {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__


def check_ids(ids: Any, count: int, what: str) -> None:
    """Refuse ids that are not those of so many fragments, ascending, nor none."""
    if not isinstance(ids, np.ndarray) or ids.dtype != np.uint64 or ids.ndim != 1 or len(ids) not in (0, count):
        raise NeuropilError(f"expected the ids of {count} {what} as uint64, or none; got {len(ids)}")
    if len(ids) and not (ids[0] > 0 and (ids[1:] > ids[:-1]).all()):
        raise NeuropilError(f"the ids of {what} ascend from 1 on, each once")


def no_ids() -> npt.NDArray[np.uint64]:
    """What ``ids`` is where fragments are counted by themselves."""
    return np.zeros(0, np.uint64)


def save_fields(path: str | Path, values: Mapping[str, Any]) -> None:
    """An .npz file, there only when it is complete.

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
    """Whatever is wrong with a file that is being read becomes one message that names it."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile, NeuropilError) as problem:
        raise NeuropilError(f"expected a saved {what} (.npz) in {path}: {problem}") from problem
