"""The folder, bucket or web server that a chunked array lies in: its small files, and which arrays they describe."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorstore as ts

from neuropil.errors import NeuropilError
from neuropil.volumes.arrays import Listed
from neuropil.volumes.volume import first_line

Driver = Literal["zarr3", "zarr", "n5", "neuroglancer_precomputed"]
"""TensorStore's name of a format."""

_CONTEXT = {
    "file_io_sync": False,  # outputs are renamed when complete; waiting for the disk at each chunk is ten times slower
    "cache_pool": {"total_bytes_limit": 0},
    "http_request_retries": {"max_retries": 3, "initial_delay": "200ms", "max_delay": "1s"},
    "s3_request_retries": {"max_retries": 3, "initial_delay": "200ms", "max_delay": "1s"},
    "gcs_request_retries": {"max_retries": 3, "initial_delay": "200ms", "max_delay": "1s"},
}
_PATIENCE = 60.0  # seconds for a small file of a bucket


@cache
def context() -> Any:
    """TensorStore's settings; one for all, since it holds the threads that read and write."""
    return ts.Context(_CONTEXT)


def kvstore(container: str, array: str = "") -> Any:
    """TensorStore's form of a place: a local folder or a URL."""
    inside = f"{array.strip('/')}/" if array.strip("/") else ""
    if "://" in container:
        return f"{container.rstrip('/')}/{inside}"
    return {"driver": "file", "path": f"{Path(container).absolute()}/{inside}"}


def read_json(container: str, key: str) -> dict[str, Any] | None:
    """A small JSON file of a container; None where there is none.

    Raises:
        NeuropilError: it cannot be read, or is no JSON.
    """
    text = _fetch(container, key) if isinstance(kvstore(container), str) else _load(container, key)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        raise NeuropilError(f"{container}/{key} is damaged: it holds no JSON") from None
    return value if isinstance(value, dict) else None


def _load(container: str, key: str) -> bytes | None:
    try:
        return Path(kvstore(container)["path"], key).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise NeuropilError(f"cannot read {container}/{key}: {error.strerror}") from None


def _fetch(container: str, key: str) -> bytes | None:
    found = _ask(container, key)
    return found.value if found.state == "value" else None


def _ask(container: str, key: str) -> Any:
    try:
        store = ts.KvStore.open(kvstore(container), context=context()).result(timeout=_PATIENCE)
        return store.read(key).result(timeout=_PATIENCE)
    except TimeoutError:
        raise NeuropilError(f"no answer from {container} within {_PATIENCE:.0f} s") from None
    except ValueError as error:
        raise NeuropilError(f"cannot read {container}: {first_line(error)}") from None


def stamp(container: str, array: str, form: str) -> str:
    """What is another once the array has been written anew: the generation of the file that describes it, as the bucket
    or server tells it, and a digest of that file.

    The generation is a number in Google's buckets, and elsewhere the ETag, which S3 makes from the file's content. A
    server that gives none leaves the digest: then an array made anew with the same description looks the same.

    Args:
        container, array, form: as a :class:`neuropil.volumes.location.Location` has them; a URL.

    Returns:
        the stamp; empty where no file describes an array of that name.

    Raises:
        NeuropilError: it cannot be read.
    """
    at = "" if form == "precomputed" or not array else f"{array.strip('/')}/"
    names = {"precomputed": ("info",), "n5": ("attributes.json",)}.get(form, ("zarr.json", ".zarray"))
    for name in names:
        found = _ask(container, f"{at}{name}")
        if found.state == "value":
            return f"{found.stamp.generation.hex()}-{sha256(found.value).hexdigest()[:16]}"
    return ""


def array_json(container: str, array: str, form: str) -> tuple[Driver, dict[str, Any]] | None:
    """The file that describes an array, and its format; None where there is no array of that name."""
    at = f"{array}/" if array else ""
    if form == "n5":
        found = read_json(container, f"{at}attributes.json")
        return ("n5", found) if found is not None and "dimensions" in found else None
    found = read_json(container, f"{at}zarr.json")
    if found is not None and found.get("node_type") == "array":
        return "zarr3", found
    found = read_json(container, f"{at}.zarray")
    return ("zarr", found) if found is not None else None


def attributes(container: str, name: str) -> dict[str, Any]:
    """Attributes of a Zarr array or group, version 3 or 2."""
    at = f"{name}/" if name else ""
    found = read_json(container, f"{at}zarr.json")
    if found is not None:
        return dict(found.get("attributes", {}))
    return read_json(container, f"{at}.zattrs") or {}


def list_arrays(container: str, form: str) -> dict[str, Listed]:
    """Shape and dtype of every array in a container, by name: from the folder, or from what Zarr keeps consolidated.

    Raises:
        NeuropilError: a bucket or server that does not tell.
    """
    if "://" in container:
        return dict(_consolidated(container))
    found = {}
    for folder, names, _ in os.walk(container):
        name = Path(folder).relative_to(container).as_posix().removeprefix(".")
        described = array_json(container, name, form)
        if described is not None:
            found[name] = listed(*described)
        keep = [n for n in sorted(names) if not n.endswith(".partial")]
        names[:] = [] if described is not None else keep  # the chunks of an array are no arrays
    return found


def listed(driver: Driver, described: Mapping[str, Any]) -> Listed:
    """Shape and dtype of an array from the file that describes it."""
    shape = tuple(reversed(described["dimensions"])) if driver == "n5" else tuple(described["shape"])
    name = described.get("data_type", described.get("dataType", described.get("dtype", "V")))
    try:
        return Listed(shape, np.dtype(name))
    except TypeError:
        return Listed(shape, np.dtype("V"))


def _consolidated(container: str) -> Iterator[tuple[str, Listed]]:
    group = read_json(container, "zarr.json") or {}
    for name, node in group.get("consolidated_metadata", {}).get("metadata", {}).items():
        if node.get("node_type") == "array":
            yield name, listed("zarr3", node)
    for key, node in (read_json(container, ".zmetadata") or {}).get("metadata", {}).items():
        if key.endswith("/.zarray"):
            yield key.removesuffix("/.zarray"), listed("zarr", node)
