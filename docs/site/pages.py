"""Pages of the documentation site that are not files of docs/: README, changes, and the API from docstrings.

mkdocs calls the ``on_…`` functions. Links of a page to other files of the project lead to copies of these files.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
TOP = {"README.md": "index.md", "CHANGELOG.md": "CHANGELOG.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def api() -> str:
    """One page with every public name, in the order of ``neuropil.__all__``, from the docstrings."""
    text = (ROOT / "src/neuropil/__init__.py").read_text(encoding="utf-8")
    homes = {name: home for home, name in re.findall(r"from (neuropil[\w.]*) import (\w+) as ", text)}
    parts = [
        "# Python\n\nEverything here is `neuropil.NAME`. Arrays are NumPy arrays, axes are z, y, x, channels first.\n"
    ]
    parts += [f"::: {home}.{name}\n" for name, home in sorted(homes.items(), key=lambda item: item[0].lower())]
    return "\n".join(parts)


def project_link(target: str, folder: Path, files: Files, config: Any) -> str:
    """Where the site has what ``target``, a link of a page in ``folder``, means."""
    if "://" in target or target.startswith("mailto:"):
        return target
    path = (folder / target).resolve()
    if not path.is_relative_to(ROOT):
        return target
    inside = path.relative_to(ROOT).as_posix()
    if inside in TOP:
        return TOP[inside]
    if inside.startswith("docs/"):
        return inside.removeprefix("docs/")
    if path.is_file():
        name = f"files/{inside}"
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, abs_src_path=str(path)))
        return name
    return f"https://pypi.org/project/neuropil/#{inside}" if path.exists() else target


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and the files that pages link to."""
    files.append(File.generated(config, "api.md", content=api()))
    for source, page in TOP.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for page in [file for file in files if file.src_uri.endswith(".md")]:
        folder = ROOT if page.src_uri in TOP.values() else ROOT / "docs"
        text = LINK.sub(
            lambda m, folder=folder: m[1] + project_link(m[2], folder, files, config) + m[3], page.content_string
        )
        files.remove(page)
        files.append(File.generated(config, page.src_uri, content=text))
    return files
