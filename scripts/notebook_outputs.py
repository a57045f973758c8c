"""Run the notebooks and store what they show, without Jupyter: python scripts/notebook_outputs.py [NAME.ipynb ...]"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "notebooks"


def run(code: list[str], names: dict[str, Any], file: str) -> tuple[str, Any]:
    """What a cell prints, and the value of its last line if that is an expression."""
    tree = ast.parse("".join(line for line in code if not line.startswith("%")), file)
    shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, file, "exec"), names)
        value = eval(compile(ast.Expression(shown.value), file, "eval"), names) if shown else None
    return printed.getvalue(), value


def outputs(printed: str, value: Any, count: int) -> list[dict[str, Any]]:
    """A cell's outputs as notebooks have them."""
    found: list[dict[str, Any]] = []
    if printed:
        found.append({"name": "stdout", "output_type": "stream", "text": printed.splitlines(keepends=True)})
    if value is not None:
        data: dict[str, Any] = {"text/plain": [repr(value)]}
        if isinstance(value, Figure):
            picture = io.BytesIO()
            value.savefig(picture, format="png", dpi=50, metadata={"Software": None})
            data = {"image/png": base64.b64encode(picture.getvalue()).decode() + "\n", "text/plain": ["<Figure>"]}
        found.append({"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
    return found


def fill(path: Path) -> None:
    """Run a notebook in an empty folder and write its outputs into it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            printed, value = run(cell["source"], names, f"{path.name}, cell {count}")
            cell["outputs"], cell["execution_count"] = outputs(printed, value, count), count
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb"))
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        for one in chosen:
            fill(one)
            print(one.name)
