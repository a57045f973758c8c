"""A large image that was made anew is another one, even where the voxels that are looked at are the same."""

import numpy as np
import pytest

from neuropil.volumes import Metadata, identity, image_digest, open_volume, write_volume


@pytest.mark.parametrize("name", ["local", "server", "precomputed"])
def test_large_images_that_were_made_anew(tmp_path, monkeypatch, server, name):
    monkeypatch.setattr(identity, "READ_WHOLE", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "info").write_text("a file of another thing, in the folder where the program runs")
    written = f"precomputed://{tmp_path}/volumes/p" if name == "precomputed" else str(tmp_path / "a.zarr/raw")
    path = f"{server}/a.zarr/raw" if name == "server" else written

    def found(size):
        write_volume(written, np.zeros((2, 9, 9), np.uint8), Metadata(voxel_size=size))
        assert image_digest(open_volume(path)) == image_digest(open_volume(path))
        return image_digest(open_volume(path))

    before, after = found((30, 6, 6)), found((40, 6, 6))
    assert before != after
    assert before | {"changed": None} == after | {"changed": None}
