"""CONTRIBUTING's table of where to look: every path and every name in it exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (?!to change)([^|-][^|]*?) \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
PATTERNS = {
    ".py": r"^(?:    )?(?:def|class) (\w+)|^(?:    )?(\w+)(?:: [^=\n]+)? = ",  # methods and fields, too
    ".hpp": r"^(?:class|struct) (\w+)|^[a-z][^(\n;]* (\w+)\(",
}
WANTED = [
    *("file format", "metric", "loss", "augmentation", "target", "minimises", "network", "option", "kernel"),
    *("score", "blocks", "engine", "classic", "encoding", "step", "layer"),
]


def places(row: str) -> tuple[list[Path], list[str]]:
    """The paths of a row, and the names that stand in it."""
    quoted = re.findall(r"`([^`]+)`", row)
    paths = [ROOT / text for text in quoted if "/" in text and " " not in text]
    return paths, [text for text in quoted if text.isidentifier() and text != "evaluate"]


@pytest.mark.parametrize(("what", "where"), ROWS, ids=[what for what, _ in ROWS])
def test_paths_and_names_exist(what, where):
    paths, names = places(where)
    assert paths, what
    assert not [path for path in paths if not path.exists()]
    files = [file for path in paths for file in (path.rglob("*.[ph]*") if path.is_dir() else [path])]
    defined = set()
    for file in files:
        if file.suffix in PATTERNS:
            for found in re.finditer(PATTERNS[file.suffix], file.read_text(encoding="utf-8"), re.MULTILINE):
                defined |= set(found.groups())
    assert not set(names) - defined, what


@pytest.mark.parametrize("word", WANTED)
def test_each_kind_of_change_has_a_row(word):
    assert any(word in what for what, _ in ROWS), word
