"""Writing recipes: YAML with a comment on every field, made from the same descriptions that check it."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from neuropil.config.files import Loader
from neuropil.config.schema import Config
from neuropil.config.section import Section

_WIDTH = 100


class _Dumper(yaml.SafeDumper):
    """Quotes text that any reader would take for a number."""


_Dumper.yaml_implicit_resolvers = {
    first: [*Loader.yaml_implicit_resolvers.get(first, []), *yaml.SafeLoader.yaml_implicit_resolvers.get(first, [])]
    for first in {*Loader.yaml_implicit_resolvers, *yaml.SafeLoader.yaml_implicit_resolvers}
}


def config_to_yaml(config: Config, comments: bool = True, full: bool = True) -> str:
    """The recipe as YAML that ``load_config`` reads back to an equal one.

    Args:
        config: the recipe.
        comments: say above each field what it means.
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
