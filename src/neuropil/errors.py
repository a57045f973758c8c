"""Errors that a user can correct. The command line prints them as one message and exits with code 2 or 1."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class NeuropilError(ValueError):
    """Wrong input: the message says what was expected, what was found, in which file or key, and what to do."""


def printable(text: str) -> str:
    """Text without control characters, which could change a terminal: they are shown as escapes.

    >>> printable("a\\x1b[31mb\\nc")
    'a\\\\x1b[31mb\\nc'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


class Note(UserWarning):
    """Information about the input that a user should know; the command line prints it as one line."""


class Unfinished(RuntimeError):
    """Work that could not be finished; the message says why. The command line exits with code 1."""


@contextmanager
def in_file(path: str) -> Iterator[None]:
    """Add the name of a file to errors raised in the block, unless they contain it.

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
    """Report something that a user should know: a ``Note``, which the command line prints once.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     tell("an axis of length 1 is left out")
    >>> told[0].category.__name__
    'Note'
    """
    warnings.warn(message, Note, stacklevel=2)
