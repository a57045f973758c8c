"""``connectomics.config``: a configuration as nested attributes, read and checked by neuropil."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuropil.compat.pytc.settings import Settings, read_settings, settings_to_yaml
from neuropil.compat.pytc.vocabulary import VOCABULARY
from neuropil.errors import NeuropilError


class Cfg:
    """A configuration: ``cfg.MODEL.FILTERS``; keys and values are those that the vocabulary knows."""

    def __init__(self, settings: Settings, section: str = "", root: Cfg | None = None) -> None:
        self.__dict__.update(given=settings, section=section, root=root or self, frozen=False)

    @property
    def settings(self) -> Settings:
        """The given values, and the defaults of all others."""
        given: Settings = self.__dict__["root"].__dict__["given"]
        return given

    def __getattr__(self, name: str) -> Any:
        full = f"{self.section}.{name}" if self.section else name
        root: Cfg = self.__dict__["root"]
        if full in VOCABULARY:
            return root.__dict__["given"][full]
        if any(known.startswith(f"{full}.") for known in VOCABULARY):
            return Cfg(root.__dict__["given"], full, root)
        raise AttributeError(f"no key {full} in the configuration")

    def __setattr__(self, name: str, value: Any) -> None:
        full = f"{self.section}.{name}" if self.section else name
        self.__dict__["root"].merge_from_list([full, value])

    def merge_from_file(self, path: str | Path) -> None:
        """Read a YAML file; its values replace the present ones."""
        self._merge(read_settings([path]))

    def merge_from_list(self, words: Sequence[Any]) -> None:
        """Set values from a list ``[KEY, value, KEY, value, …]``."""
        self._merge(read_settings([], [str(word) for word in words]))

    def _merge(self, more: Settings) -> None:
        if self.__dict__["frozen"]:
            raise NeuropilError("the configuration is frozen: cfg.defrost() first")
        mine: Settings = self.__dict__["given"]
        merged = Settings({**mine.given, **more.given}, {**mine.places, **more.places})
        self.__dict__["given"] = merged

    def freeze(self) -> None:
        """Refuse further changes."""
        self.__dict__["frozen"] = True

    def defrost(self) -> None:
        """Allow changes again."""
        self.__dict__["frozen"] = False

    def dump(self) -> str:
        """All keys and values as YAML."""
        return settings_to_yaml(self.__dict__["given"])


def get_cfg_defaults() -> Cfg:
    """The classic defaults.

    >>> cfg = get_cfg_defaults()
    >>> cfg.SOLVER.BASE_LR = 0.5
    >>> cfg.SOLVER.BASE_LR, cfg.MODEL.FILTERS
    (0.5, [28, 36, 48, 64, 80])
    """
    return Cfg(read_settings([]))


def load_cfg(args: argparse.Namespace, freeze: bool = True) -> Cfg:
    """The configuration of parsed arguments: ``config_base``, ``config_file`` and ``opts``, where they exist."""
    files = [path for path in (getattr(args, "config_base", None), getattr(args, "config_file", None)) if path]
    cfg = Cfg(read_settings(files, [str(word) for word in getattr(args, "opts", None) or []]))
    if freeze:
        cfg.freeze()
    return cfg
