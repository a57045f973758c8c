"""Pieces of an HTML page that needs nothing beside it: pictures, figures, tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from neuropil.viewing.colours import RGB

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDE = 560
"""Pixels of a picture on its longer side, at most."""

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1800px; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #8886; }
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; } p { margin: .3rem 0 .6rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; } th, td { padding: .2rem 1.2rem .2rem 0; text-align: left; }
td { font-variant-numeric: tabular-nums; vertical-align: top; } tr { border-bottom: 1px solid #8883; }
td:last-child { overflow-wrap: anywhere; } summary { cursor: pointer; }
pre { font-size: .8rem; overflow-x: auto; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; } .row figure { flex: 1 1 280px; max-width: 560px; }
figure { margin: 0; } figcaption { font-size: .8rem; opacity: .75; } .row img { width: 100%; } img { max-width: 100%; }
"""


def picture_tag(picture: RGB, caption: str, zoom: int = 1) -> str:
    """A picture ``[y, x, 3]`` uint8 with its caption; ``zoom`` shows voxels that many pixels wide.

    >>> picture_tag(np.zeros((4, 4, 3), np.uint8), "dark").count("<img")
    1
    """
    from PIL import Image

    image = Image.fromarray(np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1))
    image.thumbnail((_WIDE, _WIDE))
    with BytesIO() as file:
        image.save(file, format="PNG" if zoom > 1 else "JPEG", quality=88)
        data = file.getvalue()
    return _figure(data, "png" if zoom > 1 else "jpeg", caption)


def figure_tag(figure: Figure, caption: str) -> str:
    """A Matplotlib figure with its caption."""
    with BytesIO() as file:
        figure.savefig(file, format="png", dpi=110)
        return _figure(file.getvalue(), "png", caption)


def table_tag(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text; no heading row where ``head`` is empty.

    >>> table_tag((), [("a < b", "1")])
    '<table><tr><td>a &lt; b</td><td>1</td></tr></table>'
    """
    lines = [_row("th", head)] if head else []
    return f"<table>{''.join([*lines, *(_row('td', row) for row in rows)])}</table>"


def crosshair(picture: RGB, at: tuple[int, int]) -> RGB:
    """The picture with four white strokes that point to a voxel and leave it free."""
    marked = picture.copy()
    y, x = at
    for near in range(4, 12):
        for row, column in ((y - near, x), (y + near, x), (y, x - near), (y, x + near)):
            if 0 <= row < len(marked) and 0 <= column < marked.shape[1]:
                marked[row, column] = 255
    return marked


def _row(kind: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _figure(data: bytes, kind: str, caption: str) -> str:
    text = escape(caption)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'
