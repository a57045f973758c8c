"""Parse paths: which file, bucket or stack of sections, in which format, and which array inside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from neuropil.errors import NeuropilError
from neuropil.inputs import expect_file
from neuropil.volumes.formats import FORMATS, Format, Location, sections
from neuropil.volumes.formats.numbering import is_pattern

_BY_SUFFIX = {suffix: form for form in FORMATS for suffix in form.suffixes}
_BY_SCHEME = {scheme: form for form in FORMATS for scheme in form.schemes}
_KNOWN = (
    f"{' '.join(suffix for form in FORMATS for suffix in form.suffixes)}, a pattern such as dir/*.png, "
    "or a URL such as precomputed://…"
)
_FIJI = "open it in Fiji and save it as TIFF"
_ELSEWHERE = {
    **dict.fromkeys((".dm3", ".dm4", ".am", ".gif", ".czi", ".lif", ".nd2", ".ims", ".dcm", ".bmp", ".mha"), _FIJI),
    **dict.fromkeys((".mhd", ".jp2", ".webp", ".pgm", ".img", ".hdr", ".ser"), _FIJI),
    **dict.fromkeys((".vsv", ".vsvi", ".vss"), "export an image stack from VAST"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst"), "decompress it first (gunzip, bunzip2, unxz, unzstd)"),
    ".raw": "it does not say shape and type: import it in Fiji (Import > Raw) and save it as TIFF",
    ".npz": "take the array out: numpy.save('a.npy', numpy.load('a.npz')['NAME'])",
    ".xml": "of BigDataViewer, name the .h5 or .n5 next to it, with the array inside",
    ".wkw": "export the dataset from WEBKNOSSOS as Zarr",
}
"""What to do with files of other programs that are not read."""
_KNOSSOS = "a KNOSSOS dataset: import it into WEBKNOSSOS and export it as Zarr"
_FOLDERS = {
    "header.wkw": "a WEBKNOSSOS dataset (wkw): export it from there as Zarr",
    "knossos.conf": _KNOSSOS,
    "x0000": _KNOSSOS,
    "datasource-properties.json": "a WEBKNOSSOS dataset: name an array in it, such as color/1",
}
"""What folders are that hold a file of this name, in them or up to two folders below."""
_BUCKETS = ("s3", "gs", "http", "https")


def output_config(path: str | Path) -> Path | None:
    """Where the config that made an output is left: ``a.zarr.yaml``, or ``a.h5.main.yaml`` where an array is named.

    None for an output in a bucket, which carries its settings in its attributes alone.

    >>> output_config("run/a.zarr")
    PosixPath('run/a.zarr.yaml')
    """
    location = parse_location(path)
    if location.remote or "*" in location.container:
        return None
    array = "." + location.array.replace("/", "_") if location.array else ""
    return Path(f"{location.container.rstrip('/')}{array}.yaml")


def absolute_path(path: str | Path) -> str:
    """An absolute path, for processes with another working folder; a URL stays as it is.

    >>> absolute_path("s3://bucket/a.zarr"), absolute_path("/data/a.h5/main")
    ('s3://bucket/a.zarr', '/data/a.h5/main')
    """
    location = parse_location(path)
    if location.remote:
        return str(path)
    there = replace(location, container=str(Path(location.container).absolute()))
    # With a folder above whose name has a known extension the absolute path would be parsed differently.
    return there.path if parse_location(there.path) == there else str(path)


def parse_location(path: str | Path) -> Location:
    """Parse a path or URL into format, container and array.

    Raises:
        NeuropilError: no such file and no known extension for a new one, or an unknown extension.

    >>> found = parse_location("data/a.h5/volumes/raw")
    >>> str(found.format), found.container, found.array
    ('hdf5', 'data/a.h5', 'volumes/raw')
    >>> parse_location("precomputed://gs://bucket/image").container
    'gs://bucket/image'
    """
    text = str(path)
    if not text.strip():
        raise NeuropilError("expected a path, got an empty one")
    scheme, _, rest = text.partition("://")
    _expect_file(rest if rest and scheme in (*_BY_SCHEME, "file") else text)
    if rest and scheme in _BY_SCHEME:
        return _parse_prefixed(scheme, rest)
    if rest and scheme == "file":
        return parse_location(_local(text))
    if rest:
        return _parse_url(text)
    if is_pattern(text) and not Path(text).exists():
        if Path(text).suffix.lower() not in sections.PATTERNS:
            known = ", ".join(sections.PATTERNS)
            raise NeuropilError(f"expected a pattern of sections ({known}) such as dir/*.png, got {text}")
        return Location(sections.FORMAT, text)
    return _by_suffix(text) or _by_content(text)


def _expect_file(path: str) -> None:
    """Refuse devices and impossible names, in the path and in all its parents."""
    if "://" in path:
        return
    place = Path(path)
    for file in (place, *place.parents):
        expect_file(file)


def _parse_prefixed(scheme: str, rest: str) -> Location:
    """Parse a path or URL that begins with the name of its format."""
    form = _BY_SCHEME[scheme]
    place, _, remainder = rest.partition("://")
    if place == "file":
        rest = _local(rest)
    elif remainder and place not in _BUCKETS:
        raise NeuropilError(f"expected s3://, gs://, http://, https://, file:// or a local path, got {rest}")
    here = Path(rest)
    if not here.is_dir() and any((here.parent / marker).is_file() for marker in form.markers):
        return Location(form, str(here.parent), here.name, scheme)
    found = _split(rest)
    if found is not None and found[0] is form:
        return Location(*found, scheme)
    return Location(form, rest.rstrip("/"), "", scheme)


def _parse_url(url: str) -> Location:
    scheme = url.partition("://")[0]
    if scheme not in _BUCKETS:
        raise NeuropilError(f"expected a path or a URL of s3, gs, http, https, file or precomputed, got {url}")
    found = _split(url)
    if found is not None and found[0].schemes:
        return Location(*found)
    if found is not None:
        raise NeuropilError(f"URLs are read as Zarr, N5 or precomputed; download {url} first")
    raise NeuropilError(f"the format of {url} cannot be seen; write precomputed://{url}, zarr://{url} or n5://{url}")


def _by_suffix(text: str) -> Location | None:
    found = _split(text)
    return None if found is None else Location(*found)


def _split(text: str) -> tuple[Format, str, str] | None:
    """Split after the first part with a known suffix; a temporary `.partial` after it is ignored."""
    parts = text.rstrip("/").split("/")
    for i, part in enumerate(parts):
        name = PurePosixPath(part.removesuffix(".partial"))
        form = _BY_SUFFIX.get("".join(name.suffixes[-2:]).lower()) or _BY_SUFFIX.get(name.suffix.lower())
        last = i == len(parts) - 1
        if form is not None and (form.several or last):
            return form, "/".join(parts[: i + 1]), "/".join(parts[i + 1 :])
    return None


def _by_content(text: str) -> Location:
    place = Path(text)
    for folder in (place, *place.parents):
        if folder.is_file():
            inside = place.relative_to(folder).as_posix().removeprefix(".")
            return Location(_sniff(folder), str(folder), inside)
        for form in FORMATS:
            if any((folder / marker).is_file() for marker in form.markers):
                return Location(form, str(folder), place.relative_to(folder).as_posix().removeprefix("."))
    if place.is_dir():
        for marker, what in _FOLDERS.items():
            if any(next(place.glob(f"{below}{marker}"), None) for below in ("", "*/", "*/*/")):
                raise NeuropilError(f"{text} is {what}")
        raise NeuropilError(
            f"{text} is a folder; name the sections in it by a pattern, such as {text.rstrip('/')}/*.png"
        )
    known = _ELSEWHERE.get(place.suffix.lower(), f"known are {_KNOWN}")
    if place.suffix:
        raise NeuropilError(f"unknown extension {place.suffix!r} in {text}; {known}")
    raise NeuropilError(f"no such file: {text}, and no extension that tells a format; {known}")


def _sniff(file: Path) -> Format:
    try:
        with file.open("rb") as opened:
            head = opened.read(8)
    except OSError as error:
        raise NeuropilError(f"cannot read {file}: {error.strerror}") from None
    for form in FORMATS:
        if head.startswith(form.signatures):
            return form
    todo = _ELSEWHERE.get(file.suffix.lower(), f"known are {_KNOWN}")
    raise NeuropilError(f"unknown extension {file.suffix!r} in {file}; {todo}")


def _local(url: str) -> str:
    return unquote(urlsplit(url).path)
