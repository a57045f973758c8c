"""One page to open in a browser, with everything in it: what was run, how long it took, scores and pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from neuropil.errors import NeuropilError
from neuropil.volumes.atomic import replacing

_ROWS = {
    "adapted_rand_error": ("adapted Rand error", "0 is perfect; the SNEMI3D challenge's definition"),
    "adapted_rand_precision": ("precision", "low where neurons are merged"),
    "adapted_rand_recall": ("recall", "low where neurons are split"),
    "rand_index": ("Rand index", "share of voxel pairs judged as in the truth"),
    "voi_split": ("VI split", "bits; 0 where no neuron is split"),
    "voi_merge": ("VI merge", "bits; 0 where no neurons are merged"),
    "voi": ("VI", "bits; split + merge"),
    "cremi_score": ("CREMI score", "sqrt(VI · adapted Rand error)"),
}

_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1500px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; } th, td { padding: .25rem 1.2rem .25rem 0; text-align: left; }
td.number { font-variant-numeric: tabular-nums; text-align: right; } tr { border-bottom: 1px solid #8884; }
.note { opacity: .65; font-size: .9rem; } figure { margin: 1.5rem 0; overflow-x: auto; }
figure img { max-width: 100%; cursor: zoom-in; } figure a:focus img, figure img:active { max-width: none; }
figcaption { opacity: .75; }
"""


def write_page(
    path: str | Path,
    title: str,
    *,
    scores: Mapping[str, Mapping[str, Any]],
    figures: Sequence[tuple[str, str | Path]] = (),
    facts: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Path:
    """Write a self-contained HTML page; pictures are inside it.

    Args:
        path: the file, usually ``index.html``.
        title: its heading.
        scores: one column per model, each with scores under the names of ``Scores.to_json()``.
        figures: caption and file (PNG, JPEG or SVG) of each, in order.
        facts: what was run: data, box, threshold, commands.
        seconds: how long each step took.

    Returns:
        The path.

    Raises:
        NeuropilError: a figure is missing or of another kind.

    >>> write_page("index.html", "Demo", scores={"trained": {"voi": 0.5}}).name
    'index.html'
    """
    parts = [f"<h1>{escape(title)}</h1>"]
    if scores:
        parts += ["<h2>Scores</h2>", _score_table(scores)]
    parts += [_figure(caption, Path(file)) for caption, file in figures]
    if facts:
        parts += ["<h2>What was run</h2>", _table(facts)]
    if seconds:
        timed = {step: _duration(value) for step, value in seconds.items()}
        parts += ["<h2>How long it took</h2>", _table(timed)]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    text = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"
    return _write(Path(path), text)


def _score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{escape(model)}</th>" for model in scores)
    rows = [f"<tr><th></th>{head}<th></th></tr>"]
    for key, (name, meaning) in _ROWS.items():
        if any(key in column for column in scores.values()):
            cells = "".join(f'<td class="number">{_number(column.get(key))}</td>' for column in scores.values())
            rows.append(f'<tr><th>{name}</th>{cells}<td class="note">{escape(meaning)}</td></tr>')
    return "<table>" + "".join(rows) + "</table>"


def _number(value: Any) -> str:
    return "–" if value is None else f"{float(value):.4f}"


def _table(rows: Mapping[str, Any]) -> str:
    body = "".join(f"<tr><th>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>" for key, value in rows.items())
    return f"<table>{body}</table>"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _figure(caption: str, file: Path) -> str:
    kind = _KINDS.get(file.suffix.lower())
    if kind is None or not file.is_file():
        raise NeuropilError(f"expected a picture ({', '.join(_KINDS)}) for the page, got {file}")
    data = base64.b64encode(file.read_bytes()).decode()
    picture = f'<img src="data:{kind};base64,{data}" alt="{escape(caption)}">'
    return f'<figure><a tabindex="0">{picture}</a><figcaption>{escape(caption)}</figcaption></figure>'


def _write(path: Path, text: str) -> Path:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
