"""Stacks of image tiles, listed in a JSON file in the form of PyTorch Connectomics' TileDataset."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import check_inside
from neuropil.volumes.formats import tiff
from neuropil.volumes.formats.base import Format, Location, Stamp, list_one, stamp_files
from neuropil.volumes.formats.pages import Pages
from neuropil.volumes.formats.pictures import look, read_picture
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.volume import Index, Mode, ReadOnlyStore, Volume

_NEEDED = ("image", "depth", "height", "width", "tile_size")
_KNOWN = (*_NEEDED, "tile_st", "tile_ratio", "interpolation", "dtype", "background", "voxel_size", "origin")
_DTYPES = ("uint8", "uint16", "uint32", "uint64")
_IDLE = ("n_rows", "n_columns", "ndim")  # redundant keys that other programs write


COUNTED = 100_000
"""Tiles up to which missing ones are counted when a stack is opened."""


@dataclass(frozen=True)
class TileGrid:
    """The content of the JSON file: paths, size and order of the tiles."""

    sections: tuple[str, ...]
    """One path for each section, with ``{row}`` and ``{column}`` in it where there are several tiles."""
    shape: tuple[int, int, int]
    tile: tuple[int, int]
    """Height and width of a tile in voxels of the volume; those at the end of a row or column may be smaller."""
    first: tuple[int, int]
    """Number of the first row and of the first column in the paths."""
    ratio: float
    """Factor by which tiles are resized when they are read."""
    linear: bool
    """Whether resizing interpolates linearly, for images; else the nearest voxel is taken, for ids."""
    background: int
    """Value of missing tiles."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return math.ceil(self.shape[1] / self.tile[0]), math.ceil(self.shape[2] / self.tile[1])

    def file(self, number: int) -> str:
        """The path of a tile; they are counted along x, then y, then z."""
        rows, columns = self.grid
        section, row, column = number // (rows * columns), number // columns % rows, number % columns
        return self.sections[section].format(row=row + self.first[0], column=column + self.first[1])

    def extent(self, number: int) -> tuple[int, int]:
        """Height and width of the part of a tile that lies in the volume."""
        rows, columns = self.grid
        row, column = number // columns % rows, number % columns
        return (
            min(self.tile[0], self.shape[1] - row * self.tile[0]),
            min(self.tile[1], self.shape[2] - column * self.tile[1]),
        )


@dataclass(frozen=True, eq=False)
class TileStore(ReadOnlyStore):
    """Store of tiles, one file each; the last few that were read are kept in memory."""

    tiling: TileGrid
    pages: Pages
    lossy: bool
    """Whether the compression of the tiles may be lossy."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tiling.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pages.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        return (1, *self.tiling.tile)

    def read(self, index: Index) -> npt.NDArray[Any]:
        (z0, z1), (y0, y1), (x0, x1) = ((part.start, part.stop) for part in index)
        out = np.empty((z1 - z0, y1 - y0, x1 - x0), self.dtype)
        (height, width), (rows, columns) = self.tiling.tile, self.tiling.grid
        for z in range(z0, z1):
            for row in range(y0 // height, math.ceil(y1 / height)):
                for column in range(x0 // width, math.ceil(x1 / width)):
                    tile = self.pages.page((z * rows + row) * columns + column)
                    top, left = row * height, column * width
                    bottom, right = top + tile.shape[0], left + tile.shape[1]
                    a, b, c, d = max(y0, top), min(y1, bottom), max(x0, left), min(x1, right)
                    out[z - z0, a - y0 : b - y0, c - x0 : d - x0] = tile[a - top : b - top, c - left : d - left]
        return out


def open_tiles(location: Location, mode: Mode = "r") -> Volume:
    """Open the tiles that a JSON file lists, as `[z, y, x]`; one is read now, the others when they are needed.

    The file holds ``image`` (a path for each section, with ``{row}`` and ``{column}``), ``depth``, ``height``,
    ``width`` and ``tile_size`` (one number, or height and width). It may hold ``tile_st`` (first row and column in the
    paths, 0 by default), ``tile_ratio`` (factor to resize tiles by, 1) with ``interpolation`` (nearest; or linear, for
    images), ``dtype`` (that of the tiles), ``background`` (value where there is no tile, 0), ``voxel_size`` (nm, z y x)
    and ``origin``. Tiles in colour are ids as VAST exports them: 65536·R + 256·G + B.

    Raises:
        NeuropilError: no such file, another form, no tile exists, or a tile lies outside of the folder of the list
            without ``--allow-outside``.
    """
    path = Path(location.container)
    if mode != "r":
        raise NeuropilError(f"tiles are opened to read only: {path}")
    values = _read_json(path)
    tiling = _parse(values, path)
    found = next((f for n in range(min(_count(tiling), 10_000)) if Path(f := tiling.file(n)).is_file()), None)
    if found is None:
        raise NeuropilError(f"no tile of {path} exists; the first would be {tiling.file(0)}")
    check_inside(path, Path(found).absolute(), "a tile")
    _tell_absent(tiling, path)
    first, lossy = _load(found), _is_lossy(found)
    dtype = np.dtype(values["dtype"]) if "dtype" in values else _ids(first, found).dtype
    if first.ndim == 3 and "dtype" not in values:
        out = "ids as VAST exports them; if they are an image, saved in colour, give dtype uint8"
        tell(f"the tiles of {path} are in colour and no dtype is given: they are read as {out}")

    def load(number: int) -> npt.NDArray[Any]:
        file, extent = tiling.file(number), tiling.extent(number)
        if not Path(file).is_file():
            return np.broadcast_to(np.asarray(tiling.background, dtype), extent)
        check_inside(path, Path(file).absolute(), "a tile")
        if _is_lossy(file) and not lossy:
            raise NeuropilError(f"expected lossless tiles, as {found}, got JPEG or another lossy format in {file}")
        tile = _resize(_fit(_ids(_load(file), file), dtype, file), tiling)
        if not all(a <= n <= most for a, n, most in zip(extent, tile.shape, tiling.tile, strict=True)):
            want = tiling.tile
            raise NeuropilError(
                f"expected a tile of {want} voxels, got {tile.shape}, in {file}; see tile_size in {path}"
            )
        return tile[: extent[0], : extent[1]]

    given: dict[str, Any] = {name: values[name] for name in ("voxel_size", "origin") if name in values}
    metadata = Metadata.from_attributes(given, str(path))
    return Volume(str(path), TileStore(tiling, Pages(tiling.tile, dtype, load), lossy), metadata, mode)


def _tell_absent(tiling: TileGrid, path: Path) -> None:
    """Report how many tiles are missing, and the sections without any tile: they are background."""
    if _count(tiling) > COUNTED:
        return
    there = np.array([Path(tiling.file(n)).is_file() for n in range(_count(tiling))]).reshape(len(tiling.sections), -1)
    if there.all():
        return
    empty = np.flatnonzero(~there.any(axis=1)).tolist()
    told = f", all of section {', '.join(map(str, empty[:10]))}{' …' if len(empty) > 10 else ''}" if empty else ""
    absent = int((~there).sum())
    tell(f"{absent} of {there.size} tiles of {path} are missing{told}; they are read as {tiling.background}")


def stamp_tiles(location: Location) -> Stamp:
    """Name, size and modification time of the list and of every tile that exists."""
    path = Path(location.container)
    tiling = _parse(_read_json(path), path)
    return stamp_files([path, *(Path(tiling.file(number)) for number in range(_count(tiling)))])


def _count(tiling: TileGrid) -> int:
    return len(tiling.sections) * math.prod(tiling.grid)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NeuropilError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        raise NeuropilError(f"{path} cannot be read as a JSON list of tiles: {error}") from None
    if not isinstance(values, dict) or any(key not in values for key in _NEEDED):
        raise NeuropilError(f"expected the keys {', '.join(_NEEDED)} of a tiled stack in {path}")
    if unknown := [key for key in values if key not in _KNOWN + _IDLE]:
        raise NeuropilError(f"unknown key {unknown[0]!r} in {path}; known are {', '.join(_KNOWN)}")
    return values


def _parse(values: dict[str, Any], path: Path) -> TileGrid:
    depth, height, width = (_positive(values, key, path) for key in ("depth", "height", "width"))
    given = values["image"]
    if not isinstance(given, list) or len(given) != depth or not all(isinstance(name, str) for name in given):
        raise NeuropilError(f"expected image to be a list of {depth} paths, one for each section, in {path}")
    if values.get("dtype", "uint8") not in _DTYPES:
        raise NeuropilError(f"expected dtype {' or '.join(_DTYPES)}, got {values['dtype']!r}, in {path}")
    tiling = TileGrid(tuple(given), (depth, height, width), *_layout(values, path), values.get("background", 0))
    try:
        tiling.file(0)
    except (KeyError, IndexError, ValueError, AttributeError):
        raise NeuropilError(f"expected paths with {{row}} and {{column}} in them, got {given[0]}, in {path}") from None
    # Relative paths count from the folder of the list, else from the working folder, as in TileDataset.
    near = replace(tiling, sections=tuple(str(path.parent / name) for name in given))
    return near if Path(near.file(0)).parent.is_dir() or not Path(tiling.file(0)).parent.is_dir() else tiling


def _layout(values: dict[str, Any], path: Path) -> tuple[tuple[int, int], tuple[int, int], float, bool]:
    """Size of tiles, number of the first row and column, factor of resizing, and whether that interpolates."""
    size, first = values["tile_size"], values.get("tile_st", [0, 0])
    size = size if isinstance(size, list) else [size, size]
    numbers = [*size, *first] if isinstance(first, list) else []
    if len(size) != 2 or len(numbers) != 4 or not all(type(n) is int for n in numbers) or min(size) < 1:
        raise NeuropilError(
            f"expected tile_size as one or two numbers of voxels and tile_st as two numbers, got {size} and {first}, "
            f"in {path}"
        )
    ratio, how = values.get("tile_ratio", 1), values.get("interpolation", "nearest")
    if type(ratio) not in (int, float) or not 0 < ratio < math.inf or how not in ("nearest", "linear"):
        raise NeuropilError(
            f"expected tile_ratio above 0 and interpolation nearest or linear, got {ratio!r} and {how!r}, in {path}"
        )
    if type(values.get("background", 0)) is not int:
        raise NeuropilError(f"expected background to be a whole number, got {values['background']!r}, in {path}")
    return (size[0], size[1]), (first[0], first[1]), float(ratio), how == "linear"


def _positive(values: dict[str, Any], key: str, path: Path) -> int:
    value = values[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise NeuropilError(f"expected {key} to be a number of voxels, got {value!r}, in {path}")
    return value


def _is_lossy(file: str) -> bool:
    """Whether the compression of a tile may be lossy."""
    if file.lower().endswith(tiff.FORMAT.suffixes):
        return tiff.read_section(file, "segmentation").lossy
    return look(file).lossy


def _load(file: str) -> npt.NDArray[Any]:
    """A tile `[y, x]` or `[y, x, channel]`; colours in TIFF as ids."""
    if file.lower().endswith(tiff.FORMAT.suffixes):
        return tiff.read_section_voxels(file, "segmentation")
    return read_picture(file)


def _ids(tile: npt.NDArray[Any], file: str) -> npt.NDArray[Any]:
    """Grey values as they are, colours as ids; :func:`_fit` makes ids of equal channels grey again."""
    if tile.ndim == 2:
        return tile
    if tile.ndim != 3 or tile.shape[2] not in (1, 3, 4):
        raise NeuropilError(f"expected a tile [y, x], grey or in colour, got shape {tile.shape}, in {file}")
    if tile.shape[2] == 1:
        return tile[..., 0]
    red, green, blue = (tile[..., channel].astype(np.uint32) for channel in range(3))
    return red * 65536 + green * 256 + blue


def _fit(tile: npt.NDArray[Any], dtype: np.dtype[Any], file: str) -> npt.NDArray[Any]:
    """The tile in the dtype of the volume."""
    if tile.dtype == dtype or np.can_cast(tile.dtype, dtype, "safe"):
        return tile.astype(dtype)
    if dtype == np.uint8 and tile.dtype == np.uint32 and bool((tile == (tile & 255) * 0x10101).all()):
        return (tile & 255).astype(dtype)  # grey, saved in colour
    found = tile.astype(dtype) if not tile.size or tile.max() <= np.iinfo(dtype).max else None
    if found is None or (found != tile).any():
        worst = tile.max() if found is None else tile[found != tile][0]
        raise NeuropilError(f"expected values of dtype {dtype}, got {worst} in {file}; name a larger dtype")
    return found


def _resize(tile: npt.NDArray[Any], tiling: TileGrid) -> npt.NDArray[Any]:
    """The tile resized by ``tiling.ratio``, with its corner voxels aligned."""
    if tiling.ratio == 1:
        return tile
    for axis in (0, 1):
        length = tile.shape[axis]
        at = np.linspace(0, length - 1, max(round(length * tiling.ratio), 1))
        if not tiling.linear:
            tile = tile.take(np.floor(at + 0.5).astype(int), axis)
            continue
        low = np.floor(at).astype(int)
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        high = tile.take(np.minimum(low + 1, length - 1), axis)
        tile = np.rint(tile.take(low, axis) * (1 - share) + high * share).astype(tile.dtype)
    return tile


FORMAT = Format(
    name="tiles",
    title="a list of tiles",
    suffixes=(".json",),
    open=open_tiles,
    list=list_one,
    stamp=stamp_tiles,
)
