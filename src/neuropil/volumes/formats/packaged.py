"""Shared by the formats that other packages read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neuropil.errors import NeuropilError
from neuropil.volumes.arrangement import arrange
from neuropil.volumes.formats.base import Location
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import ArrayStore, Mode, Volume, arranged, first_line


def read_only_file(location: Location, mode: Mode, package: str) -> str:
    """The path of a file that is there, to be read with a package that is installed.

    Raises:
        NeuropilError: to be written, not there, or without the package.
    """
    path = location.whole_file()
    if mode != "r":
        raise NeuropilError(f"{location.format.title} is opened to read only here: {path}; write .zarr or .h5")
    if not Path(path).is_file():
        raise NeuropilError(f"no such file: {path}")
    if find_spec(package) is None:
        raise NeuropilError(f"{path} is read with {package}; install it (pip install 'neuropil[formats]')")
    return path


@contextmanager
def damage_told(path: str) -> Iterator[None]:
    """Whatever a package stumbles over in a damaged file becomes one error."""
    try:
        yield
    except NeuropilError:
        raise
    except Exception as error:
        raise NeuropilError(f"cannot read {path}: {first_line(error)}; is it damaged or truncated?") from None


def presented(path: str, array: Any, names: Sequence[str] | None, metadata: Metadata) -> Volume:
    """An array in memory or mapped, with its axes turned to z, y, x."""
    arrangement = arrange(array.shape, names, path)
    return Volume(path, arranged(ArrayStore(array), arrangement), metadata, "r")
