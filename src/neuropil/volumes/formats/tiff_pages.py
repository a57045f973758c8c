"""Find the pages of a TIFF that make a volume, and the names of their axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.volumes.formats.base import Colour
from neuropil.volumes.formats.colours import dtype_of, refuse_colours
from neuropil.volumes.formats.tiff_checks import check_counts, check_values

_LETTERS = {"Q": "q", "I": "q", "R": "q"}  # letters of tifffile for axes that a file does not name


_LOSSY = (
    6, 7, 33007, 34892,  # of the tag Compression: JPEG
    33003, 33004, 33005, 34712, 34934, 22610, 50002, 52546,  # JPEG 2000, JPEG XR and JPEG XL
    34887, 34927, 50001, 48124,  # LERC, WebP, Jetraw
)  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """Pages of one size and type.

    Args:
        series: the series of tifffile, one after the other.
        shape: of all pages together, without the samples of colours.
        names: of its axes; None where the file names none.
        depth: sections in one page; more than one in volumetric TIFF.
        samples: ``(3,)`` or ``(4,)`` for colours, else empty.
        colour: how colours are read.
        dtype: of the values that are read.
        inverted: whether values must be inverted, because 0 is white.
    """

    series: list[Any]
    shape: tuple[int, ...]
    names: list[str] | None
    depth: int
    samples: tuple[int, ...]
    colour: Colour
    dtype: np.dtype[Any]
    inverted: bool = False

    @property
    def mapped(self) -> bool:
        """Whether the voxels are contiguous and uncompressed in the opened file, so that they can be memory-mapped."""
        one = self.series[0]
        plain = len(self.series) == 1 and not self.samples and not self.inverted and one.dataoffset is not None
        return bool(plain and not one.is_multifile and all(one.keyframe.dataoffsets))

    @property
    def lossy(self) -> bool:
        """Whether the compression may be lossy, such as JPEG."""
        return any(one.keyframe.compression in _LOSSY for one in self.series)

    @property
    def pages(self) -> list[Any]:
        """All pages, in order."""
        return [page for one in self.series for page in one.pages]


def find_stack(file: Any, path: str, colour: Colour) -> Stack:
    """The one stack of pages in a file: one series, or several of one shape that were appended one by one.

    Raises:
        NeuropilError: no page, pages of several sizes, or colours without ``colour``.
    """
    series = list(file.series)
    if not series:
        raise NeuropilError(f"no image in {path}")
    first = series[0]
    if len({(tuple(s.shape), str(s.dtype), s.axes) for s in series}) > 1:
        shapes = ", ".join("×".join(map(str, size)) for size in sorted({tuple(s.shape) for s in series}))
        raise NeuropilError(f"expected pages of one size and type, got {len(series)} images ({shapes}), in {path}")
    axes, shape = _axes(series, path)
    samples: tuple[int, ...] = ()
    if "S" in axes and shape[axes.index("S")] > 1:
        if shape[axes.index("S")] not in (3, 4):
            raise NeuropilError(
                f"expected one value in each pixel, got axes {''.join(axes)} of shape {tuple(shape)}, in {path}; "
                "split it"
            )
        if not colour:
            raise refuse_colours(path, f"colours, axes {''.join(axes)} of shape {tuple(shape)}")
        if axes[-1] != "S" or shape[-1] not in (3, 4):
            raise NeuropilError(f"expected colours as the last axis, got axes {''.join(axes)}, in {path}; split them")
        samples = (shape[-1],)
        axes, shape = axes[:-1], shape[:-1]
    if axes[-1] == "S":
        axes, shape = axes[:-1], shape[:-1]
    if axes[-2:] != ["Y", "X"]:
        raise NeuropilError(f"expected gray pages, got axes {''.join(axes)} of shape {tuple(shape)}, in {path}")
    check_counts(file, series, shape, path)
    inverted = check_values(file, series, path, colour)
    pages = sum(len(s.pages) for s in series)
    depth = math.prod(shape[:-2]) // pages
    if depth * pages != math.prod(shape[:-2]):
        raise NeuropilError(f"expected whole sections in each page, got {pages} for {tuple(shape)}, in {path}")
    names = None if all(axis in _LETTERS for axis in axes[:-2]) and len(axes) > 2 else axes
    dtype = np.dtype(first.dtype).newbyteorder("=")
    dtype = dtype_of(colour, dtype, path) if samples else dtype
    return Stack(series, tuple(shape), names, depth, samples, colour, dtype, inverted)


def _axes(series: list[Any], path: str) -> tuple[list[str], list[int]]:
    """Names and lengths of the axes of all series together; z counts pages that were appended one by one."""
    first = series[0]
    as_written = first.kind == "shaped"  # tifffile stored the shape: axes of length 1 are meant
    axes, shape = list(first.get_axes(squeeze=not as_written)), list(first.get_shape(squeeze=not as_written))
    if len(series) > 1:
        while len(shape) > 2 and shape[0] == 1 and "S" not in axes[:1]:
            axes, shape = axes[1:], shape[1:]
        axes, shape = ["Z", *axes], [len(series), *shape]
        if axes.count("Z") > 1 or len([a for a in axes if a != "S"]) > 3:
            raise NeuropilError(f"expected pages appended one by one, got {len(series)} stacks, in {path}; split it")
    return axes, shape
