"""Files of a stack: which ones match a pattern, in which order, and whether numbers are missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from glob import escape, glob
from itertools import pairwise
from math import gcd
from pathlib import Path

from neuropil.errors import NeuropilError, tell
from neuropil.volumes.allowances import gaps_allowed


def is_pattern(text: str) -> bool:
    """Whether a path is a pattern: with ``*`` or ``?``, or with brackets that match files.

    >>> is_pattern("d/*.png"), is_pattern("d[1]/a.h5")
    (True, False)
    """
    return bool(re.search(r"[*?]", text)) or ("[" in text and not Path(text).exists() and bool(glob(text)))


def section_files(pattern: str) -> tuple[str, ...]:
    """The files that match a pattern, in natural order (2 before 10); a path of a file is that file."""
    place = Path(pattern)
    if place.is_file():
        return (pattern,)
    if "[" in str(place.parent) and place.parent.is_dir():  # a folder with brackets in its name
        pattern = str(Path(escape(str(place.parent))) / place.name)
    found = sorted(name for name in glob(pattern, recursive=True) if Path(name).is_file())
    return tuple(sorted(found, key=natural))


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which section 2 comes before section 10.

    >>> sorted(["s10.png", "s2.png", "s1.png"], key=natural)
    ['s1.png', 's2.png', 's10.png']
    """
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def check_names(files: Sequence[str], pattern: str) -> None:
    """Refuse a stack whose names differ in more than their numbers, or in which numbers are missing.

    Raises:
        NeuropilError: names of another form, a number twice, or missing numbers without ``--allow-gaps``.
    """
    forms: dict[str, list[str]] = {}
    for file in files:
        forms.setdefault(re.sub(r"\d+", "#", file), []).append(file)
    if len(forms) > 1:
        usual = max(forms.values(), key=len)
        other = next(names[0] for names in forms.values() if names is not usual)
        raise NeuropilError(
            f"expected sections with names like {usual[0]}, got {other}, matched by {pattern}; "
            "move it away, or write a pattern that leaves it out"
        )
    _check_capitals(files, pattern)
    counted = _counted(files, pattern)
    steps = [{b - a for a, b in pairwise(column)} for column in counted]
    regular = [step.pop() for step in steps if len(step) == 1]
    uneven = [column for column in counted if len({b - a for a, b in pairwise(column)}) > 1]
    # Next to a number with even steps, one with large jumps does not count sections, but is a time or a position.
    uneven = [column for column in uneven if not regular or _span(column) <= 2 * len(column)]
    if not uneven:
        if min(regular, default=1) > 1:
            tell(f"{pattern} has every {min(regular)}th number only; its sections are read one after the other")
        return
    numbers = min(uneven, key=_span)
    step = _step(numbers)
    missing = sorted(set(range(numbers[0], numbers[-1], step)) - set(numbers))
    told = f"{len(missing)} of the numbers of {pattern} are missing: {_ranges(missing, step)}"
    if not gaps_allowed():
        raise NeuropilError(f"{told}; give --allow-gaps to read the sections that are there one after the other")
    tell(f"{told}; the sections that are there are read one after the other")


def _check_capitals(files: Sequence[str], pattern: str) -> None:
    """Refuse a folder with files that would match if capitals were ignored, such as those in ``.PNG``."""
    folder, form = Path(files[0]).parent, Path(pattern).name
    if not is_pattern(form) or is_pattern(str(Path(pattern).parent)):
        return
    known = {Path(file).name for file in files}
    for other in sorted(file.name for file in folder.iterdir()):
        if other not in known and fnmatchcase(other.lower(), form.lower()) and not other.startswith("."):
            raise NeuropilError(
                f"expected every section of {folder} to match {form}, got {other}, which differs in capitals only; "
                "rename it, or write a pattern that leaves it out"
            )


def _step(column: Sequence[int]) -> int:
    """The greatest common divisor of all distances."""
    return gcd(*(b - a for a, b in pairwise(column)))


def _span(column: Sequence[int]) -> int:
    """How many numbers there are from the first to the last, with the missing ones."""
    return (column[-1] - column[0]) // _step(column) + 1


def _counted(files: Sequence[str], pattern: str) -> list[list[int]]:
    """The numbers in the names that count the sections, one list for each place in the name.

    Every number that changes must rise with the files, as section numbers and their decimal fractions do: where one
    rises and falls, as a channel or tile does, the order of the sections is not clear.

    Raises:
        NeuropilError: the order is not clear, or two files have the same numbers.
    """
    changing: list[list[int]] = []
    for number in (r"\d+", r"\d+(?:\.\d+)?"):
        rows = [re.findall(number, file) for file in files]
        if len({tuple(len(part.partition(".")[2]) for part in row) for row in rows}) > 1:
            break  # fractions of several lengths
        columns = [[int(part.replace(".", "")) for part in column] for column in zip(*rows, strict=True)]
        changing = [column for column in columns if len(set(column)) > 1]
        if len({tuple(row) for row in zip(*changing, strict=True)}) < len(files) > 1:
            raise NeuropilError(f"two sections of {pattern} have the same number: {_twice(files, rows)}")
        if all(a <= b for column in changing for a, b in pairwise(column)):
            counted = [column for column in changing if len(set(column)) == len(files)]
            if counted or len(files) == 1:
                return counted
    raise NeuropilError(
        f"several numbers change in the names of {pattern}, and they do not rise together, from {files[0]} to "
        f"{files[1]} to {files[-1]}; name the sections of one channel or tile, as z*_c0.png, or renumber them"
    )


def _twice(files: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first: dict[tuple[int, ...], str] = {}
    for file, row in zip(files, rows, strict=True):
        key = tuple(int(part.replace(".", "")) for part in row)
        if key in first:
            return f"{first[key]} and {file}"
        first[key] = file
    return ""


def _ranges(numbers: Sequence[int], step: int) -> str:
    """A list of numbers as text: 3, 7–9, …"""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + step:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = [str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts]
    return ", ".join(texts if len(texts) <= 10 else [*texts[:10], "…"])
