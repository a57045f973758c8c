"""Read the small files of chunked arrays, such as JSON metadata, in folders, ZIP files, buckets and web servers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from neuropil.errors import NeuropilError
from neuropil.volumes.allowances import check_link, is_inside
from neuropil.volumes.formats.base import Location, Stamp, stamp_first
from neuropil.volumes.formats.zipped import has_member, is_zip, member, members
from neuropil.volumes.volume import first_line

_CONTEXT = {
    "file_io_sync": False,  # outputs are renamed when complete; waiting for the disk at each chunk is ten times slower
    "cache_pool": {"total_bytes_limit": 0},
    "http_request_retries": {"max_retries": 3, "initial_delay": "200ms", "max_delay": "1s"},
    "s3_request_retries": {"max_retries": 3, "initial_delay": "200ms", "max_delay": "1s"},
    "gcs_request_retries": {"max_retries": 3, "initial_delay": "200ms", "max_delay": "1s"},
}
_PATIENCE = 60.0  # timeout in seconds for a small file of a bucket


@cache
def context() -> Any:
    """The TensorStore context; one for all, because it owns the threads that read and write."""
    import tensorstore as ts

    return ts.Context(_CONTEXT)


def kvstore(container: str, array: str = "") -> Any:
    """The TensorStore specification of a local folder or a URL."""
    inside = f"{array.strip('/')}/" if array.strip("/") else ""
    if "://" in container:
        return f"{container.rstrip('/')}/{inside}"
    return {"driver": "file", "path": f"{Path(container).absolute()}/{inside}"}


def in_folder(container: str) -> bool:
    """Whether a container is, or is to become, a local folder."""
    return "://" not in container and not is_zip(container)


def read_json(container: str, key: str) -> dict[str, Any] | None:
    """The object in a small JSON file of a container; None where there is no such file, or no object in it.

    Raises:
        NeuropilError: the file cannot be read, or is no JSON.
    """
    text = read_bytes(container, key)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        raise NeuropilError(f"{container}/{key} is damaged: it holds no JSON") from None
    return value if isinstance(value, dict) else None


def read_bytes(container: str, key: str) -> bytes | None:
    """The bytes of a file of a container; None where there is no such file.

    Raises:
        NeuropilError: the file cannot be read.
    """
    if is_zip(container):
        return member(container, key)
    return _load(container, key) if in_folder(container) else _fetch(container, key)


def exists(container: str, key: str) -> bool:
    """Whether a container holds a file of this name."""
    if is_zip(container):
        return has_member(container, key)
    if not in_folder(container):
        return bool(_ask(container, key).state == "value")
    return _place(container, key).is_file()


def read_end(container: str, key: str, size: int, at_end: bool = True) -> bytes:
    """The last ``size`` bytes of a local file, or the first ones; all bytes of a shorter file.

    Raises:
        NeuropilError: the file cannot be read.
    """
    if is_zip(container):
        data = member(container, key) or b""
        return data[-size:] if at_end else data[:size]
    try:
        with _place(container, key).open("rb") as file:
            whole = file.seek(0, os.SEEK_END)
            file.seek(max(whole - size, 0) if at_end else 0)
            return file.read(size)
    except OSError as error:
        raise NeuropilError(f"cannot read {container}/{key}: {error.strerror}") from None


def is_folder(container: str, key: str) -> bool:
    """Whether a local container has a folder of this name."""
    if is_zip(container):
        return any(name.startswith(f"{key}/") for name in members(container))
    return in_folder(container) and _place(container, key).is_dir()


def array_files(container: str, name: str) -> Iterator[str]:
    """The files of an array, by their names within its folder; hidden folders are left out.

    Raises:
        NeuropilError: a link that leads out of the container.
    """
    if is_zip(container):
        start = f"{name}/" if name else ""
        yield from (key.removeprefix(start) for key in members(container) if key.startswith(start))
        return
    yield from _walk(container, os.path.join(container, name), "")


def _walk(container: str, folder: str, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                check_link(container, entry.path)
                if not os.path.exists(entry.path) or is_inside(Path(folder), Path(entry.path)):
                    continue  # broken or circular
            if not entry.is_dir():
                yield prefix + entry.name
            elif not entry.name.startswith("."):
                yield from _walk(container, entry.path, f"{prefix}{entry.name}/")


def _place(container: str, key: str) -> Path:
    """A file or folder of a local container."""
    folder = Path(kvstore(container)["path"])
    return check_link(folder, folder / key)


def _load(container: str, key: str) -> bytes | None:
    try:
        return _place(container, key).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise NeuropilError(f"cannot read {container}/{key}: {error.strerror}") from None


def _fetch(container: str, key: str) -> bytes | None:
    found = _ask(container, key)
    return found.value if found.state == "value" else None


def _ask(container: str, key: str) -> Any:
    import tensorstore as ts

    try:
        store = ts.KvStore.open(kvstore(container), context=context()).result(timeout=_PATIENCE)
        return store.read(key).result(timeout=_PATIENCE)
    except TimeoutError:
        raise NeuropilError(f"no answer from {container} within {_PATIENCE:.0f} s") from None
    except ValueError as error:
        raise NeuropilError(f"cannot read {container}: {first_line(error)}") from None


def write_json(container: str, key: str, value: Any) -> None:
    """Write a small JSON file into a container."""
    import tensorstore as ts

    ts.KvStore.open(kvstore(container), context=context()).result().write(key, json.dumps(value).encode()).result()


def stamp_described(location: Location, names: Sequence[str]) -> Stamp:
    """A value that changes when the array is rewritten: size and modification time of its metadata file; in a bucket or
    on a server the generation and a digest of that file. Chunks do not count: rewriting one changes nothing.

    The generation is a number in Google's buckets, and elsewhere the ETag, which S3 makes from the file's content. If a
    server gives none, only the digest counts: then an array rewritten with equal metadata looks unchanged.

    Args:
        location: of the array, or of the container that holds it alone.
        names: names that the metadata file may have; the first one that exists is used.

    Returns:
        the stamp; empty where there is no metadata file.

    Raises:
        NeuropilError: the file cannot be read.
    """
    array = location.array.strip("/")
    if is_zip(location.container):
        return stamp_first([Path(location.container)])
    if not location.remote:
        container = Path(location.container)
        found = [folder / name for folder in (container / array, container) for name in names]
        return stamp_first(found)
    for name in names:
        key = f"{array}/{name}" if array else name
        answer = _ask(location.container, key)
        if answer.state == "value":
            return [[name, answer.stamp.generation.hex(), sha256(answer.value).hexdigest()[:16]]]
    return []
