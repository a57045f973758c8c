"""Builds are repeatable: whatever a requirement brings in has a version in constraints.txt that it allows."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(name): version for name, version in (line.split("==") for line in LINES)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
BUILDERS = {"setuptools"}  # comes with the interpreter's own tools, not with a package


def test_a_version_is_given_once():
    assert len(PINS) == len(LINES)


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_requirement_has_a_version_in_its_range(extra):
    for requirement in map(Requirement, EXTRAS[extra]):
        name = canonicalize_name(requirement.name)
        if name != "neuropil":
            assert name in PINS, requirement
            assert requirement.specifier.contains(PINS[name], prereleases=True), (str(requirement), PINS[name])


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_requirements_bring_in_has_versions_too(extra):
    todo, seen = [Requirement(text) for text in EXTRAS[extra] if not text.startswith("neuropil")], set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in seen or name in BUILDERS:
            continue
        seen.add(name)
        assert name in PINS, f"{requirement} has no version in constraints.txt"
        try:
            more = map(Requirement, metadata.distribution(name).requires or [])
        except metadata.PackageNotFoundError:  # an extra that is not installed here
            continue
        wanted = ("", *requirement.extras)
        todo += [one for one in more if not one.marker or any(one.marker.evaluate({"extra": e}) for e in wanted)]
