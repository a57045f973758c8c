"""Links, external storage and virtual datasets of HDF5: every voxel, place and size as meant, or refused by name."""

import h5py
import pytest

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import list_arrays, open_volume


def test_links_of_hdf5(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    with h5py.File(tmp_path / "d/other.h5", "w") as file:
        file["raw"] = IMAGE
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["raw"] = IMAGE
    with h5py.File(tmp_path / "d/a.h5", "w") as file:
        file["data/raw"] = IMAGE + 1
        file["hard"] = file["data/raw"]
        file["soft"] = h5py.SoftLink("/data/raw")
        file["twice"] = h5py.SoftLink("soft")
        file["group"] = h5py.SoftLink("/data")
        file["there"] = h5py.ExternalLink("other.h5", "/raw")
        file["loop"] = h5py.SoftLink("/loop")
        file["nowhere"] = h5py.SoftLink("/nothing")
        file["gone"] = h5py.ExternalLink("missing.h5", "/raw")
        file["far"] = h5py.ExternalLink("../far.h5", "/raw")
    path = tmp_path / "d/a.h5"
    for name in ("data/raw", "hard", "soft", "twice", "group/raw"):
        same(path / name, IMAGE + 1)
    same(path / "there", IMAGE)
    with pytest.warns(Note):
        assert {"data/raw", "hard", "soft", "there", "group/raw"} <= set(list_arrays(path))
    for name, message in [
        ("loop", "circular"),
        ("nowhere", "does not exist"),
        ("gone", "does not exist"),
        ("far", "--allow-outside"),
    ]:
        with pytest.raises(NeuropilError, match=message):
            open_volume(path / name)
    monkeypatch.setenv("NEUROPIL_ALLOW_OUTSIDE", "1")
    same(path / "far", IMAGE)


def test_chains_of_links_stay_in_the_folder(tmp_path, monkeypatch):
    """Each link counts from the file that holds it, and none leaves the folder of the opened one."""
    (tmp_path / "d/e").mkdir(parents=True)
    for name, voxels in (("far.h5", IMAGE + 2), ("d/e/near.h5", IMAGE), ("d/near.h5", IMAGE + 1)):
        with h5py.File(tmp_path / name, "w") as file:
            file["raw"] = voxels
    with h5py.File(tmp_path / "d/e/b.h5", "w") as file:
        file["near"] = h5py.ExternalLink("near.h5", "/raw")
        file["far"] = h5py.ExternalLink("../../far.h5", "/raw")
        file["soft"] = h5py.SoftLink("/far")
        file["back"] = h5py.ExternalLink("../near.h5", "/raw")
    (tmp_path / "d/link.h5").symlink_to(tmp_path / "far.h5")
    with h5py.File(tmp_path / "d/a.h5", "w") as file:
        for name in ("near", "far", "soft", "back"):
            file[name] = h5py.ExternalLink("e/b.h5", name)
        file["symlink"] = h5py.ExternalLink("link.h5", "raw")
    path = tmp_path / "d/a.h5"
    same(path / "near", IMAGE)
    same(path / "back", IMAGE + 1)
    for name in ("far", "soft", "symlink"):
        with pytest.raises(NeuropilError, match="--allow-outside"):
            open_volume(path / name)
    with pytest.warns(Note, match="--allow-outside"):
        assert set(list_arrays(path)) == {"near", "back"}
    monkeypatch.setenv("NEUROPIL_ALLOW_OUTSIDE", "1")
    for name in ("far", "soft", "symlink"):
        same(path / name, IMAGE + 2)
