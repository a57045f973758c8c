"""Import a package that only an extra of neuropil installs, or say how to install it."""

from importlib import import_module
from types import ModuleType

from neuropil.errors import NeuropilError


def import_extra(package: str, needed_for: str, extra: str) -> ModuleType:
    """The package, if it is installed.

    Args:
        package: its name in Python.
        needed_for: plural noun, for the error.
        extra: the extra that installs it.

    Raises:
        NeuropilError: it is not installed.

    >>> import_extra("json", "lists", "mesh").__name__
    'json'
    """
    try:
        return import_module(package)
    except ImportError:
        raise NeuropilError(f"{needed_for} need {package}: pip install 'neuropil[{extra}]'") from None
