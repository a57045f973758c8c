"""What a path means: which file, bucket or stack of sections, in which format, and which array inside."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from neuropil.errors import NeuropilError

Format = Literal["hdf5", "tiff", "sections", "tiles", "zarr", "zarr2", "n5", "precomputed"]
"""zarr is version 3 when written, either one when read; zarr2 writes version 2."""

_SUFFIXES: dict[str, Format] = {
    "h5": "hdf5",
    "hdf5": "hdf5",
    "hdf": "hdf5",
    "tif": "tiff",
    "tiff": "tiff",
    "png": "sections",
    "json": "tiles",
    "zarr": "zarr",
    "n5": "n5",
    "precomputed": "precomputed",
}
_MARKERS: dict[str, Format] = {
    "zarr.json": "zarr",
    ".zarray": "zarr",
    ".zgroup": "zarr",
    "info": "precomputed",
    "attributes.json": "n5",
}
_SIGNATURES: dict[bytes, Format] = {
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
_PREFIXES: dict[str, Format] = {
    "precomputed": "precomputed",
    "zarr": "zarr",
    "zarr2": "zarr2",
    "zarr3": "zarr",
    "n5": "n5",
}
_KNOWN = (
    ".h5 .hdf5 .hdf .tif .tiff .zarr .n5 .precomputed, a pattern such as dir/*.png, a .json that lists tiles, "
    "or a URL such as precomputed://…"
)


@dataclass(frozen=True)
class Location:
    """A place for an array: ``container`` is a local path, a pattern or a URL; ``array`` is "" where none is named."""

    format: Format
    container: str
    array: str = ""

    @property
    def remote(self) -> bool:
        """In a bucket or on a web server rather than in the local file system."""
        return "://" in self.container

    @property
    def path(self) -> str:
        """As a user would type it, to be opened again."""
        inside = "/".join(part for part in (self.container.rstrip("/"), self.array) if part)
        if self.format in ("hdf5", "tiff", "sections", "tiles"):
            return inside
        found = _split(inside)
        told = found is not None and found[0] == self.format and found[1] == self.container.rstrip("/")
        return inside if told else f"{self.format}://{inside}"


def config_beside(path: str | Path) -> Path | None:
    """Where the config that made an output is left: ``a.zarr.yaml``, or ``a.h5.main.yaml`` where an array is named.

    None for an output in a bucket, which carries its settings in its attributes alone.

    >>> config_beside("run/a.zarr")
    PosixPath('run/a.zarr.yaml')
    """
    location = parse_location(path)
    if location.remote or "*" in location.container:
        return None
    array = "." + location.array.replace("/", "_") if location.array else ""
    return Path(f"{location.container.rstrip('/')}{array}.yaml")


def absolute_path(path: str | Path) -> str:
    """The same place for processes that were started in other folders; a URL stays what it is.

    >>> absolute_path("s3://bucket/a.zarr"), absolute_path("/data/a.h5/main")
    ('s3://bucket/a.zarr', '/data/a.h5/main')
    """
    location = parse_location(path)
    if location.remote:
        return str(path)
    there = replace(location, container=str(Path(location.container).absolute()))
    # A folder above may have a name that reads otherwise, such as one with an extension that is known.
    return there.path if parse_location(there.path) == there else str(path)


def parse_location(path: str | Path) -> Location:
    """Take a path or URL apart.

    Raises:
        NeuropilError: no such file and no known extension to make one, or an extension that is not known.

    >>> parse_location("data/a.h5/volumes/raw")
    Location(format='hdf5', container='data/a.h5', array='volumes/raw')
    >>> parse_location("precomputed://gs://bucket/image").container
    'gs://bucket/image'
    """
    text = str(path)
    if not text.strip():
        raise NeuropilError("expected a path, got an empty one")
    scheme, _, rest = text.partition("://")
    if rest and scheme in _PREFIXES:
        return _parse_prefixed(_PREFIXES[scheme], rest)
    if rest and scheme == "file":
        return parse_location(_local(text))
    if rest:
        return _parse_url(text)
    if re.search(r"[*?\[]", text) and not Path(text).exists():
        if Path(text).suffix.lower() not in (".png", ".tif", ".tiff"):
            raise NeuropilError(f"expected a pattern of .png, .tif or .tiff sections such as dir/*.png, got {text}")
        return Location("sections", text)
    return _by_suffix(text) or _by_content(text)


def nearest(name: str, names: list[str]) -> str:
    """`` (did you mean …?)`` where one of the names is like ``name``, else nothing.

    >>> nearest("mian", ["main", "labels"])
    ' (did you mean main?)'
    """
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _parse_prefixed(form: Format, rest: str) -> Location:
    scheme, _, remainder = rest.partition("://")
    if scheme == "file":
        rest = _local(rest)
    elif remainder and scheme not in ("s3", "gs", "http", "https"):
        raise NeuropilError(f"expected s3://, gs://, http://, https://, file:// or a local path, got {rest}")
    if form == "precomputed":
        return _precomputed(rest)
    found = _split(rest)
    if found is not None and found[0] in ("zarr", "n5"):
        return Location(form, found[1], found[2])
    return Location(form, rest.rstrip("/"))


def _precomputed(rest: str) -> Location:
    """The whole path is the container, unless its last part is a scale inside one that is here."""
    place = Path(rest)
    if not place.is_dir() and (place.parent / "info").is_file():
        return Location("precomputed", str(place.parent), place.name)
    return Location("precomputed", rest.rstrip("/"))


def _parse_url(url: str) -> Location:
    scheme = url.partition("://")[0]
    if scheme not in ("s3", "gs", "http", "https"):
        raise NeuropilError(f"expected a path or a URL of s3, gs, http, https, file or precomputed, got {url}")
    found = _split(url)
    if found is not None and found[0] in ("zarr", "n5", "precomputed"):
        return Location(*found)
    if found is not None:
        raise NeuropilError(f"URLs are read as Zarr, N5 or precomputed; download {url} first")
    raise NeuropilError(f"the format of {url} cannot be seen; write precomputed://{url}, zarr://{url} or n5://{url}")


def _by_suffix(text: str) -> Location | None:
    found = _split(text)
    return None if found is None else Location(*found)


def _split(text: str) -> tuple[Format, str, str] | None:
    """Cut behind the first part with a known suffix; a temporary `.partial` after it is let through."""
    parts = text.rstrip("/").split("/")
    for i, part in enumerate(parts):
        suffix = PurePosixPath(part.removesuffix(".partial")).suffix.lower().removeprefix(".")
        last = i == len(parts) - 1
        if suffix in _SUFFIXES and not (_SUFFIXES[suffix] in ("tiff", "sections", "tiles") and not last):
            return _SUFFIXES[suffix], "/".join(parts[: i + 1]), "/".join(parts[i + 1 :])
    return None


def _by_content(text: str) -> Location:
    place = Path(text)
    for folder in (place, *place.parents):
        if folder.is_file():
            inside = place.relative_to(folder).as_posix().removeprefix(".")
            return Location(_sniff(folder), str(folder), inside)
        for marker, form in _MARKERS.items():
            if (folder / marker).is_file():
                return Location(form, str(folder), place.relative_to(folder).as_posix().removeprefix("."))
    if place.is_dir():
        raise NeuropilError(
            f"{text} is a folder; name the sections in it by a pattern, such as {text.rstrip('/')}/*.png"
        )
    known = f"known are {_KNOWN}"
    if place.suffix:
        raise NeuropilError(f"unknown extension {place.suffix!r} in {text}; {known}")
    raise NeuropilError(f"no such file: {text}, and no extension that tells a format; {known}")


def _sniff(file: Path) -> Format:
    try:
        with file.open("rb") as opened:
            head = opened.read(8)
    except OSError as error:
        raise NeuropilError(f"cannot read {file}: {error.strerror}") from None
    for signature, form in _SIGNATURES.items():
        if head.startswith(signature):
            return form
    raise NeuropilError(f"unknown extension {file.suffix!r} in {file}; known are {_KNOWN}")


def _local(url: str) -> str:
    return unquote(urlsplit(url).path)
