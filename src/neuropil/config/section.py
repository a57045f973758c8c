"""The base class of the sections of a recipe, and the types that several of them share."""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from neuropil.geometry import Box, Offsets, parse_offsets

_ANY_WHOLE = Box((0, 0, 0), (2**40, 2**40, 2**40))  # boxes are read against their volume when it is opened


def _three(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) != 3:
        raise ValueError("expected three numbers [z, y, x]")
    return value


def expand_path(path: str) -> str:
    """Replace ``${NAME}`` and a leading ``~`` in a path; an unset variable is an error."""
    for name in re.findall(r"\$\{(\w+)\}", path):
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set; set it: export {name}=/folder")
    return os.path.expanduser(re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], path))


def a_box(text: str) -> str:
    """Check the form of a box, and return the text."""
    Box.parse(text, _ANY_WHOLE)
    return text


def a_score(text: str) -> str:
    """Check the name of a score of agglomeration, and return it."""
    if text not in ("mean", "max", "min") and not re.fullmatch(r"q([0-9]{1,2}|100)", text):
        raise ValueError("expected mean, max, min or qNN (a quantile: q50 is the median, q75 the upper quartile)")
    return text


def an_offset_list(offsets: Offsets) -> Offsets:
    """Check offsets with :func:`neuropil.geometry.parse_offsets`."""
    return parse_offsets(offsets)


# YAML has lists, not tuples: the container's type is not strict, those of its elements are.
Lenient = Strict(False)
Path = Annotated[str, Field(min_length=1), AfterValidator(expand_path)]
Shape = Annotated[
    tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]],
    Lenient,
    BeforeValidator(_three),
]
Overlap = Annotated[
    tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]],
    Lenient,
    BeforeValidator(_three),
]
Offset = Annotated[tuple[int, int, int], Lenient, BeforeValidator(_three)]


def named_offsets(given: object) -> object:
    """Offsets that are given by the name of a preset."""
    return parse_offsets(given) if isinstance(given, str) else given


Nanometres = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
    Lenient,
    BeforeValidator(_three),
]
Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A section of a recipe: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
