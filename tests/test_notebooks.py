"""The notebooks run from top to bottom on the small volumes they bring, and show what they say."""

import ast
import base64
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path, kind):
    """The texts of all cells of a kind, without IPython's own commands."""
    found = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]
    return ["".join(line for line in cell["source"] if not line.startswith("%")) for cell in found]


def run(code, names, file):
    """What a cell shows: the value of its last line, if that is an expression."""
    tree = ast.parse(code, file)
    shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), names)
    return eval(compile(ast.Expression(shown.value), file, "eval"), names) if shown else None


def test_all_four_are_there():
    assert [path.stem for path in NOTEBOOKS] == [
        *("classic_tutorial", "explore_data", "segment_and_score", "targets_and_augmentation")
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    shown = [run(code, names, f"{path.name}, cell {n}") for n, code in enumerate(cells(path, "code"))]
    figures = [value for value in shown if isinstance(value, Figure)]
    assert len(figures) >= 4
    for figure in figures:
        figure.set_dpi(40)
        figure.canvas.draw() if hasattr(figure.canvas, "draw") else figure.savefig(tmp_path / "a.png")
        assert all(axes.has_data() for axes in figure.axes)
    assert len(capsys.readouterr().out.splitlines()) >= 2
    assert not [file for file in tmp_path.iterdir() if file.name != "a.png"]  # nothing left behind


def test_classic_colours_are_z_y_x():
    names = {"__name__": "__main__"}
    path = FOLDER / "classic_tutorial.ipynb"
    code = iter(cells(path, "code"))
    while "classic_rgb" not in names:
        run(next(code), names, path.name)
    values = np.random.default_rng(0).random((3, 10, 4, 5))
    np.testing.assert_array_equal(names["classic_rgb"](values)[..., 0], (255 * values[0, 8]).astype(np.uint8))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_with_outputs_and_links_to_what_exists(path):
    """As `python scripts/notebook_outputs.py` stores them."""
    code = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    pictures = [
        one["data"]["image/png"] for cell in code for one in cell["outputs"] if "image/png" in one.get("data", {})
    ]
    assert len(pictures) >= 4
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    for cell in code:
        printed = any(one["output_type"] == "stream" for one in cell["outputs"])
        assert printed or "print(" not in "".join(cell["source"])
    for text in cells(path, "markdown"):
        for target in [part.split(")")[0] for part in text.split("](")[1:]]:
            assert (FOLDER / target).exists()


def test_what_may_fail_is_noticed():
    with pytest.raises(ZeroDivisionError):
        run("a = 1\na / 0", {}, "cell")
    assert run("a = 1\na + 1", {}, "cell") == 2
    assert run("a = 1", {}, "cell") is None
