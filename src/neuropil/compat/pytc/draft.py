"""A recipe during its translation: its values, the classic key of each, notes, and all problems found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from neuropil.compat.pytc.settings import Settings
from neuropil.config import Config
from neuropil.config.mistakes import validate
from neuropil.errors import NeuropilError

Result = TypeVar("Result")


class Draft:
    """Collects ``section.key`` values; mistakes in them are reported under the names that the user wrote."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.values: dict[str, Any] = {}
        self.notes: list[str] = []
        """Lines about settings that are done in another way than in the classic package."""
        self._origins: dict[tuple[str | int, ...], str] = {}
        self._problems: list[str] = []

    def put(self, ours: str, value: Any, theirs: str) -> None:
        """Set ``section.key``, which follows from the classic key ``theirs``."""
        *sections, name = place = tuple(ours.split("."))
        values = self.values
        for section in sections:
            values = values.setdefault(section, {})
        values[name] = value
        self.origin(place, theirs)

    def attempt(self, step: Callable[..., Result], *arguments: Any) -> Result | None:
        """The result of a step; None if it refuses a value: :meth:`settle` reports all refused values together."""
        try:
            return step(*arguments)
        except NeuropilError as error:
            self._problems += str(error).splitlines()
            return None

    def settle(self) -> None:
        """Raise all problems found so far.

        Raises:
            NeuropilError: a line for each problem.
        """
        refused = self.settings.problems
        # Refused keys had their defaults during the translation: problems with those are not the user's.
        found = [line for line in self._problems if line.partition(": ")[0] not in refused]
        if lines := dict.fromkeys([*refused.values(), *found]):
            raise NeuropilError("\n".join(lines))

    def origin(self, place: tuple[str | int, ...], theirs: str) -> None:
        """Note the classic key of a part of a value."""
        self._origins[place] = theirs

    def refuse(self, theirs: str, problem: str, *others: str) -> NeuropilError:
        """The error about the value of a classic key, or of several that do not fit together.

        It names the first of them that the user wrote, with file and line, because a default has none.
        """
        written = [key for key in (theirs, *others) if key in self.settings.given]
        return NeuropilError(f"{self.settings.where(written[0] if written else theirs)}: {problem}")

    def problem(self, theirs: str, problem: str, *others: str) -> None:
        """Record a problem as :meth:`refuse` words it, and go on; :meth:`settle` raises it."""
        self._problems.append(str(self.refuse(theirs, problem, *others)))

    def note(self, text: str, *keys: str) -> None:
        """Add a note, if the user wrote any of these keys."""
        if written := [key for key in keys if key in self.settings.given]:
            self.notes.append(f"{', '.join(map(self.settings.where, written))}: {text}")

    def size(self, theirs: str) -> list[int]:
        """Voxels [z, y, x].

        Raises:
            NeuropilError: the value is not three whole numbers from 1.
        """
        value = self.settings[theirs]
        if len(value) != 3 or min(value) < 1:
            raise self.refuse(theirs, f"expected three whole numbers [z, y, x] of at least 1, got {list(value)}")
        return list(value)

    def pad(self, theirs: str) -> tuple[int, int, int]:
        """Voxels of padding (z, y, x) on both sides; six numbers, one for each side, must be equal in pairs.

        Raises:
            NeuropilError: other numbers.
        """
        value = list(self.settings[theirs])
        if len(value) == 6 and value[::2] == value[1::2]:
            value = value[::2]
        if len(value) != 3 or not all(isinstance(n, int) and n >= 0 for n in value):
            raise self.refuse(theirs, f"expected three whole numbers [z, y, x] of at least 0, got {value}")
        return (value[0], value[1], value[2])

    def factors(self, theirs: str) -> list[float]:
        """Factors [z, y, x]; None is 1.

        Raises:
            NeuropilError: the value is not three numbers above 0.
        """
        value = self.settings[theirs] or [1.0, 1.0, 1.0]
        if len(value) != 3 or min(value) <= 0:
            raise self.refuse(theirs, f"expected three factors [z, y, x] above 0, got {list(value)}")
        return [float(n) for n in value]

    def check_same_size(self, output: str, window: str) -> None:
        """Record a problem if the output size differs from the window size."""
        value, size = self.settings[output], list(self.settings[window])
        if value is not None and list(value) != size:
            self.problem(
                output,
                f"the network returns as many voxels as it sees: expected the same in {output} and {window}, "
                f"got {list(value)} and {size}",
                window,
            )

    def choose(self, theirs: str, meanings: dict[str, Any], instead: str = "") -> Any:
        """The meaning of a word; an unknown word is recorded as a problem that lists the known ones."""
        word = self.settings[theirs]
        if word not in meanings:
            known = ", ".join(meanings)
            self.problem(theirs, f"expected {known}, got {word!r}" + (f"; {instead}" if instead else ""))
            return next(iter(meanings.values()))
        return meanings[word]

    def finish(self) -> Config:
        """The typed recipe.

        Raises:
            NeuropilError: all problems so far, or values that do not fit, by classic keys and their places.
        """

        self.settle()

        def source(key: tuple[str | int, ...]) -> str:
            fits = [place for place in self._origins if key[: len(place)] == place]
            if fits:
                return self.settings.where(self._origins[max(fits, key=len)])
            inside = dict.fromkeys(theirs for place, theirs in self._origins.items() if key == place[: len(key)])
            written = [theirs for theirs in inside if theirs in self.settings.given]
            return ", ".join(map(self.settings.where, written)) or "translated"

        return validate(Config, self.values, source)
