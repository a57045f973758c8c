"""What the tests of volumes share."""

import resource
from contextlib import contextmanager

import pytest


@pytest.fixture
def full_disk():
    """No file may grow beyond so many bytes, which looks like a full disk to the one who writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
