"""Reading recipes: YAML files merged in order, then ``--set``; mistakes explained with file, key and nearest name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from neuropil.config.schema import Config
from neuropil.config.section import Section
from neuropil.errors import NeuropilError

Key = tuple[str | int, ...]


class Loader(yaml.SafeLoader):
    """The safe loader, with numbers as people write them: 2e-3 is a number, and 1:30 is not ninety."""


_FLOAT = re.compile(
    r"^[-+]?(?:\d[\d_]*\.?[\d_]*(?:[eE][-+]?\d+)?|\.\d[\d_]*(?:[eE][-+]?\d+)?|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
)
_INT = re.compile(r"^[-+]?(?:0|[1-9][\d_]*|0x[\da-fA-F_]+)$")
Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith((":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def load_config(paths: Sequence[Path | str], sets: Sequence[str] = ()) -> Config:
    """Read recipes: later files win over earlier ones key by key, lists are replaced, ``sets`` win over all.

    Args:
        paths: YAML files, merged in order. None of them: the defaults.
        sets: ``section.key=value`` with the value in YAML, for example ``training.minutes=6``.

    Raises:
        NeuropilError: a missing or unreadable file, a duplicate or unknown key, a wrong value.

    >>> load_config([], ["optimizer.learning_rate=1e-3"]).optimizer.learning_rate
    0.001
    """
    values: dict[str, Any] = {}
    sources: dict[Key, str] = {}
    for path in paths:
        loaded, lines = read_yaml(Path(path))
        values = _merge(values, loaded, sources, lambda key, lines=lines, path=path: f"{path}:{lines[key]}")  # type: ignore[misc]
    for text in sets:
        _set(values, sources, text)
    return validate(values, lambda key: _source(sources, key))


def validate(values: dict[str, Any], source: Callable[[Key], str]) -> Config:
    """The typed config, or one error that names every mistake with its place (``source(key)``).

    >>> validate({"training": {"batch": 2}}, lambda key: "recipe.yaml").training.batch
    2
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_explain(dict(one), source) for one in error.errors(include_url=False)]
    raise NeuropilError("\n".join(problems)) from None


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    """A YAML file and the line of each key.

    Raises:
        NeuropilError: no such file, no YAML, no mapping, or the same key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NeuropilError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NeuropilError(f"{path}: cannot be read as a YAML config ({error})") from None
    loader = Loader(text)
    lines: dict[Key, int] = {}
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        _walk(node, (), lines, path)
        values = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise NeuropilError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise NeuropilError(f"{path}: a value that holds itself, or is nested too deeply") from None
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise NeuropilError(f"{path}: expected sections such as 'training:', got {_came(values)}")
    return values, lines


def _walk(node: yaml.Node, key: Key, lines: dict[Key, int], path: Path) -> None:
    """Note the line of every key; refuse the same key twice, of which YAML would silently keep the last."""
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(child, (*key, index), lines, path)
    elif isinstance(node, yaml.MappingNode):
        for name, child in node.value:
            here = (*key, str(name.value))
            line = name.start_mark.line + 1
            if here in lines:
                raise NeuropilError(f"{path}:{line}: {_dotted(here)} is given twice, first on line {lines[here]}")
            lines[here] = line
            _walk(child, here, lines, path)


def _merge(
    old: dict[str, Any], new: dict[str, Any], sources: dict[Key, str], source: Callable[[Key], str], key: Key = ()
) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        here = (*key, str(name))
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merge(merged[name], value, sources, source, here)
            continue
        if value is None and len(here) == 1:
            continue  # "training:" with all its keys commented out
        merged[name] = value
        _forget(here, sources)
        _note(value, here, sources, source)
    return merged


def _forget(key: Key, sources: dict[Key, str]) -> None:
    for stale in [other for other in sources if other[: len(key)] == key]:
        del sources[stale]


def _note(value: object, key: Key, sources: dict[Key, str], source: Callable[[Key], str]) -> None:
    try:
        sources[key] = source(key)
    except KeyError:  # brought in by a YAML merge key (<<): the enclosing mapping's line will do
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        _note(child, (*key, name if isinstance(name, int) else str(name)), sources, source)


def _set(values: dict[str, Any], sources: dict[Key, str], text: str) -> None:
    """Apply one ``section.key=value``; numbers step into lists: ``data.train.0.box=…``, ``data.train[0].box=…``."""
    name, equals, value = text.partition("=")
    parts = re.sub(r"\[(\d+)\]", r".\1", name.strip()).split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise NeuropilError(f"--set {text}: expected section.key=value, for example training.minutes=6")
    try:
        parsed = yaml.load(value, Loader)
    except yaml.YAMLError:
        raise NeuropilError(f"--set {text}: the value is not valid YAML; quote it: {name}='\"…\"'") from None
    here: Any = values
    key: Key = ()
    for depth, part in enumerate(parts):
        step: str | int = part
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise NeuropilError(
                    f"--set {text}: {_dotted(key)} is a list of {len(here)}; expected a number below that"
                )
            step = int(part)
        elif not isinstance(here, dict):
            raise NeuropilError(f"--set {text}: {_dotted(key)} is {_came(here)}, which has no {part!r} inside")
        key = (*key, step)
        if depth == len(parts) - 1:
            here[step] = parsed
        else:  # a copy, because a YAML alias may use the same value elsewhere
            missing = isinstance(here, dict) and here.get(step) is None
            here[step] = {} if missing else copy(here[step])
        here = here[step]
    _forget(key, sources)
    _note(parsed, key, sources, lambda _: f"--set {text}")


def _source(sources: dict[Key, str], key: Key) -> str:
    """Where a key, or else something in it, or else the nearest thing around it, was given."""
    for depth in range(len(key), 0, -1):
        if found := [given for given in sources if given[:depth] == key[:depth]]:
            return sources[min(found, key=len)]
    return "config"


_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "dict_type": "keys with values",
    "greater_than": "a value > {gt}",
    "greater_than_equal": "a value ≥ {ge}",
    "less_than": "a value < {lt}",
    "less_than_equal": "a value ≤ {le}",
    "literal_error": "{expected}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}


def _explain(error: dict[str, Any], source: Callable[[Key], str]) -> str:
    key: Key = error["loc"]
    where = f"{source(key)}: {_dotted(key)}"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key{_nearest(key)}"
    if error["type"] == "missing":
        return f"{where}: is needed and missing"
    if error["type"] == "value_error":
        reason = str(error["ctx"]["error"])
        return f"{where}: {reason}" + ("" if "got" in reason else f"; got {_came(error['input'])}")
    expected = _EXPECTED.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    return f"{where}: expected {expected}, got {_came(error['input'])}"


def _nearest(key: Key) -> str:
    """'; did you mean …?' from the names of that section, else the same name in another, else the list of names."""
    names = _names(key[:-1])
    last = str(key[-1])
    if close := get_close_matches(last, names, 1):
        return f"; did you mean {close[0]}?"
    everywhere = {f"{section}.{name}": name for section in _names(()) for name in _names((section,))}
    if close := [path for path, name in everywhere.items() if name in get_close_matches(last, everywhere.values(), 1)]:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(names)}" if names else ""


def _names(key: Key) -> list[str]:
    """Fields of the section at this key."""
    section: type[Section] | None = Config
    for step in key:
        if isinstance(step, str):
            field = section.model_fields.get(step) if section else None
            section = _section_in(field.annotation) if field else None
    return list(section.model_fields) if section else []


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Section) else None
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def _dotted(key: Key) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key)
    return text.lstrip(".")


def _came(value: object) -> str:
    """A value in the words of YAML, short enough for one line."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping with " + (", ".join(map(str, list(value)[:4])) or "no keys")
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else text[:57] + "…"
