"""What the tests of volumes share."""

import resource
from contextlib import contextmanager

import pytest


@pytest.fixture
def full_disk(monkeypatch):
    """No file may grow beyond so many bytes, which looks like a full disk to the one who writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lift():
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    @contextmanager
    def limit(size):
        from neuropil.volumes.formats import hdf5

        discard = hdf5._discard
        monkeypatch.setattr(hdf5, "_discard", lambda file: (lift(), discard(file)))  # a disk does not limit memory
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            lift()

    return limit
