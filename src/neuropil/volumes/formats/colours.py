"""Colours in TIFF and PNG: read as brightness or as ids where the user asks for it, else refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.formats.base import Colour


def refuse_colours(path: str, found: str) -> NeuropilError:
    """The error for colours where the user did not say how to read them."""
    return NeuropilError(
        f"expected gray values, got {found}, in {path}; `neuropil convert --type image` makes them gray, "
        "`--type segmentation` reads the ids that VAST exports as colours"
    )


def tell_alpha(path: str) -> None:
    """Report that transparent pixels are read like all others."""
    tell(f"{path} has transparency (alpha), which is not used; to leave out pixels, give --mask")


def check_opaque(pixels: npt.NDArray[Any], path: str) -> None:
    """Refuse colours `[..., 4]` that were multiplied by their opacity (associated alpha), unless all are opaque."""
    if bool((pixels[..., 3] != (np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1)).any()):
        raise NeuropilError(
            f"expected plain colours, got some multiplied by their opacity (associated alpha, ExtraSamples 1), in "
            f"{path}; save it without alpha"
        )


def dtype_of(colour: Colour, stored: np.dtype[Any], path: str) -> np.dtype[Any]:
    """The type that colours are read as.

    Raises:
        NeuropilError: ids of other colours than 8-bit ones.
    """
    if colour == "image":
        return stored
    if stored != np.uint8:
        raise NeuropilError(f"expected 8-bit colours to read ids from, got {stored}, in {path}")
    return np.dtype(np.uint32)


def read_colours(pixels: npt.NDArray[Any], colour: Colour) -> npt.NDArray[Any]:
    """Colours `[..., 3 or 4]` as brightness (ITU-R 601) or ids; alpha is not used.

    >>> read_colours(np.array([[1, 2, 3]], np.uint8), "segmentation").tolist()
    [66051]
    """
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if colour == "segmentation":
        return np.asarray(red.astype(np.uint32) * 65536 + green.astype(np.uint32) * 256 + blue)
    bright = red * 0.299 + green * 0.587 + blue * 0.114
    whole = np.rint(bright) if pixels.dtype.kind in "ui" else bright
    return np.asarray(whole.astype(pixels.dtype))
