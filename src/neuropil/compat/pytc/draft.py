"""A recipe in the making: our values, and the classic key that each came from."""

from __future__ import annotations

from typing import Any

from neuropil.compat.pytc.settings import Settings
from neuropil.config import Config
from neuropil.config.files import validate
from neuropil.errors import NeuropilError


class Draft:
    """Collects ``section.key`` values; mistakes in them are reported under the names that the user wrote."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.values: dict[str, Any] = {}
        self.notes: list[str] = []
        """What was done in another way than the words say."""
        self._origins: dict[tuple[str, ...], str] = {}

    def put(self, ours: str, value: Any, theirs: str) -> None:
        """Set ``section.key``, which follows from the classic key ``theirs``."""
        *sections, name = place = tuple(ours.split("."))
        values = self.values
        for section in sections:
            values = values.setdefault(section, {})
        values[name] = value
        self._origins[place] = theirs

    def refuse(self, theirs: str, problem: str) -> NeuropilError:
        """The error to raise about the value of a classic key."""
        return NeuropilError(f"{self.settings.where(theirs)}: {problem}")

    def choose(self, theirs: str, meanings: dict[str, Any], instead: str = "") -> Any:
        """What a word means here.

        Raises:
            NeuropilError: a word without a meaning here; the error lists those that have one.
        """
        word = self.settings[theirs]
        if word not in meanings:
            known = ", ".join(meanings)
            raise self.refuse(theirs, f"expected {known}, got {word!r}" + (f"; {instead}" if instead else ""))
        return meanings[word]

    def finish(self) -> Config:
        """The typed recipe.

        Raises:
            NeuropilError: a value that does not fit; the error names the classic key and its place.
        """

        def source(key: tuple[str | int, ...]) -> str:
            for place, theirs in self._origins.items():
                if key[: len(place)] == place or key == place[: len(key)]:
                    return self.settings.where(theirs)
            return "translated"

        return validate(self.values, source)
