"""Read files in the classic vocabulary: BASE, then FILE, then ``KEY VALUE`` pairs; every key is checked."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from neuropil.compat.pytc.version2 import is_version_2
from neuropil.compat.pytc.vocabulary import VOCABULARY, Key
from neuropil.config.files import parse_yaml, read_yaml
from neuropil.errors import NeuropilError

SAVED = "classic.yaml"
"""File in the folder of a run with its configuration in the classic vocabulary."""


@dataclass(frozen=True)
class Settings:
    """Values of all keys: the given ones, else the defaults."""

    given: Mapping[str, Any]
    places: Mapping[str, str]
    """File and line of each value that was given."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Refused keys, and why; they have their defaults."""
    read: set[str] = field(default_factory=set)
    """Keys that the translation has read: tests find the forgotten ones."""

    def __getitem__(self, name: str) -> Any:
        key = VOCABULARY[name]
        self.read.add(name)
        return self.given.get(name, key.default)

    def where(self, name: str) -> str:
        """A key with its file and line, as errors name it."""
        return f"{self.places[name]}: {name}" if name in self.places else name

    def notes(self) -> list[str]:
        """Lines about keys without effect that the user wrote, except those that only switch something off."""
        idle: dict[str, list[str]] = {}
        for name in self.given:
            if VOCABULARY[name].verdict == "accepted" and self.asks(name):
                idle.setdefault(VOCABULARY[name].why, []).append(name)
        return [self.idle(names, why) for why, names in idle.items()]

    def asks(self, name: str) -> bool:
        """Whether the user wrote a key, and not only to switch something off that is off by default."""
        value = self.given.get(name)
        return name in self.given and bool(value or plain(value) != plain(VOCABULARY[name].default))

    def idle(self, names: Sequence[str], why: str) -> str:
        """The line about keys that have no effect."""
        return f"{', '.join(map(self.where, names))} change{'s' * (len(names) == 1)} nothing here: {why}"


def read_settings(files: Sequence[Path | str], overrides: Sequence[str] = (), refuse: bool = True) -> Settings:
    """Read YAML files in the classic vocabulary: later ones win, then ``KEY VALUE`` pairs.

    As in the classic package, text such as ``"None"``, ``'[1, 2]'`` or ``(2, 2)`` is evaluated as a literal.

    With ``refuse=False`` problems with keys are kept, and ``translate`` raises them together with those it finds.

    Raises:
        NeuropilError: a missing or unreadable file; keys that are not in the vocabulary, have a value of the wrong
            type, or ask for something that is not supported here. All of them are named.

    >>> settings = read_settings([], ["SOLVER.BASE_LR", "1e-3", "INFERENCE.AUG_NUM", "None"])
    >>> settings["SOLVER.BASE_LR"], settings["INFERENCE.AUG_NUM"], settings["SOLVER.NAME"]
    (0.001, None, 'SGD')
    """
    given: dict[str, Any] = {}
    places: dict[str, str] = {}
    for path in map(_in_classic_words, files):
        values, lines = read_yaml(Path(path))
        for key, value in _leaves(values):
            name = ".".join(key)
            given[name], places[name] = value, f"{path}:{lines.get(key, 1)}"
    for name, value in _pairs(overrides):
        given[name], places[name] = value, "command line"
    problems = {}
    for name in given:
        try:
            given[name] = _check(name, given[name])
        except NeuropilError as error:
            problems[name] = f"{places[name]}: {error}"
        except RecursionError:
            problems[name] = f"{places[name]}: {name}: a list that holds itself, or is nested too deeply"
    if problems and refuse:
        raise NeuropilError("\n".join(problems.values()))
    known = {name: value for name, value in given.items() if name not in problems}
    return Settings(known, {name: places[name] for name in known}, problems)


def _in_classic_words(path: Path | str) -> Path:
    """The file itself, or for a native recipe the classic one that ``scripts/main.py`` wrote next to it.

    Raises:
        NeuropilError: a native recipe without a classic one next to it, or a configuration of version 2.
    """
    path = Path(path)
    values = read_yaml(path)[0]
    if is_version_2(values):
        raise NeuropilError(
            f"{path} is a configuration of PyTorch Connectomics version 2: neuropil config convert {path} -o "
            "recipe.yaml"
        )
    if not values or any(str(section).isupper() for section in values):
        return path
    if not {"data", "model", "training"} & set(map(str, values)):
        return path
    if (beside := path.with_name(SAVED)).is_file():
        return beside
    raise NeuropilError(f"{path} is a recipe of neuropil, and no {SAVED} lies next to it: neuropil train {path}")


def settings_to_yaml(settings: Settings) -> str:
    """All keys with their values, as the classic program saves them; :func:`read_settings` reads the result.

    >>> "BASE_LR: 0.5" in settings_to_yaml(read_settings([], ["SOLVER.BASE_LR", "0.5"]))
    True
    """
    tree: dict[str, Any] = {}
    for name, key in VOCABULARY.items():
        *sections, last = name.split(".")
        level = tree
        for section in sections:
            level = level.setdefault(section, {})
        level[last] = plain(settings.given.get(name, key.default))
    return yaml.safe_dump(tree, sort_keys=False)


def plain(value: Any) -> Any:
    """Convert tuples to lists, at any depth: the classic package does not distinguish them.

    >>> plain(((1, 2), [3]))
    [[1, 2], [3]]
    """
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _leaves(values: Mapping[Any, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All values of a nested mapping, with their keys; a section whose keys are all commented out has none."""
    for name, value in values.items():
        key = (*above, str(name))
        if isinstance(value, Mapping):
            yield from _leaves(value, key)
        elif value is not None or not _is_section(".".join(key)):
            yield key, value


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if len(words) % 2:
        raise NeuropilError(f"expected pairs of KEY VALUE after the options, got {len(words)} words: {' '.join(words)}")
    for name, text in zip(words[::2], words[1::2], strict=True):
        try:
            yield name, parse_yaml(text)
        except ValueError:
            yield name, text


def _check(name: str, value: Any) -> Any:
    """The value of a key, evaluated and checked.

    Raises:
        NeuropilError: an unknown key, a wrong type, or a refused value.
    """
    key = VOCABULARY.get(name)
    if key is None:
        raise NeuropilError(f"{name}: {_unknown(name)}")
    value = _decode(value, key)
    if key.verdict == "refused":
        if plain(value) != plain(key.default) and not any(plain(value) == plain(other) for other in key.harmless):
            raise NeuropilError(f"{name}: {value!r} is not supported here; {key.why}")
        return value
    if key.verdict == "honoured" and not _has_kind(value, key):
        raise NeuropilError(f"{name}: expected {_kinds(key)}, got {value!r}")
    return _items(name, value, key) if key.verdict == "honoured" and isinstance(value, list | tuple) else value


def _decode(value: Any, key: Key) -> Any:
    """The literal in a text; the text itself for keys that take text."""
    if not isinstance(value, str):
        return value
    if value == "None" and (key.default is None or None in key.harmless):
        return None
    a_list = value.startswith(("[", "("))
    if str in (type(key.default), *key.kinds) and not (a_list and list in key.kinds):
        return value
    return _literal(value)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _has_kind(value: Any, key: Key) -> bool:
    if value is None:
        return key.default is None or None in key.harmless
    wanted = (*key.kinds, *([] if key.default is None else [type(key.default)]))
    return any(_is(value, kind) for kind in wanted)


def _is(value: Any, kind: type) -> bool:
    if kind in (list, tuple):
        return isinstance(value, list | tuple)
    if kind is bool:
        return isinstance(value, bool) or value in (0, 1)
    if isinstance(value, float) and not isfinite(value):
        return False
    return isinstance(value, int | float if kind is float else kind) and not isinstance(value, bool)


def _items(name: str, value: Any, key: Key) -> Any:
    """The list, if its items have the type and at most the nesting of the default's items.

    Raises:
        NeuropilError: an item of another type.
    """
    first, depth = key.default, 1
    if isinstance(first, list | tuple):
        first, depth = first[0], 1 + isinstance(first[0], list | tuple)
    if isinstance(first, list | tuple):
        first = first[0]
    kind = (str if str in key.kinds else int) if first is None else type(first)

    def item(one: Any, deeper: int) -> Any:
        if isinstance(one, list | tuple) and deeper > 0:
            return type(one)([item(part, deeper - 1) for part in one])
        if isinstance(one, str) and kind is not str:
            one = _literal(one)
        if _is(one, kind) or (kind is str and _is(one, int)) or (one is None and int in key.kinds):
            return one
        raise NeuropilError(f"{name}: expected {_WORDS[kind]} for each item, got {one!r}")

    return item(value, depth)


_WORDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "True or False",
    list: "a list",
    tuple: "a list",
}


def _kinds(key: Key) -> str:
    kinds = [*([] if key.default is None else [type(key.default)]), *key.kinds]
    words = [*(["None"] if key.default is None else []), *(_WORDS[kind] for kind in kinds)]
    return " or ".join(dict.fromkeys(words))


def _is_section(name: str) -> bool:
    return any(known.startswith(f"{name}.") for known in VOCABULARY)


def _unknown(name: str) -> str:
    if _is_section(name):
        return "expected keys with values, not a value"
    section, _, last = name.rpartition(".")
    if section in VOCABULARY:
        return f"unknown key; {section} takes a value, not keys"
    names = [known.removeprefix(f"{section}.") for known in VOCABULARY if known.startswith(f"{section}.")]
    if close := get_close_matches(last, names, 1, cutoff=0.7):
        return f"unknown key; did you mean {section}.{close[0]}?"
    if same := [known for known in VOCABULARY if known.rpartition(".")[2] == last]:
        return f"unknown key; did you mean {' or '.join(same[:3])}?"
    sections = dict.fromkeys(known.partition(".")[0] for known in VOCABULARY)
    return f"unknown key; known there: {', '.join(names)}" if names else f"unknown; sections are {', '.join(sections)}"
