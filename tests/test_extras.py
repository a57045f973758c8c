"""A package of an extra is imported, or the error says how to install it."""

import sys

import pytest

from neuropil.errors import NeuropilError
from neuropil.extras import import_extra


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "zmesh", None)
    with pytest.raises(NeuropilError, match=r"^meshes need zmesh: pip install 'neuropil\[mesh\]'$"):
        import_extra("zmesh", "meshes", "mesh")
