"""Errors that a user can correct. The command line prints them as one message and exits with code 2 or 1."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class NeuropilError(ValueError):
    """Wrong input: the message says what was expected, what came, in which file or key, and what to do."""


def printable(text: str) -> str:
    """Text as a terminal may show it: what would move its cursor or change its colours is written out.

    >>> printable("a\\x1b[31mb\\nc")
    'a\\\\x1b[31mb\\nc'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


class Note(UserWarning):
    """What a file says that a user should know of: the command line prints it as one line."""


class Unfinished(RuntimeError):
    """Work that could not be finished, for reasons that the message names; the command line exits with code 1."""


@contextmanager
def in_file(path: str) -> Iterator[None]:
    """Name a file in the errors of what is done with it, once.

    >>> with in_file("a.h5"):
    ...     raise NeuropilError("expected labels")
    Traceback (most recent call last):
    ...
    neuropil.errors.NeuropilError: a.h5: expected labels
    """
    try:
        yield
    except NeuropilError as error:
        raise error if path in str(error) else NeuropilError(f"{path}: {error}") from None


def tell(message: str) -> None:
    """Say something that a user should know. The command line prints it once; in Python it is a warning.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     tell("an axis of length 1 is left out")
    >>> told[0].category.__name__
    'Note'
    """
    warnings.warn(message, Note, stacklevel=2)
