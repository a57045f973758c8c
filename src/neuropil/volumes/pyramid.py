"""Pyramids: a volume with coarser levels for viewers. Images are averaged; of ids the most frequent is taken."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuropil.errors import NeuropilError, Note
from neuropil.geometry import Box, Triple, VoxelSize, blocks
from neuropil.volumes.arrays import default_chunks
from neuropil.volumes.atomic import replacing
from neuropil.volumes.convert import AS_THEY_ARE, Voxels, convert_volume, part_shape
from neuropil.volumes.formats import keys
from neuropil.volumes.formats.base import Location
from neuropil.volumes.formats.n5 import VERSION
from neuropil.volumes.formats.ome import Level, ome_attributes, ome_images
from neuropil.volumes.formats.precomputed import precomputed_spec
from neuropil.volumes.location import parse_location
from neuropil.volumes.marks import is_marked
from neuropil.volumes.metadata import Metadata
from neuropil.volumes.opening import create_volume, open_volume
from neuropil.volumes.volume import Volume, unwrapped, writable

PyramidMethod = Literal["mean", "mode"]
"""How voxels become one: their mean, or the most frequent value."""

_EVEN = 1.5
"""An axis is halved while its voxels are at most this many times as long as the shortest side."""

_IDS = ("u4", "u8", "i4", "i8")
"""Types that are taken for ids without ``--type``."""


@dataclass(frozen=True)
class Pyramid:
    """How a pyramid is made.

    Args:
        levels: how many coarser ones; each halves the axes that are not much coarser than the finest.
        sharded: whether many chunks are packed into one file.
    """

    levels: int
    sharded: bool = False


def convert_pyramid(
    source: Volume,
    path: str | Path,
    pyramid: Pyramid,
    *,
    box: Box | None = None,
    voxel_size: VoxelSize | None = None,
    voxels: Voxels = AS_THEY_ARE,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Copy a volume with coarser levels: an OME-Zarr image (arrays 0, 1, 2 …), an N5 group (s0, s1 …) or a precomputed
    volume of several scales. It takes its name when all levels are complete.

    Args:
        source, box, voxel_size, voxels: as for :func:`convert_volume`.
        path: where to, locally.
        pyramid: how many levels.
        say: called with one line for each level.

    Raises:
        NeuropilError: as :func:`convert_volume`; a format without levels; more levels than there are voxels for.

    >>> import tempfile
    >>> from neuropil.volumes import array_volume
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = array_volume(np.arange(64, dtype=np.uint8).reshape(4, 4, 4), Metadata(voxel_size=(8, 4, 4)))
    ...     convert_pyramid(image, f"{folder}/a.zarr", Pyramid(1))
    ...     open_volume(f"{folder}/a.zarr/1").shape
    (4, 2, 2)
    """
    location = parse_location(path)
    write = _WRITERS.get(location.format.name)
    if write is None or location.remote or location.array or location.scheme == "zarr2":
        raise NeuropilError(
            f"levels are written as local Zarr 3, N5 or precomputed volumes without an array inside; got {path}, name "
            "a .ome.zarr, .n5 or .precomputed"
        )
    dtype = voxels.of(source)
    ids = voxels.kind == "segmentation" or (voxels.kind == "" and dtype.str[1:] in _IDS)
    method: PyramidMethod = "mode" if ids else "mean"
    factors = level_factors((box or source.box).shape, voxel_size or source.metadata.voxel_size, pyramid.levels)
    why = "" if voxels.kind else f", since it holds {dtype}; --type says otherwise"
    say(f"coarser levels by the {method}{why}")
    target = Path(location.container)
    _check_replaced(location, target)
    with replacing(target, _made_here) as temporary:
        first = write.first(str(temporary))
        convert_volume(source, first, box=box, voxel_size=voxel_size, voxels=voxels, sharded=pyramid.sharded)
        with open_volume(first) as finest:
            levels = [Level.of(write.name(0), finest.metadata)]
        for number, step in enumerate(factors, 1):
            levels.append(levels[-1].coarser(write.name(number), step))
            shape = write.level(str(temporary), number, levels[-1], step, method, pyramid.sharded)
            size = "×".join(f"{n:g}" for n in levels[-1].size)
            say(
                f"level {number}: {'×'.join(map(str, shape))} voxels of {size} {'nm' if levels[-1].known else 'voxels'}"
            )
        with writable(str(path)):
            write.describe(str(temporary), levels, len(source.shape) == 4, method)


def _made_here(folder: Path) -> bool:
    """Whether an array or a pyramid was written by neuropil."""
    for name in ("zarr.json", "0/zarr.json", "attributes.json", "s0/attributes.json", "info"):
        values = keys.read_json(str(folder), name) or {}
        if is_marked(values) or is_marked(values.get("attributes")) or isinstance(values.get("neuropil"), dict):
            return True
    return False


def level_factors(shape: Triple, size: VoxelSize | None, levels: int) -> list[Triple]:
    """How many voxels along z, y, x become one, for each level.

    Raises:
        NeuropilError: fewer than one level, or none left to halve.

    >>> level_factors((100, 1024, 1024), (30, 6, 6), 3)
    [(1, 2, 2), (1, 2, 2), (2, 2, 2)]
    """
    if levels < 1:
        raise NeuropilError(f"--downsample: expected a number of levels from 1 on, got {levels}")
    lengths, sizes, found = list(shape), list(size or (1.0, 1.0, 1.0)), []
    for number in range(levels):
        shortest = min(s for s, n in zip(sizes, lengths, strict=True) if n > 1) if max(lengths) > 1 else 0.0
        steps = [2 if n > 1 and s <= _EVEN * shortest else 1 for n, s in zip(lengths, sizes, strict=True)]
        if max(steps) == 1:
            raise NeuropilError(f"--downsample {levels}: after {number} levels there is one voxel left; ask for fewer")
        lengths = [-(-n // f) for n, f in zip(lengths, steps, strict=True)]
        sizes = [s * f for s, f in zip(sizes, steps, strict=True)]
        found.append((steps[0], steps[1], steps[2]))
    return found


@dataclass(frozen=True)
class _Writer:
    """How a format stores levels: names, path of the finest, a function for the next coarser one, group metadata."""

    name: Callable[[int], str]
    first: Callable[[str], str]
    level: Callable[[str, int, Level, Triple, PyramidMethod, bool], tuple[int, ...]]
    describe: Callable[[str, list[Level], bool, PyramidMethod], None]


def _check_replaced(location: Location, target: Path) -> None:
    """Refuse to replace anything but a pyramid or an array of this format, or an empty folder."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    found = location.format.list(location) if target.is_dir() else {}
    attributes = (keys.read_json(str(target), "zarr.json") or {}).get("attributes", {})
    known = {str(level.get("path")) for image in ome_images(attributes) for level in image["datasets"]} | {""}
    known |= {f"s{number}" for number in range(len(found))} if location.format.name == "n5" else set()
    if location.format.name != "precomputed" and not set(found) <= known:
        raise NeuropilError(f"{target} holds {', '.join(found) or 'other files'}; choose another name, or delete it")


def _array_of(scheme: str, container: str, name: str) -> str:
    """The path of an array; with a scheme, because the temporary name of the container has no known ending."""
    return f"{scheme}://{container}/{name}"


def _coarser_array(
    scheme: str, name: Callable[[int], str]
) -> Callable[[str, int, Level, Triple, PyramidMethod, bool], tuple[int, ...]]:
    """A function that writes the next level in a group of arrays."""

    def level(
        container: str, number: int, level: Level, factors: Triple, method: PyramidMethod, sharded: bool
    ) -> tuple[int, ...]:
        import tensorstore as ts

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # that levels begin between voxels
            opened = open_volume(_array_of(scheme, container, name(number - 1)))
        with opened as fine:
            store: Any = unwrapped(fine.store)
            down = ts.downsample(store.handle, [*([1] * (len(fine.shape) - 3)), *factors], method=method)
            metadata = _level_metadata(fine.metadata, level)
            path = _array_of(scheme, container, level.name)
            with create_volume(path, down.shape, fine.dtype, metadata, sharded=sharded) as coarse:
                _fill(coarse, down, factors)
        return tuple(int(n) for n in down.shape[-3:])

    return level


def _level_metadata(fine: Metadata, level: Level) -> Metadata:
    """Metadata of the array of a level."""
    if not level.known:
        return replace(fine, voxel_size=None, origin=None, shift=None)
    exact = [at / size for at, size in zip(level.place, level.size, strict=True)]
    z, y, x = (int(np.floor(n + 0.5)) for n in exact)
    a, b, c = (round((n - w) * s, 9) for n, w, s in zip(exact, (z, y, x), level.size, strict=True))
    origin, shift = (z, y, x), (a, b, c)
    return replace(
        fine, voxel_size=level.size, origin=origin if any(origin) else None, shift=shift if any(shift) else None
    )


def _fill(coarse: Volume, down: Any, factors: Triple) -> None:
    """Write all voxels of a level, a part at a time."""
    lead = coarse.shape[0] if len(coarse.shape) == 4 else 1
    voxel = lead * coarse.dtype.itemsize * prod(factors)
    whole = Box.whole(coarse.shape)
    for part in blocks(whole, part_shape(whole.shape, coarse.chunks, None, voxel)):
        found = down[(..., *part.slices)].read().result()
        coarse.write(part.shift(coarse.metadata.start), np.asarray(found))


def _describe_zarr(container: str, levels: list[Level], channels: bool, method: PyramidMethod) -> None:
    attributes = ome_attributes(levels, channels, method)
    text = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    Path(container, "zarr.json").write_text(json.dumps(text))


def _describe_n5(container: str, levels: list[Level], channels: bool, method: PyramidMethod) -> None:
    """Write group metadata as Paintera and the N5 viewers read them: x, y, z."""
    first = levels[0]
    factors = [[round(a / b) for a, b in zip(level.size, first.size, strict=True)][::-1] for level in levels]
    size = {"pixelResolution": {"dimensions": list(first.size[::-1]), "unit": "nm"}} if first.known else {}
    text = {"n5": VERSION, "multiScale": True, "scales": factors, **size}
    Path(container, "attributes.json").write_text(json.dumps(text))


def _coarser_scale(
    container: str, number: int, level: Level, factors: Triple, method: PyramidMethod, sharded: bool
) -> tuple[int, ...]:
    """Add a scale to a precomputed volume. In this format its grid begins at voxel 0 of the image."""
    import tensorstore as ts

    place = {"driver": "neuroglancer_precomputed", "kvstore": keys.kvstore(container)}
    fine = ts.open({**place, "scale_index": number - 1}, context=keys.context()).result()
    down = ts.downsample(fine, [*factors[::-1], 1], method=method)
    channels = down.shape[3]
    shape = (*([channels] if channels > 1 else []), *down.shape[2::-1])
    metadata = Metadata(level.size, tuple(int(n) for n in down.domain.inclusive_min[2::-1]))  # type: ignore[arg-type]
    dtype = np.dtype(down.dtype.numpy_dtype)
    spec = precomputed_spec(shape, dtype, metadata, default_chunks(shape), sharded)
    made = ts.open({**spec, "kvstore": place["kvstore"]}, context=keys.context(), create=True, open=False).result()
    pieces = tuple(int(n or 1) for n in made.chunk_layout.write_chunk.shape or ())[2::-1]
    whole = Box.at(metadata.start, shape)
    for part in blocks(whole, part_shape(whole.shape, pieces, None, channels * dtype.itemsize * prod(factors))):
        index = (*part.slices[::-1], slice(None))
        made[index].write(down[index].read().result()).result()
    return tuple(shape[-3:])


def _zarr_name(number: int) -> str:
    return str(number)


def _n5_name(number: int) -> str:
    return f"s{number}"


_WRITERS = {
    "zarr": _Writer(
        _zarr_name, lambda container: _array_of("zarr3", container, "0"), _coarser_array("zarr3", _zarr_name),
        _describe_zarr,
    ),
    "n5": _Writer(
        _n5_name, lambda container: _array_of("n5", container, "s0"), _coarser_array("n5", _n5_name), _describe_n5
    ),
    "precomputed": _Writer(
        _zarr_name, lambda container: f"precomputed://{container}", _coarser_scale, lambda *_: None
    ),
}  # fmt: skip
"""How each format stores levels."""
