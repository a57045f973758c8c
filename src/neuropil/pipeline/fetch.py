"""The verb ``fetch``: download the public SNEMI3D data set once, and find it on disk.

The stack is mouse cortex at 30×6×6 nm (Kasthuri et al. 2015, https://doi.org/10.1016/j.cell.2015.06.054), published
for the SNEMI3D challenge, and as Zenodo record 7142003 under CC-BY 4.0.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError

from neuropil.errors import NeuropilError
from neuropil.geometry import Box, VoxelSize
from neuropil.progress import ProgressDisplay

SNEMI3D_URL = "https://zenodo.org/records/7142003/files/snemi.zip"
"""The default source; an argument or ``NEUROPIL_SNEMI3D_URL`` replaces it."""

SNEMI3D_MD5 = "3d25a7025f66698f33c7850ace885939"

_LAYOUT = ("image/test-input.tif", "seg/train-labels.tif", "image/train-input.tif")
"""Files of a complete folder, in the order in which they are moved into it."""

_ARRAYS = ("image.h5", "labels_z000-099.h5")
"""The same stack as HDF5."""

_OLDER = "labels_z000-079.h5"
"""Labels of sections 0–79 only, without the test sections."""

_TRAIN, _VALIDATION, _TEST = (Box((a, 0, 0), (b, 1024, 1024)) for a, b in ((0, 60), (60, 80), (80, 100)))

_CHUNK = 1 << 20  # bytes

_OTHERWISE = "check the network, name another source with NEUROPIL_SNEMI3D_URL, or point NEUROPIL_DATA at a copy"


@dataclass(frozen=True)
class Snemi3d:
    """Paths of the SNEMI3D stack, and its division into training, validation and test."""

    image: str
    labels: str
    voxel_size: VoxelSize = (30.0, 6.0, 6.0)
    train: Box = _TRAIN
    validation: Box = _VALIDATION
    """Sections on which recipe, checkpoint and threshold are chosen."""
    test: Box = _TEST
    """Sections on which scores are reported."""


def fetch(
    dataset: str = "snemi3d", folder: str | Path | None = None, *, url: str | None = None, md5: str | None = None
) -> Path:
    """Download a data set, verify its checksum and unpack it; do nothing if the folder is already complete.

    Args:
        dataset: ``"snemi3d"``, the only one.
        folder: where to put it; by default ``neuropil/snemi3d`` in the user's cache.
        url: another source; by default ``$NEUROPIL_SNEMI3D_URL``, else Zenodo.
        md5: checksum of the zip, in hexadecimal, if it is another file than Zenodo's.

    Returns:
        The folder, with ``image/train-input.tif``, ``seg/train-labels.tif`` and ``image/test-input.tif``. Incomplete
        files never have these names.

    Raises:
        NeuropilError: unknown name, no network, a wrong checksum, a zip without these files, no room on the disk.
    """
    if dataset != "snemi3d":
        raise NeuropilError(f"the only data set to fetch is snemi3d, got {dataset!r}")
    target = Path(folder) if folder is not None else _cache()
    if all((target / name).is_file() for name in _LAYOUT):
        return target
    source = url or os.environ.get("NEUROPIL_SNEMI3D_URL") or SNEMI3D_URL
    with _staging(target) as stage:
        archive = stage / "download.zip"
        _download(source, archive, (md5 or SNEMI3D_MD5).lower())
        _unzip(archive, stage, source)
        for name in _LAYOUT:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(stage / PurePosixPath(name).name, target / name)
    return target


def find_snemi3d(data: str | Path | None = None) -> Snemi3d | None:
    """Look for SNEMI3D in ``data``, else in ``$NEUROPIL_DATA``, else in the cache; None if it is in none of them.

    A folder counts if it is, or contains as ``snemi3d/``, either ``image.h5`` and ``labels_z000-099.h5`` (arrays
    ``main``) or the download's ``image/train-input.tif`` and ``seg/train-labels.tif``. Nothing is opened.

    Raises:
        NeuropilError: ``data`` was given and is no such folder, ``$NEUROPIL_DATA`` does not exist, or a folder with
            the labels of sections 0–79 alone.

    >>> Snemi3d("a/image.h5/main", "a/labels_z000-099.h5/main").test.shape
    (20, 1024, 1024)
    """
    if data is not None:
        found = _in_folder(Path(data))
        if found is None:
            raise NeuropilError(
                f"expected SNEMI3D in {data}: a folder that is, or contains as snemi3d/, either {' + '.join(_ARRAYS)} "
                f"or {_LAYOUT[2]} + {_LAYOUT[1]}; `neuropil fetch snemi3d {data}` puts it there"
            )
        return found
    named = os.environ.get("NEUROPIL_DATA")
    if named and not Path(named).is_dir():
        raise NeuropilError(f"NEUROPIL_DATA names {named}, which is no folder; correct or unset it")
    found = _in_folder(Path(named)) if named else None
    return found or _in_folder(_cache())


def _in_folder(folder: Path) -> Snemi3d | None:
    for here in (folder, folder / "snemi3d"):
        image, labels = (here / name for name in _ARRAYS)
        if image.is_file() and labels.is_file():
            return Snemi3d(f"{image}/main", f"{labels}/main")
        image, labels = here / _LAYOUT[2], here / _LAYOUT[1]
        if image.is_file() and labels.is_file():
            return Snemi3d(str(image), str(labels))
        if (here / _ARRAYS[0]).is_file() and (here / _OLDER).is_file():
            raise NeuropilError(
                f"expected {_ARRAYS[1]}, the labels of all 100 sections, got {_OLDER} alone, in {here}; "
                f"scores are reported on sections 80-99: `neuropil fetch snemi3d {here}` gets them"
            )
    return None


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neuropil" / "snemi3d"


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A temporary folder inside ``target``, so that files are moved by renaming; removed at the end."""
    stage = None
    try:
        target.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".fetch-", dir=target))
        yield stage
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(target).free / 2**20
            raise NeuropilError(
                f"the disk is full: {target} has {free:.0f} MiB left, SNEMI3D needs about 600 while it is unpacked; "
                "make room or name another folder"
            ) from error
        raise NeuropilError(f"cannot write to {target}: {error.strerror or error}; name another folder") from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)


def _download(url: str, archive: Path, md5: str) -> None:
    """Download ``url`` to ``archive`` with a progress bar, and verify size and checksum."""
    digest = hashlib.md5(usedforsecurity=False)
    received = 0
    with _connection(url) as (response, size), ProgressDisplay("bytes") as progress, archive.open("wb") as file:
        while chunk := _receive(response, url):
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            if size is not None:
                progress("downloading", received, size)
    if size is not None and received < size:
        raise NeuropilError(f"{url}: the connection broke after {received} of {size} bytes; try again")
    if digest.hexdigest() != md5:
        raise NeuropilError(
            f"{url} has the wrong checksum: expected md5 {md5}, got {digest.hexdigest()} ({received} bytes); "
            "try again, or name another source with NEUROPIL_SNEMI3D_URL"
        )


@contextmanager
def _connection(url: str) -> Iterator[tuple[HTTPResponse, int | None]]:
    """An open connection, and its Content-Length in bytes, None if it has none."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "neuropil"})
        response = urllib.request.urlopen(request, timeout=30)
    except HTTPError as error:
        raise NeuropilError(f"{url} answered {error.code} {error.reason}; {_OTHERWISE}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise NeuropilError(f"cannot reach {url}: {getattr(error, 'reason', error)}; {_OTHERWISE}") from error
    with response:
        promised = response.headers.get("Content-Length")
        yield response, int(promised) if promised and promised.isdigit() else None


def _receive(response: HTTPResponse, url: str) -> bytes:
    try:
        return response.read(_CHUNK)
    except (HTTPException, OSError) as error:
        raise NeuropilError(f"{url}: the connection broke: {error or type(error).__name__}; try again") from error


def _unzip(archive: Path, stage: Path, url: str) -> None:
    """Extract the known files by name, from any folder of the zip; nothing else is written."""
    try:
        with zipfile.ZipFile(archive) as bundle:
            members = {PurePosixPath(name).name: name for name in bundle.namelist() if "__MACOSX" not in name}
            for name in (PurePosixPath(path).name for path in _LAYOUT):
                if name not in members:
                    raise NeuropilError(f"{url} has no {name}, only {', '.join(sorted(members)) or 'nothing'}")
                with bundle.open(members[name]) as packed, (stage / name).open("wb") as file:
                    shutil.copyfileobj(packed, file, _CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise NeuropilError(f"{url} is no valid zip file: {error}") from error
