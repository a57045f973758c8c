"""Recipes as files: YAML read in order, then ``--set``; written with a comment on every field."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from neuropil.config.mistakes import KeyPath, came, dotted, validate
from neuropil.config.schema import Config
from neuropil.config.section import Section
from neuropil.errors import NeuropilError
from neuropil.inputs import expect_file


class Loader(yaml.SafeLoader):
    """YAML's safe loader, except that 2e-3 is a number and 1:30 is not (YAML 1.1 reads it as 90)."""


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
    """Read recipes: later files override earlier ones key by key, lists are replaced, ``sets`` override all.

    Args:
        paths: YAML files, merged in order. None of them: the defaults.
        sets: ``section.key=value`` with the value in YAML, for example ``training.minutes=6``.

    Raises:
        NeuropilError: a missing or unreadable file, a duplicate or unknown key, a wrong value.

    >>> load_config([], ["optimizer.learning_rate=1e-3"]).optimizer.learning_rate
    0.001
    """
    values: dict[str, Any] = {}
    sources: dict[KeyPath, str] = {}
    for path in paths:
        loaded, lines = read_yaml(Path(path))
        values = _merge(values, loaded, sources, lambda key, lines=lines, path=path: f"{path}:{lines[key]}")  # type: ignore[misc]
    for text in sets:
        _set(values, sources, text)
    return validate(Config, values, lambda key: _source(sources, key))


_BYTES, _VALUES = 10**7, 10**5
"""Largest file and number of values of a recipe: a few nested YAML aliases can expand to more than memory holds."""


def parse_yaml(text: str) -> Any:
    """Parse a YAML text.

    Raises:
        ValueError: no valid YAML, or it expands to too many values.
    """
    try:
        node = _parse(text)
        return None if node is None else Loader("").construct_document(node)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _parse(text: str) -> yaml.Node | None:
    """The nodes of a text; ValueError if its aliases expand to too many."""
    loader = Loader(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    sizes: dict[int, int] = {}

    def size(one: yaml.Node) -> int:
        if id(one) not in sizes:
            sizes[id(one)] = 1  # a node that contains itself is refused later
            inside = one.value if isinstance(one, yaml.SequenceNode) else []
            inside = [child for pair in one.value for child in pair] if isinstance(one, yaml.MappingNode) else inside
            sizes[id(one)] = 1 + sum(map(size, inside))
        return sizes[id(one)]

    if node is not None and size(node) > _VALUES:
        raise ValueError(f"it stands for more than {_VALUES:,} values; are there nested aliases?")
    return node


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """A YAML file and the line of each key.

    Raises:
        NeuropilError: no such file, no YAML, no mapping, or the same key twice.
    """
    expect_file(path)
    try:
        if path.stat().st_size > _BYTES:
            raise NeuropilError(f"{path}: expected a recipe, got a file of {path.stat().st_size:,} bytes")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NeuropilError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NeuropilError(f"{path}: cannot be read as a YAML config ({error})") from None
    lines: dict[KeyPath, int] = {}
    try:
        node = _parse(text)
        if node is None:
            return {}, {}
        _walk(node, (), lines, path)
        values = Loader("").construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        raise NeuropilError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise NeuropilError(f"{path}: a value that holds itself, or is nested too deeply") from None
    if not isinstance(values, dict):
        raise NeuropilError(f"{path}: expected sections such as 'training:', got {came(values)}")
    return values, lines


def _walk(node: yaml.Node, key: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    """Record the line of every key; refuse a key given twice, of which YAML would keep the last without a message."""
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(child, (*key, index), lines, path)
    elif isinstance(node, yaml.MappingNode):
        for name, child in node.value:
            here = (*key, str(name.value))
            line = name.start_mark.line + 1
            if here in lines:
                raise NeuropilError(f"{path}:{line}: {dotted(here)} is given twice, first on line {lines[here]}")
            lines[here] = line
            _walk(child, here, lines, path)


def _merge(
    old: dict[str, Any],
    new: dict[str, Any],
    sources: dict[KeyPath, str],
    source: Callable[[KeyPath], str],
    key: KeyPath = (),
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


def _forget(key: KeyPath, sources: dict[KeyPath, str]) -> None:
    for stale in [other for other in sources if other[: len(key)] == key]:
        del sources[stale]


def _note(value: object, key: KeyPath, sources: dict[KeyPath, str], source: Callable[[KeyPath], str]) -> None:
    try:
        sources[key] = source(key)
    except KeyError:  # brought in by a YAML merge key (<<): the enclosing mapping's line will do
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        _note(child, (*key, name if isinstance(name, int) else str(name)), sources, source)


def _set(values: dict[str, Any], sources: dict[KeyPath, str], text: str) -> None:
    """Apply one ``section.key=value``; numbers step into lists: ``data.train.0.box=…``, ``data.train[0].box=…``."""
    name, equals, value = text.partition("=")
    parts = re.sub(r"\[(\d+)\]", r".\1", name.strip()).split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise NeuropilError(f"--set {text}: expected section.key=value, for example training.minutes=6")
    try:
        parsed = parse_yaml(value)
    except ValueError:
        raise NeuropilError(f"--set {text}: the value is not valid YAML; quote it: {name}='\"…\"'") from None
    here: Any = values
    key: KeyPath = ()
    for depth, part in enumerate(parts):
        step: str | int = part
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise NeuropilError(
                    f"--set {text}: {dotted(key)} is a list of {len(here)}; expected a number below that"
                )
            step = int(part)
        elif not isinstance(here, dict):
            raise NeuropilError(f"--set {text}: {dotted(key)} is {came(here)}, which has no {part!r} inside")
        key = (*key, step)
        if depth == len(parts) - 1:
            here[step] = parsed
        else:  # a copy, because a YAML alias may use the same value elsewhere
            missing = isinstance(here, dict) and here.get(step) is None
            here[step] = {} if missing else copy(here[step])
        here = here[step]
    _forget(key, sources)
    _note(parsed, key, sources, lambda _: f"--set {text}")


def _source(sources: dict[KeyPath, str], key: KeyPath) -> str:
    """Where a key was given, or else a key inside it, or else the nearest section around it."""
    for depth in range(len(key), 0, -1):
        if found := [given for given in sources if given[:depth] == key[:depth]]:
            return sources[min(found, key=len)]
    return "config"


_WIDTH = 100


class _Dumper(yaml.SafeDumper):
    """Quotes text that any YAML reader would take for a number."""


_Dumper.yaml_implicit_resolvers = {
    first: [*Loader.yaml_implicit_resolvers.get(first, []), *yaml.SafeLoader.yaml_implicit_resolvers.get(first, [])]
    for first in {*Loader.yaml_implicit_resolvers, *yaml.SafeLoader.yaml_implicit_resolvers}
}


def config_to_yaml(config: Config, comments: bool = True, full: bool = True) -> str:
    """Write a recipe as YAML, from which ``load_config`` reads an equal recipe.

    Args:
        config: the recipe.
        comments: write the description above each field.
        full: write every field; else only those that differ from the defaults.

    >>> config_to_yaml(Config(), comments=False).splitlines()[:3]
    ['data:', '  train: []', '  validation: []']
    >>> config_to_yaml(Config.from_dict({"training": {"minutes": 6}}), comments=False, full=False).split()
    ['training:', 'minutes:', '6.0']
    """
    parts = []
    for name in type(config).model_fields:
        section: Section = getattr(config, name)
        about = _comment(section.__doc__ or "", "") if comments else []
        if lines := _lines(section, "  ", comments, full):
            parts.append("\n".join([*about, f"{name}:", *lines]))
    return ("\n\n" if comments else "\n").join(parts) + "\n"


def _lines(section: Section, indent: str, comments: bool, full: bool = True) -> list[str]:
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if not full and not field.is_required() and value == field.default:
            continue
        if comments:
            lines += _comment((field.description or "") + _default(field, value), indent)
        if isinstance(value, Section):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ", comments=False, full=full)]
        elif isinstance(value, tuple) and value and isinstance(value[0], Section):
            lines.append(f"{indent}{name}:")
            for item in value:
                inner = _lines(item, indent + "    ", comments=False, full=full)
                lines += [f"{indent}  - {inner[0].strip()}", *inner[1:]]
        else:
            lines.append(f"{indent}{name}: {_flow(value)}")
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in wrap(text, _WIDTH - len(indent))]


def _default(field: FieldInfo, value: object) -> str:
    if field.is_required() or value == field.default or isinstance(field.default, Section):
        return ""
    return f" (default {_flow(field.default)})"


def _flow(value: Any) -> str:
    plain = _plain(value)
    printable = not isinstance(plain, str) or plain.isprintable()  # else written with escapes
    text = yaml.dump(plain, Dumper=_Dumper, default_flow_style=True, width=10**6, allow_unicode=printable)
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
