"""Errors in recipes, with file, key and the nearest known name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from neuropil.config.section import Section
from neuropil.errors import NeuropilError

KeyPath = tuple[str | int, ...]
_Kind = TypeVar("_Kind", bound=BaseModel)


def validate(kind: type[_Kind], values: dict[str, Any], source: Callable[[KeyPath], str]) -> _Kind:
    """The typed section or recipe, or one error that lists all wrong keys with their positions (``source(key)``).

    Raises:
        NeuropilError: unknown, missing or wrong keys.

    >>> from neuropil.config import Config
    >>> validate(Config, {"training": {"batch": 2}}, lambda key: "recipe.yaml").training.batch
    2
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [_explain(kind, dict(one), source) for one in error.errors(include_url=False)]
    raise NeuropilError("\n".join(problems)) from None


def changed(section: _Kind, changes: dict[str, Any], source: str) -> _Kind:
    """A section with some values replaced, checked as a recipe is; None leaves a value as it is.

    Raises:
        NeuropilError: an unknown name or a wrong value, with ``source`` in front.

    >>> from neuropil.config import PredictConfig
    >>> changed(PredictConfig(), {"tta": 4, "tile": None}, "arguments").tta
    4
    """
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        return section
    return validate(type(section), section.model_dump(mode="json") | given, lambda _: source)


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


def _explain(kind: type[BaseModel], error: dict[str, Any], source: Callable[[KeyPath], str]) -> str:
    key: KeyPath = error["loc"]
    where = f"{source(key)}: {dotted(key)}"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key{_nearest(kind, key)}"
    if error["type"] == "missing":
        return f"{where}: is needed and missing"
    if error["type"] == "value_error":
        reason = str(error["ctx"]["error"])
        return f"{where}: {reason}" + ("" if "got" in reason else f"; got {came(error['input'])}")
    expected = _EXPECTED.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    return f"{where}: expected {expected}, got {came(error['input'])}"


def _nearest(kind: type[BaseModel], key: KeyPath) -> str:
    """'; did you mean …?' with a similar name of that section or of another one, else the list of names."""
    names = _names(kind, key[:-1])
    last = str(key[-1])
    if close := get_close_matches(last, names, 1):
        return f"; did you mean {close[0]}?"
    everywhere = {f"{section}.{name}": name for section in _names(kind, ()) for name in _names(kind, (section,))}
    if close := [path for path, name in everywhere.items() if name in get_close_matches(last, everywhere.values(), 1)]:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(names)}" if names else ""


def _names(kind: type[BaseModel], key: KeyPath) -> list[str]:
    """Fields of the section at this key."""
    section: type[BaseModel] | None = kind
    for step in key:
        if isinstance(step, str):
            field = section.model_fields.get(step) if section else None
            section = _section_in(field.annotation) if field else None
    return list(section.model_fields) if section else []


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Section) else None
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def dotted(key: KeyPath) -> str:
    """A key as a recipe's reader writes it: ``data.train[0].box``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key)
    return text.lstrip(".")


def came(value: object) -> str:
    """A value as YAML writes it, shortened to one line, for error messages."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping with " + (", ".join(map(str, list(value)[:4])) or "no keys")
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else text[:57] + "…"
