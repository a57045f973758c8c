"""What a TIFF says of its values and its number of pages: honoured, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.formats.base import Colour
from neuropil.volumes.formats.pictures import turned_away

_WHITE_IS_ZERO, _PALETTE = 0, 3  # of the tag PhotometricInterpretation
_GRAYS = (_WHITE_IS_ZERO, 1, 2, _PALETTE)  # and RGB, which some write for a single value


def check_counts(file: Any, series: list[Any], shape: Sequence[int], path: str) -> None:
    """Refuse a file of more pages than its description has, or of fewer: one of both is wrong.

    Raises:
        NeuropilError: they differ.
    """
    kind = series[0].kind
    if any(one.is_multifile for one in series):
        return
    used = sum(len(one.pages) for one in series)
    if used < len(file.pages):
        raise NeuropilError(
            f"expected as many pages as its description ({kind}) has, {used}, got {len(file.pages)}, in {path}; "
            "correct one, or save it anew"
        )
    told = (file.imagej_metadata or {}).get("images") if file.is_imagej else None
    if isinstance(told, int) and told > math.prod(shape[:-2]):
        raise NeuropilError(
            f"expected {told} sections, as ImageJ's description has them, got {math.prod(shape[:-2])}, in {path}; is "
            "it truncated?"
        )


def check_values(file: Any, key: Any, path: str, colour: Colour) -> bool:
    """Refuse values that are not grey ones as stored; whether 0 is white, and brightness was asked for.

    Raises:
        NeuropilError: a palette, pixels that are stored turned, other kinds of values, or 0 for white in anything but
            an image that is converted.
    """
    check_upright(key, path)
    if file.is_imagej and any(name in (file.imagej_metadata or {}) for name in ("cf", "c0", "c1")):
        tell(f"{path}: ImageJ's calibration of its values is not applied; they are read as they are stored")
    if key.samplesperpixel == 1 and key.photometric not in _GRAYS:
        name = getattr(key.photometric, "name", key.photometric)
        raise NeuropilError(f"expected gray values, got values of the kind {name}, in {path}; save it as gray values")
    if key.photometric == _PALETTE and not _is_gray(key.colormap):
        if not file.is_imagej:
            raise NeuropilError(
                f"expected gray values, got a palette of colours, whose numbers may be ids or not, in {path}; save it "
                "as gray values, or as RGB"
            )
        tell(f"{path} is shown in colours by a table of ImageJ; its values are read as they are stored")
    if key.photometric != _WHITE_IS_ZERO:
        return False
    if colour != "image" or key.dtype.kind not in "bu":
        raise NeuropilError(
            f"expected 0 to be black, got 0 for white, in {path}; `neuropil convert --type image` turns unsigned "
            "values around; where they are ids, save them with 0 for black"
        )
    return True


def check_upright(page: Any, path: str) -> None:
    """Refuse a page whose pixels are to be turned or mirrored before they are shown."""
    tag = page.tags.get("Orientation") if page == page.keyframe else None  # others have no tags of their own
    if tag is not None and tag.value not in (0, 1):
        raise turned_away(int(tag.value), path)


def _is_gray(colormap: Any) -> bool:
    """Whether a palette `[3, n]` is the ramp from black to white."""
    ramp = np.linspace(0, 255, colormap.shape[1])
    return bool((np.abs(np.asarray(colormap) / 257 - ramp) < 1).all())
