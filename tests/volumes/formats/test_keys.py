"""Where the files of arrays in chunks lie: on a web server, in a bucket, at a file URL."""

import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.volumes import Metadata, create_volume, open_volume, write_volume
from neuropil.volumes.formats import keys


def test_over_http(tmp_path, server):
    array = np.random.default_rng(0).integers(0, 255, (6, 20, 30), np.uint8)
    metadata = Metadata(voxel_size=(30, 6, 6), origin=(2, 0, 1))
    write_volume(tmp_path / "a.zarr/volumes/raw", array, metadata)
    write_volume(tmp_path / "b.n5", array, metadata)
    write_volume(f"precomputed://{tmp_path}/p", array, metadata)
    write_volume(tmp_path / "o.ome.zarr", array, metadata)
    for url in ["a.zarr/volumes/raw", "b.n5", "precomputed", "o.ome.zarr"]:
        volume = open_volume(f"precomputed://{server}/p" if url == "precomputed" else f"{server}/{url}")
        assert volume.metadata == metadata
        assert (volume.read() == array).all()
    for url, message in [
        (f"{server}/a.zarr", "name the array"),
        (f"{server}/nix.zarr", "no array at"),
        (f"precomputed://{server}/nix", "no info file"),
        (f"{server}/x.h5", "download"),
        (f"{server}/x", "precomputed://"),
        ("http://127.0.0.1:1/a.zarr", "cannot read"),
        ("ftp://server/a.zarr", "expected a path or a URL"),
    ]:
        with pytest.raises(NeuropilError, match=message):
            open_volume(url)
    with pytest.raises(NeuropilError, match="read only"):
        write_volume(f"{server}/new.zarr", array)


def write_and_fail(path, array):
    with create_volume(path, array.shape, array.dtype) as volume:
        volume.write(volume.box, array)
        raise KeyError("mine")


def test_buckets_are_written_in_place_and_cleaned_up(tmp_path, monkeypatch):
    """A folder plays the bucket: what is there is kept, what fails is deleted."""
    local = keys.kvstore
    monkeypatch.setattr(
        keys, "kvstore", lambda place, name="": local(place.replace("s3://bucket", str(tmp_path)), name)
    )
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    for url in ["s3://bucket/a.zarr", "s3://bucket/b.zarr/raw", "precomputed://s3://bucket/p", "s3://bucket/c.n5"]:
        before = {f for f in tmp_path.rglob("*") if f.is_file()}
        with pytest.raises(KeyError, match="mine"):
            write_and_fail(url, array)
        assert {f for f in tmp_path.rglob("*") if f.is_file()} == before
        write_volume(url, array, Metadata(voxel_size=(3, 2, 1)))
        assert (open_volume(url).read() == array).all()
        assert open_volume(url).metadata.voxel_size == (3, 2, 1)
        with pytest.raises(NeuropilError, match="exists; delete it"):
            write_volume(url, array)
        assert (open_volume(url).read() == array).all()


def test_file_urls(tmp_path):
    write_volume(f"file://{tmp_path}/a b.zarr", np.ones((3, 4, 5), np.uint8))
    assert open_volume(f"file://{tmp_path}/a%20b.zarr").shape == (3, 4, 5)
    assert open_volume(f"zarr://file://{tmp_path}/a%20b.zarr").shape == (3, 4, 5)
    assert (tmp_path / "a b.zarr").is_dir()
