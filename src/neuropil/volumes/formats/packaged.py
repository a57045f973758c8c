"""Arrays read by other packages (NIfTI, NRRD, MRC) as volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.arrangement import arrange
from neuropil.volumes.formats.base import Location
from neuropil.volumes.metadata import DIRECTIONS, Metadata
from neuropil.volumes.volume import ArrayStore, Mode, Volume, arranged, first_line


def read_only_file(location: Location, mode: Mode, package: str) -> str:
    """The path of a file, after checks that it exists, is only read, and that ``package`` is installed.

    Raises:
        NeuropilError: a mode other than ``r``, no such file, or no such package.
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
    """Turn any exception of a package over a damaged file into a NeuropilError."""
    try:
        yield
    except NeuropilError:
        raise
    except Exception as error:
        raise NeuropilError(f"cannot read {path}: {first_line(error)}; is it damaged or truncated?") from None


def presented(path: str, array: Any, names: Sequence[str] | None, metadata: Metadata) -> Volume:
    """A volume over an array in memory or a memory map, with its axes reordered to z, y, x."""
    arrangement = arrange(array.shape, names, path)
    return Volume(path, arranged(ArrayStore(array), arrangement), metadata, "r")


def directed(metadata: Metadata, steps: Sequence[float], space: str, path: str) -> Metadata:
    """Add the directions of the axes to metadata. With a negative direction voxels are read as stored, and the origin
    is dropped.

    Args:
        metadata: as the file has it.
        steps: from one voxel to the next along z, y, x; negative where the file counts backwards.
        space: anatomical directions of x, y and z, such as ``LPS`` or ``left-posterior-superior``; else + and -.
        path: names the file in messages.

    >>> directed(Metadata(), (30, 6, 6), "LPS", "a.nrrd").extra
    {'axis_directions': ['S', 'P', 'L']}
    """
    words = space.split("-") if "-" in space else list(space)
    ends = [word[:1].upper() for word in words[:3]][::-1]
    opposite = dict(zip("LRAPSI", "RLPAIS", strict=True))
    if len(ends) == 3 and set(ends) <= set(opposite):
        leads = [end if n > 0 else opposite[end] for end, n in zip(ends, steps, strict=True)]
    else:
        leads = ["+" if n > 0 else "-" for n in steps]
    backwards = [axis for axis, n in zip("zyx", steps, strict=True) if n < 0]
    if backwards:
        tell(
            f"{path} counts {', '.join(backwards)} backwards; its voxels are read in the order in which they are "
            "stored, and its position is not used"
        )
        metadata = replace(metadata, origin=None, shift=None)
    return replace(metadata, extra={**metadata.extra, DIRECTIONS: leads})
