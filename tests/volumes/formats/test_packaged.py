"""Files that other packages read: damaged ones."""

import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.volumes import open_volume, write_volume

IMAGE = np.random.default_rng(0).integers(1, 250, (4, 20, 30)).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.mrc", "a.nii", "a.nrrd"])
def test_damaged_files_are_told(tmp_path, name):
    for content in (b"", b"\0" * 100, b"\0" * 2000):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NeuropilError, match=name):
            open_volume(tmp_path / name).read()
    with pytest.raises(NeuropilError, match="only read, not written"):
        write_volume(tmp_path / name, IMAGE)
