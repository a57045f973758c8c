"""What the documentation shows is what happens: its Python is run, and its links lead somewhere."""

import doctest
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from neuropil import Config, Metadata, synthetic, write_volume
from neuropil.cli import app
from neuropil.training import train

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


SHORT = {"iterations": 2, "device": "cpu", "patch": [8, 16, 48]}
"""Training for a time, and on a volume, that suit a test."""


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """A folder with ``image.h5`` and ``labels.h5``, the names that the pages use."""
    folder = tmp_path_factory.mktemp("volumes")
    for name, array in zip(("image.h5", "labels.h5"), synthetic.neuropil((16, 96, 96), seed=3), strict=True):
        write_volume(folder / name, array, Metadata(voxel_size=synthetic.VOXEL_SIZE))
    return folder


@pytest.fixture
def workplace(volumes, tmp_path, monkeypatch):
    """A fresh copy of it to work in."""
    shutil.copytree(volumes, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_documentation_runs(page, workplace):
    """Blocks of one page share their names, as if typed one after the other."""
    text = page.read_text(encoding="utf-8")
    if page.name == "README.md":  # speaks of a network that was trained before
        pair = {"image": "image.h5", "labels": "labels.h5"}
        train(Config.from_dict({"data": {"train": [pair]}, "training": SHORT}), "run")
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if ">>>" in match[1]:
            block = doctest.DocTestParser().get_doctest(match[1], names, f"{page.name}", str(page), line)
            runner.run(block, clear_globs=False)
            names.update(block.globs)
        else:
            exec(compile("\n" * line + match[1], str(page), "exec"), names)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def commands(page: Path) -> list[list[str]]:
    """Every ``neuropil …`` of a page that stands on a line of its own."""
    lines = re.findall(r"^(?:    )?(neuropil .*?)(?:\s+#.*)?$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_verbs_and_options_that_they_are_shown_with(page):
    inline = [shlex.split(text) for text in re.findall(r"`(neuropil [a-z][^`]*)`", page.read_text(encoding="utf-8"))]
    for words in commands(page) + inline:
        command: Any = typer.main.get_command(app)
        rest = words[1:]
        while rest and (verbs := getattr(command, "commands", None)):
            assert rest[0] in verbs, f"{page.name}: {shlex.join(words)}"
            command = verbs[rest.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for word in rest:
            if re.match(r"--?[a-z]", word):
                assert word.split("=")[0] in known, f"{page.name}: {word} in {shlex.join(words)}"


@pytest.mark.parametrize("page", ["README.md", "docs/tour.md", "docs/first_week.md"])
def test_sessions_can_be_typed(page, workplace, monkeypatch):
    """The commands of a page one after the other; nobody looks at what the viewer shows."""
    monkeypatch.setattr("neuropil.viewing.viewer.serve", lambda *_: None)
    for words in commands(ROOT / page):
        if words[1] == "train":
            words += [word for key, value in SHORT.items() for word in ("--set", f"training.{key}={value}")]
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}\n{done.exception!r}"
    for scores in workplace.glob("scores.json"):
        assert 0 <= json.loads(scores.read_text())["adapted_rand_error"] <= 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:src|tests|docs|configs|scripts)/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_every_page_has_its_place_on_the_site():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    places = re.findall(r"[\w.-]+\.md", json.dumps(site["nav"]))
    pages = {page.name for page in PAGES} - {"README.md"} | {"index.md", "api.md"}
    assert sorted(places) == sorted(pages)
