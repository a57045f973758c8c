"""Create chunked arrays: a local one is renamed when it is complete; in a bucket nothing may exist there before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.volumes import arrays
from neuropil.volumes.atomic import replacing
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Location
from neuropil.volumes.formats.chunked import ChunkedStore, Describe, list_folder
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import Volume, first_line, writable

Make = Callable[[str, str, tuple[int, ...]], Any]
"""Creates an array, by container, name and chunk shape: a TensorStore [z, y, x] or [c, z, y, x]."""

MakeGroup = Callable[[Path, bool], None]
"""Writes the group metadata into a folder above an array; the second argument says whether it is the container."""


@contextmanager
def create_chunked(
    location: Location,
    shape: tuple[int, ...],
    metadata: Metadata,
    chunks: Sequence[int] | None,
    make: Make,
    describe: Describe,
    ours: Callable[[str], bool],
    group: MakeGroup | None = None,
) -> Iterator[Volume]:
    """Create an array. Locally it is written under a temporary name and renamed when complete. A bucket cannot rename:
    there an existing path is refused, and after an exception the written chunks are deleted."""
    pieces = arrays.default_chunks(shape) if chunks is None else arrays.clip_chunks(chunks, shape)
    if location.remote:
        with _in_bucket(location):
            handle = make(location.container, location.array, pieces)
            yield Volume(location.path, ChunkedStore(handle), metadata, "r+")
        return
    target = Path(location.container, location.array)
    top = _topmost(Path(location.container), target)
    _check_target(location, target, describe)
    with replacing(top, lambda _: ours(str(target))) as temporary:
        with writable(location.path):
            inside = temporary / target.relative_to(top)
            handle = make(str(inside), "", pieces)
        yield Volume(location.path, ChunkedStore(handle), metadata, "r+")
        with writable(location.path):
            _make_groups(group, temporary, inside.parent)
    _make_groups(group, Path(location.container), target.parent)


def open_new(spec: dict[str, Any], container: str, array: str) -> Any:
    """Create a TensorStore. Chunks of zeros are written, too, so that an absent chunk means a lost one."""
    import tensorstore as ts

    whole = {**spec, "kvstore": keys.kvstore(container, array), "store_data_equal_to_fill_value": True}
    return ts.open(whole, context=keys.context(), create=True).result()


def allowed(dtype: np.dtype[Any], types: Sequence[str], location: Location) -> np.dtype[Any]:
    """The dtype, if the format has it; booleans become uint8.

    Raises:
        NeuropilError: the format does not have it.
    """
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.str[1:] not in types:
        known = ", ".join(np.dtype(t).name for t in types)
        title = location.format.title
        raise NeuropilError(f"{title} holds {known}; got {dtype} for {location.path}; write .zarr or .h5")
    return dtype


def _topmost(container: Path, target: Path) -> Path:
    """The first folder from the container down to the array that does not exist; the array if all exist."""
    for folder in (container, *reversed(target.relative_to(container).parents[:-1])):
        part = folder if folder == container else container / folder
        if not part.exists():
            return part
    return target


def _check_target(location: Location, target: Path, describe: Describe) -> None:
    """Refuse to replace anything but an array of this format or an empty folder, and to write inside an array."""
    container = Path(location.container)
    for folder in [container, *(container / p for p in target.relative_to(container).parents[:-1])]:
        if folder.is_file():
            raise NeuropilError(f"cannot write {location.path}: {folder} is a file")
        if folder != target and describe(str(folder), "") is not None:
            raise NeuropilError(f"{folder} is an array; it cannot hold {location.array}")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if describe(str(target), "") is None:
        inside = ", ".join(list_folder(str(target), describe)) or "other files"
        raise NeuropilError(f"{target} holds {inside}; name an array inside it, choose another name, or delete it")


def _make_groups(group: MakeGroup | None, top: Path, folder: Path) -> None:
    """Write group metadata into every folder above an array, as Zarr requires."""
    if group is None or not folder.is_relative_to(top):
        return
    for above in (folder, *folder.parents):
        group(above, above == top)
        if above == top:
            return


@contextmanager
def _in_bucket(location: Location) -> Iterator[None]:
    if location.container.startswith("http"):
        raise NeuropilError(
            f"cannot write {location.path}: a web server is read only; write to a folder, s3:// or gs://"
        )
    import tensorstore as ts

    store = ts.KvStore.open(keys.kvstore(location.container, location.array), context=keys.context()).result()
    try:
        taken = store.list(ts.KvStore.KeyRange()).result()[:1]
    except ValueError as error:
        raise NeuropilError(f"cannot write {location.path}: {first_line(error)}") from None
    if taken:
        raise NeuropilError(f"{location.path} exists; delete it or choose another name (a bucket cannot rename)")
    try:
        yield
    except BaseException:
        store.delete_range(ts.KvStore.KeyRange()).result()
        raise
