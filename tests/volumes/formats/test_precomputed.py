"""Precomputed volumes as other programs write them: every voxel, place and size as meant, or refused by name."""

import gzip

import numpy as np
import pytest

from foreign import IMAGE, numbers, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume


def cloud_volume(path, array, **options):
    cloudvolume = pytest.importorskip("cloudvolume")
    info = cloudvolume.CloudVolume.create_new_info(
        1,
        options.pop("layer_type", "image"),
        str(array.dtype),
        options.pop("encoding", "raw"),
        (4, 4, 40),
        options.pop("voxel_offset", (3, 2, 1)),
        chunk_size=(16, 8, 2),
        volume_size=array.shape[::-1],
    )
    volume = cloudvolume.CloudVolume(f"file://{path}", info=info, progress=False, **options)
    volume.commit_info()
    volume[:] = array.T[..., np.newaxis]
    return volume


@pytest.mark.parametrize("compress", [True, "br", False])
@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "crackle", "compresso"])
def test_precomputed_of_cloud_volume(tmp_path, compress, encoding):
    labels = encoding != "raw"
    array = numbers((5, 20, 30), "u4" if labels else "u1")
    cloud_volume(
        tmp_path / "p", array, compress=compress, encoding=encoding, layer_type="segmentation" if labels else "image"
    )
    metadata = same(f"precomputed://{tmp_path}/p", array, voxel_size=(40, 4, 4))
    assert metadata.origin == (1, 2, 3)


def test_absent_chunks_of_precomputed_are_refused_as_cloud_volume_does(tmp_path, monkeypatch):
    cloud_volume(tmp_path / "p", IMAGE)
    chunks = sorted((tmp_path / "p/4_4_40").iterdir())
    chunks[0].unlink()
    with pytest.raises(NeuropilError, match=r"1 of 12 chunks .* are absent.*--allow-gaps"):
        open_volume(f"precomputed://{tmp_path}/p").read()
    monkeypatch.setenv("NEUROPIL_ALLOW_GAPS", "1")
    with pytest.warns(Note, match="1 of 12 chunks"):
        assert (open_volume(f"precomputed://{tmp_path}/p").read() == 0).sum() == 14 * 8 * 2
    chunks[1].write_bytes(gzip.compress(b"short"))
    with pytest.raises(NeuropilError):
        open_volume(f"precomputed://{tmp_path}/p").read()
