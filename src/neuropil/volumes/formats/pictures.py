"""Read PNG and JPEG files through Pillow: values as stored, never converted; other files are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil.errors import NeuropilError
from neuropil.memory import expect_memory
from neuropil.volumes.volume import readable

_GRAY = {"L": "u1", "1": "?", "I": "i4", "I;16": "u2", "I;16B": "u2", "I;16L": "u2", "I;16N": "u2", "F": "f4"}
"""Modes of Pillow that hold one value for each pixel."""

_COLOURS = {"RGB": 3, "RGBA": 4, "LA": 2}
_LOSSLESS = ("PNG", "BMP", "PPM")
_ORIENTATION = 0x0112
_INCH = 25.4e6  # nm


@dataclass(frozen=True)
class PictureHeader:
    """The header of a picture, read without decompressing it.

    Args:
        shape: `[y, x]`.
        dtype: of the values.
        mode: of Pillow; all but the grey ones are colours.
        pixel: nm along y and x; None where the file has no resolution.
        packed: the file format, for PNG with the bits per value.
        lossy: whether compression may have changed values.
        transparent: whether the file has transparency.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    mode: str
    pixel: tuple[float, float] | None
    packed: str
    lossy: bool
    transparent: bool

    @property
    def colours(self) -> bool:
        """Whether a pixel has several values."""
        return self.mode not in _GRAY


def look(file: str) -> PictureHeader:
    """The header of a PNG or JPEG file.

    Raises:
        NeuropilError: a palette, several pictures, 16-bit colours (Pillow would truncate them), or pixels that are
            stored rotated or mirrored.
    """
    with _opened(file) as image:
        expect_memory(2 * image.width * image.height, f"a section of {file}", "it cannot be read here")
        dpi = image.info.get("dpi")
        pixel = (_INCH / float(dpi[1]), _INCH / float(dpi[0])) if dpi and min(map(float, dpi)) > 0 else None
        dtype = np.dtype(_GRAY.get(image.mode, "u1"))
        packed = f"PNG of {_depth(file)} bits" if image.format == "PNG" else str(image.format)
        lossy, clear = image.format not in _LOSSLESS, "A" in image.mode or "transparency" in image.info
        return PictureHeader(image.size[::-1], dtype, image.mode, pixel, packed, lossy, clear)


def read_picture(file: str) -> npt.NDArray[Any]:
    """The pixels of a PNG or JPEG file, `[y, x]`, or `[y, x, channel]` for colours.

    Raises:
        NeuropilError: as :func:`look`, or the file cannot be read.
    """
    with _opened(file) as image:
        expect_memory(2 * image.width * image.height * len(image.getbands()), f"reading {file}", "read it elsewhere")
        image.load()
        _check_upright(image, file)  # in a PNG the orientation may follow the pixels
        found = np.asarray(image)
        depth = _depth(file)
        if image.mode == "L" and depth in (2, 4):  # Pillow spreads them over 0 to 255
            return found // np.uint8(255 // (2**depth - 1))
        return found


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # Pillow takes large sections for decompression bombs; we check memory ourselves
    with readable(file), Image.open(file) as image:
        if image.format == "TIFF":  # its tags are only checked under its own ending
            raise NeuropilError(f"expected a picture such as PNG, got TIFF, in {file}; let its name end in .tif")
        if image.mode == "P":
            raise NeuropilError(
                f"expected gray values, got a palette of colours, whose numbers may be ids or not, in {file}; save it "
                "as gray values, or as RGB"
            )
        if image.mode not in _GRAY and image.mode not in _COLOURS:
            raise NeuropilError(f"expected gray values, got the mode {image.mode}, in {file}; save it as gray values")
        if image.mode in _COLOURS and _depth(file) == 16:
            raise NeuropilError(f"expected colours of 8 bits, got 16, in {file}; save it as 16-bit gray values")
        count = getattr(image, "n_frames", 1)
        if count > 1:
            raise NeuropilError(f"expected one picture, got {count}, in {file}; save each as a file")
        _check_upright(image, file)
        yield image


def _check_upright(image: Any, file: str) -> None:
    from PIL import Image

    turned = Image.Image.getexif(image).get(_ORIENTATION, 1)  # of the base class: PNG's own decompresses the pixels
    if turned not in (0, 1):
        raise turned_away(turned, file)


def turned_away(orientation: int, file: str) -> NeuropilError:
    """The error for pixels that are stored rotated or mirrored (EXIF or TIFF orientation)."""
    return NeuropilError(
        f"expected pixels that are stored upright, got the orientation {orientation} (1 is upright), in {file}; "
        "rotate it and save it again"
    )


def _depth(file: str) -> int:
    """Bits per value of a PNG; 0 for other files."""
    with Path(file).open("rb") as opened:
        head = opened.read(26)
    return head[24] if head.startswith(b"\x89PNG") and len(head) == 26 else 0
