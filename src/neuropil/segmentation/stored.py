"""Threshold and minimum size: asked for, or stored with the affinities by the model that made them, or the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.volumes import Volume

DEFAULTS: Mapping[str, float] = {"threshold": 0.5, "min_size": 0}
"""What is taken where nobody says anything."""

WORDS = {"threshold": "threshold", "min_size": "minimum size"}


def settle(affinities: Volume, settings: SegmentConfig) -> tuple[SegmentConfig, list[str]]:
    """Settings in which threshold and minimum size are numbers, and lines that say where each is from.

    What is stored belongs to agglomeration: other methods take no threshold, and a minimum size only if it is asked
    for.

    Raises:
        NeuropilError: what is stored as a threshold or minimum size is none.

    >>> import numpy as np
    >>> from neuropil.volumes import Metadata, array_volume
    >>> stored = array_volume(np.zeros((3, 1, 2, 2)), Metadata(extra={"threshold": 0.3, "min_size": 400}))
    >>> settled, lines = settle(stored, SegmentConfig(min_size=100))
    >>> settled.threshold, settled.min_size, lines
    (0.3, 100, ['threshold 0.3 (stored with the affinities)', 'minimum size 100 (as asked)'])
    """
    if settings.method != "agglomerate":
        return settings.model_copy(update={"min_size": settings.min_size or 0}), []
    found: dict[str, float] = {}
    lines: list[str] = []
    for name, default in DEFAULTS.items():
        asked, stored = getattr(settings, name), affinities.metadata.extra.get(name)
        if asked is not None:
            found[name], origin = asked, "as asked"
        elif stored is not None:
            found[name], origin = _checked(name, stored, affinities.path), _origin(affinities, settings)
        else:
            found[name], origin = default, "the default, since none is stored with the affinities"
        lines.append(f"{WORDS[name]} {found[name]:g} ({origin})")
    return settings.model_copy(update=found), lines


def _origin(affinities: Volume, settings: SegmentConfig) -> str:
    """Where a stored value is from, and what for where that is something else."""
    extra = affinities.metadata.extra
    made_by = extra.get("made_by")
    name = made_by.get("name") if isinstance(made_by, Mapping) else None
    score = extra.get("score", settings.score)
    other = "" if score == settings.score else f", where it was chosen for score {score}"
    return "stored with the affinities" + (f" by {name}" if name else "") + other


def _checked(name: str, stored: Any, path: str) -> float:
    number = isinstance(stored, int | float) and not isinstance(stored, bool)
    if name == "threshold" and number and 0 <= stored <= 1:
        return float(stored)
    if name == "min_size" and number and stored >= 0 and stored == int(stored):
        return int(stored)
    expected = "threshold from 0 to 1" if name == "threshold" else "minimum size in voxels"
    raise NeuropilError(f"{path}: expected a stored {expected}, got {stored!r}; give --{name.replace('_', '-')}")
