"""What a path means, and what is said about one that means nothing."""

import numpy as np
import pytest
import tifffile

from neuropil.errors import NeuropilError
from neuropil.volumes import open_volume, write_volume
from neuropil.volumes.formats import FORMATS, Location
from neuropil.volumes.location import parse_location

FORMAT = {form.name: form for form in FORMATS}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.h5", Location(FORMAT["hdf5"], "a.h5")),
        ("d/a.hdf/volumes/raw", Location(FORMAT["hdf5"], "d/a.hdf", "volumes/raw")),
        ("A.HDF5/main/", Location(FORMAT["hdf5"], "A.HDF5", "main")),
        ("b.zarr/volumes/raw", Location(FORMAT["zarr"], "b.zarr", "volumes/raw")),
        ("b.zarr/", Location(FORMAT["zarr"], "b.zarr")),
        ("b.zarr.partial", Location(FORMAT["zarr"], "b.zarr.partial")),
        ("run.tif/b.n5/c", Location(FORMAT["n5"], "run.tif/b.n5", "c")),
        ("c.TIFF", Location(FORMAT["tiff"], "c.TIFF")),
        ("dir/*.png", Location(FORMAT["sections"], "dir/*.png")),
        ("dir/s[0-4]?.tif", Location(FORMAT["sections"], "dir/s[0-4]?.tif")),
        ("one.png", Location(FORMAT["sections"], "one.png")),
        ("file:///d/a%20b.h5/main", Location(FORMAT["hdf5"], "/d/a b.h5", "main")),
        ("s3://bucket/b.zarr/raw", Location(FORMAT["zarr"], "s3://bucket/b.zarr", "raw")),
        ("gs://bucket/b.n5/raw", Location(FORMAT["n5"], "gs://bucket/b.n5", "raw")),
        ("https://host/p.precomputed", Location(FORMAT["precomputed"], "https://host/p.precomputed")),
        ("precomputed://gs://bucket/p", Location(FORMAT["precomputed"], "gs://bucket/p", "", "precomputed")),
        ("precomputed://p", Location(FORMAT["precomputed"], "p", "", "precomputed")),
        ("zarr://s3://bucket/x", Location(FORMAT["zarr"], "s3://bucket/x", "", "zarr")),
        ("zarr2://b.zarr/raw", Location(FORMAT["zarr"], "b.zarr", "raw", "zarr2")),
        ("n5://https://host/x.n5/c0", Location(FORMAT["n5"], "https://host/x.n5", "c0", "n5")),
    ],
)
def test_paths(path, expected):
    assert parse_location(path) == expected
    assert parse_location(expected.path) == expected


def test_files_without_an_extension_are_known_by_their_content(tmp_path):
    write_volume(tmp_path / "a.h5", np.zeros((1, 2, 3), "u1"))
    (tmp_path / "a.h5").rename(tmp_path / "a.nwb")
    tifffile.imwrite(tmp_path / "t", np.zeros((5, 6), "u1"))
    write_volume(tmp_path / "b.zarr/raw", np.zeros((1, 2, 4), "u1"))
    (tmp_path / "b.zarr").rename(tmp_path / "b")
    assert open_volume(tmp_path / "a.nwb/main").shape == (1, 2, 3)
    assert open_volume(tmp_path / "t").shape == (1, 5, 6)
    assert open_volume(tmp_path / "b/raw").shape == (1, 2, 4)


def test_what_means_nothing(tmp_path):
    (tmp_path / "a.xyz").write_text("words")
    for path, message in [
        ("", "empty"),
        (tmp_path / "a.xyz", r"unknown extension '\.xyz'.*a\.xyz.*\.h5"),
        (tmp_path / "b.xyz", r"unknown extension '\.xyz'.*b\.xyz"),
        (tmp_path / "nothing", "no such file.*nothing"),
        (tmp_path / "a.xyz/main", r"unknown extension '\.xyz'"),
        (tmp_path, "is a folder"),
        ("ftp://host/a.zarr", "expected a path or a URL"),
        ("https://host/a.h5", "download"),
        ("s3://bucket/thing", "precomputed://s3://bucket/thing"),
        ("precomputed://ftp://host/a", "expected s3://"),
    ]:
        with pytest.raises(NeuropilError, match=message):
            open_volume(path)
    with pytest.raises(NeuropilError, match=r"unknown extension '\.npz'"):
        write_volume(tmp_path / "a.npz", np.zeros((1, 2, 3)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.mrc.gz", "decompress it first"),
        ("a.dm4", "Fiji and save it as TIFF"),
        ("a.AM", "Fiji"),
        ("a.raw", "Import > Raw"),
        ("a.vsvi", "an image stack from VAST"),
        ("a.dcm", "Fiji"),
        ("a.npz", "numpy.save"),
        ("a.xml", "name the .h5 or .n5 next to it"),
        ("x0.wkw", "export the dataset from WEBKNOSSOS as Zarr"),
    ],
)
def test_files_of_other_programs_have_a_way_out(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(NeuropilError, match=rf"unknown extension .*{name}; .*{message}"):
        open_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("marker", "message"), [("header.wkw", "WEBKNOSSOS dataset"), ("knossos.conf", "KNOSSOS"), ("x0000", "KNOSSOS")]
)
def test_folders_of_other_programs_have_a_way_out(tmp_path, marker, message):
    (tmp_path / "color/1").mkdir(parents=True)
    (tmp_path / "color/1" / marker).write_bytes(b"WKW")
    for folder in (tmp_path, tmp_path / "color/1"):
        with pytest.raises(NeuropilError, match=f"is a {message}.*as Zarr"):
            open_volume(folder)
