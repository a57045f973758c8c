"""Creating a chunked array: locally under another name until it is complete, in a bucket where nothing is yet."""

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
"""Makes the array of a name in a container, with these chunks: a TensorStore [z, y, x] or [c, z, y, x]."""

MakeGroup = Callable[[Path, bool], None]
"""Leaves in a folder above an array what says that it is a group; the second argument: it is the container."""


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
    """A new array. Locally it is made under another name and renamed when complete. In a bucket, which cannot rename,
    it is refused where something is already, and what was written is deleted after an exception."""
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
    """A new TensorStore. Chunks of zeros are written, too: one that is absent was lost, or never written."""
    import tensorstore as ts

    whole = {**spec, "kvstore": keys.kvstore(container, array), "store_data_equal_to_fill_value": True}
    return ts.open(whole, context=keys.context(), create=True).result()


def allowed(dtype: np.dtype[Any], types: Sequence[str], location: Location) -> np.dtype[Any]:
    """The dtype, where the format has it; booleans become uint8.

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
    """The highest folder on the way from the container to the array that is not there yet; the array if all are."""
    for folder in (container, *reversed(target.relative_to(container).parents[:-1])):
        part = folder if folder == container else container / folder
        if not part.exists():
            return part
    return target


def _check_target(location: Location, target: Path, describe: Describe) -> None:
    """Only an array of this kind, or an empty folder, is replaced; nothing goes inside an array."""
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
    """Zarr wants a file in every folder above an array that says that it is a group."""
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
