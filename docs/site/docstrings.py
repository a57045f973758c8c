"""Docstrings as the site shows them: examples in blocks of code, roles such as ``:func:`` left out."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^(>>> (?:.|\n(?!\n))*)", re.MULTILINE)


def for_site(text: str) -> str:
    """A docstring in which each run of ``>>>`` lines and what they print is a block of code."""
    text = re.sub(r":(?:func|class|meth|mod|data|attr):`~?([^`]+)`", r"`\1`", text)
    return EXAMPLE.sub(r"```pycon\n\1\n```", text)


class Docstrings(griffe.Extension):
    """Changes each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = for_site(obj.docstring.value)
