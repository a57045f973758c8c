"""What the tests of this room share."""

import resource
from contextlib import contextmanager

import pytest


@pytest.fixture
def limited_file_size():
    """No file may grow beyond so many bytes, which looks like a full disk to the one who writes."""

    @contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
