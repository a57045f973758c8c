"""Write self-contained HTML pages from the Jinja templates in ``templates/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuropil.viewing.definitions import DEFINITIONS
from neuropil.viewing.inline import picture_file
from neuropil.volumes.atomic import write_text
from neuropil.volumes.marks import MADE_BY


def write_html(path: str | Path, template: str, values: Mapping[str, Any]) -> Path:
    """Fill a template and write the page; values are escaped.

    Args:
        path: the file; an existing one is replaced when the new one is complete.
        template: name of a file in ``templates/`` that extends ``page.html``.
        values: variables of the template; ``title`` is always needed.

    Raises:
        NeuropilError: the folder cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("neuropil.viewing", "templates")
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = pages.get_template(template).render({**values, "written_by": MADE_BY})
    write_text(Path(path), text + "\n")
    return Path(path)


def write_page(
    path: str | Path,
    title: str,
    *,
    scores: Mapping[str, Mapping[str, Any]],
    figures: Sequence[tuple[str, str | Path]] = (),
    facts: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Path:
    """Write the page of a run or demo, with embedded pictures.

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
    pictures = [picture_file(Path(file), caption) for caption, file in figures]
    values: dict[str, Any] = {"title": title, "scores": _scores(scores), "pictures": pictures}
    values["facts"] = list((facts or {}).items())
    values["seconds"] = [(step, _duration(value)) for step, value in (seconds or {}).items()]
    return write_html(path, "run.html", values)


def _scores(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """A row for each score that any column has."""
    if not scores:
        return None
    rows = [
        (name, *(_number(column.get(key)) for column in scores.values()), meaning)
        for key, name, meaning in DEFINITIONS
        if any(key in column for column in scores.values())
    ]
    return {"head": ("", *scores, ""), "rows": rows, "numbers": range(1, len(scores) + 1)}


def _number(value: Any) -> str:
    return "–" if value is None else f"{float(value):.4f}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
