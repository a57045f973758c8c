"""The mark by which a file is known as an output of neuropil, so that nothing else is replaced without ``--force``.

Arrays carry it as the attribute ``written_by``; JSON as its first key; YAML as its first line; HTML as the name of the
generator; PNG as its ``Software``; NPY, which has no room for text, as a header of 1,024 bytes. Tables are known by
their first row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neuropil import __version__
from neuropil.errors import NeuropilError
from neuropil.inputs import checks_outputs

KEY = "written_by"
"""The attribute of arrays, and the first key of JSON."""

MADE_BY = f"neuropil {__version__}"
"""The value of the mark."""

FIRST_LINE = f"# made by {MADE_BY}\n"
"""First line of YAML files that neuropil writes."""

PICTURE = {"Software": MADE_BY}
"""Metadata that Matplotlib writes into a PNG."""

Ours = Callable[[Path], bool]
"""Whether what is at a path was made by neuropil."""

_HEAD = 4096
_TEXT = re.compile(
    rb"\A(# made by neuropil |\{\s*\"written_by\": \"neuropil |<!doctype html>(?s:.){0,200}content=\"neuropil )"
    rb"|\A\x89PNG(?s:.){0,2000}tEXtSoftware\0neuropil "
)
_BEFORE = re.compile(
    rb"\A(# Chosen by `neuropil tune` on |# Which volumes to learn from, to choose with and to report on\.\ndata:"
    rb"|\{\s*\"(adapted_rand_error|threshold)\": |\{\s*\"(train|tune|predict|segment)[\w /.-]*\": \{\s*\"from\""
    rb"|<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>[^<]*</title><style>\n"
    rb":root \{ color-scheme: light dark; \}\nbody \{ font: 15px/1\.5 system-ui)"
)
"""First bytes of files of version 0.1, which have no mark."""
_FIGURE = re.compile(rb"\A\x89PNG(?s:.){0,200}tEXtSoftware\0Matplotlib")


def has_mark(path: Path) -> bool:
    """Whether a text file or picture is an output of neuropil; files of version 0.1 are recognised by their content."""
    head = _head(path)
    if _TEXT.match(head) or _BEFORE.match(head):
        return True
    # The pictures of version 0.1 had no mark: they count where a page, scores or settings lie in the folder.
    others = ("index.html", "segment.yaml", "scores.json", "steps.json")
    return bool(_FIGURE.match(head)) and any(has_mark(path.with_name(name)) for name in others)


def begins_with(row: str) -> Ours:
    """A test whether a table begins with this row of column names."""
    return lambda path: _head(path).startswith(row.encode())


def anything(path: Path) -> bool:
    """Accept every file: for folders that hold only files of neuropil."""
    return True


def marked(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of an array with the mark.

    >>> marked({"origin": [0, 0, 0]})["written_by"].split()[0]
    'neuropil'
    """
    return {**attributes, KEY: MADE_BY}


def is_marked(attributes: object) -> bool:
    """Whether attributes of an array, or what a JSON file holds, have the mark."""
    return isinstance(attributes, Mapping) and str(attributes.get(KEY, "")).startswith("neuropil ")


def check_mark(path: Path, ours: Ours) -> None:
    """Refuse to replace a file or folder that neuropil did not make; an empty one may be replaced.

    Only commands are refused, and only without ``--force``: in Python the caller decides.

    Raises:
        NeuropilError: ``path`` exists, is not empty, and was not made by neuropil.
    """
    if not checks_outputs() or not path.exists():
        return
    empty = not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0
    if not empty and not ours(path):
        raise NeuropilError(
            f"{path} exists and was not written by neuropil; choose another name, or replace it with --force"
        )


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_HEAD)
