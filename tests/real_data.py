"""Real EM data, where it is at hand: in the folder NEUROPIL_DATA, or in shared/data beside the checkout."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("NEUROPIL_DATA", Path(__file__).parents[2] / "shared/data"))
SNEMI3D = DATA / "snemi3d"


def data_file(name):
    """The path of a file such as ``snemi3d/image.h5``; where it is not there, the test is skipped and says so."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not there; set NEUROPIL_DATA to the folder that holds it")
    return path
