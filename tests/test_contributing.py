"""CONTRIBUTING's table of where to look: every path and every name in it exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (?!to change)([^|-][^|]*?) \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
WANTED = [
    *("file format", "score", "loss", "augmentation", "target", "minimises", "network", "option", "kernel"),
    *("blocks", "classic", "encoding"),
]


def places(row: str) -> tuple[list[Path], list[str]]:
    """The paths of a row, and the names that stand in it."""
    quoted = re.findall(r"`([^`]+)`", row)
    return [ROOT / text for text in quoted if "/" in text], [text for text in quoted if text.isidentifier()]


@pytest.mark.parametrize(("what", "where"), ROWS, ids=[what for what, _ in ROWS])
def test_paths_and_names_exist(what, where):
    paths, names = places(where)
    assert paths, what
    assert not [path for path in paths if not path.exists()]
    files = [file for path in paths for file in (path.rglob("*.[ph]*") if path.is_dir() else [path])]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.suffix in (".py", ".hpp"))
    defined = set(re.findall(r"^(?:def|class) (\w+)|^(\w+)(?:: [^=\n]+)? = ", text, re.MULTILINE))
    assert not set(names) - {name for pair in defined for name in pair}, what


@pytest.mark.parametrize("word", WANTED)
def test_each_kind_of_change_has_a_row(word):
    assert any(word in what for what, _ in ROWS), word
