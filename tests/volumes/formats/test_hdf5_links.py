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
        ("loop", "circle"),
        ("nowhere", "not there"),
        ("gone", "not there"),
        ("far", "--allow-outside"),
    ]:
        with pytest.raises(NeuropilError, match=message):
            open_volume(path / name)
    monkeypatch.setenv("NEUROPIL_ALLOW_OUTSIDE", "1")
    same(path / "far", IMAGE)


def test_external_storage_and_virtual_datasets(tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("d/raw.bin", "raw.bin"):
        (tmp_path / name).write_bytes(IMAGE.tobytes())
    with h5py.File(tmp_path / "d/part.h5", "w") as file:
        file["x"] = IMAGE
    with h5py.File(tmp_path / "d/a.h5", "w") as file:
        file.create_dataset("inside", IMAGE.shape, "u1", external=[("raw.bin", 0, IMAGE.size)])
        file.create_dataset("outside", IMAGE.shape, "u1", external=[(str(tmp_path / "raw.bin"), 0, IMAGE.size)])
        for name, source in (("virtual", "part.h5"), ("lost", "gone.h5")):
            layout = h5py.VirtualLayout(IMAGE.shape, "u1")
            layout[:] = h5py.VirtualSource(source, "x", IMAGE.shape)
            file.create_virtual_dataset(name, layout)
    same(tmp_path / "d/a.h5/virtual", IMAGE)
    for name, message in [("outside", "--allow-outside"), ("lost", "not there")]:
        with pytest.raises(NeuropilError, match=message):
            open_volume(tmp_path / "d/a.h5" / name)


@pytest.mark.parametrize(("named", "message"), [("../p%b.h5", "--allow-outside"), ("../%b/p.h5", "names of files")])
def test_patterns_of_virtual_datasets_stay_in_the_folder(tmp_path, named, message):
    (tmp_path / "d").mkdir()
    with h5py.File(tmp_path / "d/a.h5", "w") as file:
        # A file for each section, for ever: only the library below h5py's classes can say so.
        endless = h5py.h5s.UNLIMITED
        space = h5py.h5s.create_simple((2, 3, 4), (endless, 3, 4))
        space.select_hyperslab((0, 0, 0), (endless, 1, 1), (1, 3, 4), (1, 3, 4))
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_virtual(space, named.encode(), b"x", h5py.h5s.create_simple((1, 3, 4)))
        whole = h5py.h5s.create_simple((2, 3, 4), (endless, 3, 4))
        h5py.h5d.create(file.id, b"virtual", h5py.h5t.NATIVE_UINT8, whole, created)
    with pytest.raises(NeuropilError, match=message):
        open_volume(tmp_path / "d/a.h5/virtual")
