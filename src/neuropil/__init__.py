"""neuropil: from an electron-microscopy image to a map in which every neuron has its own id.

The public names, in the order in which data flows. They are imported when first used, so that
``import neuropil`` (and ``neuropil --help``) stay instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuropil.config import Config as Config
    from neuropil.config import load_config as load_config
    from neuropil.errors import NeuropilError as NeuropilError
    from neuropil.evaluation import Contingency as Contingency
    from neuropil.evaluation import Scores as Scores
    from neuropil.evaluation import contingency as contingency
    from neuropil.evaluation import evaluate as evaluate
    from neuropil.geometry import NEAREST as NEAREST
    from neuropil.geometry import Box as Box

__version__ = "0.1.0"

_HOME = {
    "NeuropilError": "errors",
    "Config": "config",
    "load_config": "config",
    "Box": "geometry",
    "NEAREST": "geometry",
    "contingency": "evaluation",
    "Contingency": "evaluation",
    "evaluate": "evaluation",
    "Scores": "evaluation",
}

__all__ = [
    "NEAREST",
    "Box",
    "Config",
    "Contingency",
    "NeuropilError",
    "Scores",
    "contingency",
    "evaluate",
    "load_config",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"neuropil.{_HOME[name]}"), name)
    raise AttributeError(f"module 'neuropil' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
