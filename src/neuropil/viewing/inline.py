"""Images embedded in an HTML page, so that it needs no other file."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuropil.errors import NeuropilError
from neuropil.viewing.colours import RGB

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDE = 560
"""Most pixels on the longer side of a picture."""

_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Picture:
    """A picture to embed in a page."""

    source: str
    """A ``data:`` URL."""
    caption: str


def picture(voxels: RGB, caption: str, zoom: int = 1) -> Picture:
    """Encode a picture ``[y, x, 3]`` uint8, each voxel ``zoom`` pixels wide: JPEG, or PNG with ``zoom`` > 1.

    >>> picture(np.zeros((4, 4, 3), np.uint8), "dark").source[:22]
    'data:image/jpeg;base64'
    """
    from PIL import Image

    image = Image.fromarray(np.repeat(np.repeat(voxels, zoom, axis=0), zoom, axis=1))
    image.thumbnail((_WIDE, _WIDE))
    with BytesIO() as file:
        image.save(file, format="PNG" if zoom > 1 else "JPEG", quality=88)
        return _picture(file.getvalue(), "image/png" if zoom > 1 else "image/jpeg", caption)


def plot(figure: Figure, caption: str) -> Picture:
    """Encode a Matplotlib figure as PNG."""
    with BytesIO() as file:
        figure.savefig(file, format="png", dpi=110)
        return _picture(file.getvalue(), "image/png", caption)


def picture_file(file: Path, caption: str) -> Picture:
    """Read a PNG, JPEG or SVG file.

    Raises:
        NeuropilError: it is missing or of another kind.
    """
    kind = _KINDS.get(file.suffix.lower())
    if kind is None or not file.is_file():
        raise NeuropilError(f"expected a picture ({', '.join(_KINDS)}) for the page, got {file}")
    return _picture(file.read_bytes(), kind, caption)


def crosshair(voxels: RGB, at: tuple[int, int]) -> RGB:
    """The picture with four white strokes that point to a voxel without covering it."""
    marked = voxels.copy()
    y, x = at
    for near in range(4, 12):
        for row, column in ((y - near, x), (y + near, x), (y, x - near), (y, x + near)):
            if 0 <= row < len(marked) and 0 <= column < marked.shape[1]:
                marked[row, column] = 255
    return marked


def _picture(data: bytes, kind: str, caption: str) -> Picture:
    return Picture(f"data:{kind};base64,{base64.b64encode(data).decode()}", caption)
