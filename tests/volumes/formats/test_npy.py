"""NPY as NumPy writes it: every voxel, or refused by name."""

import io

import numpy as np
import pytest

from foreign import IMAGE, same
from neuropil.errors import NeuropilError
from neuropil.volumes import open_volume, write_volume


@pytest.mark.parametrize("dtype", ["u1", "?", "<i2", ">u2", ">f4", "f2", "u8"])
def test_types_and_orders(tmp_path, dtype):
    array = IMAGE.astype(dtype)
    for stored in (array, np.asfortranarray(array), array[0]):
        np.save(tmp_path / "a.npy", stored)
        same(tmp_path / "a.npy", stored if stored.ndim == 3 else stored[np.newaxis])
    np.save(tmp_path / "a.npy", np.asfortranarray(np.stack([array, array])))
    same(tmp_path / "a.npy", np.stack([array, array]))


def test_what_we_write(tmp_path):
    write_volume(tmp_path / "b.npy", IMAGE)
    assert (np.load(tmp_path / "b.npy") == IMAGE).all()
    (tmp_path / "b.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:500])
    with pytest.raises(NeuropilError, match=r"b\.npy"):
        open_volume(tmp_path / "b.npy")


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 3, 4), [("r", "u1"), ("g", "u1")]), "real numbers"),
        (np.zeros((2, 3, 4), "c8"), "real numbers"),
        (np.zeros((2, 3, 4), "M8[s]"), "real numbers"),
        (np.zeros((2, 3, 4), "U3"), "real numbers"),
        (np.zeros((2, 3, 4), object), "got Python objects"),
        (np.zeros((2, 3, 4), [("a", object)]), "got Python objects"),
        (np.zeros(()), "3 axes"),
    ],
)
def test_what_is_no_volume_is_refused_by_name(tmp_path, array, told):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(NeuropilError, match=rf"{told}.*a\.npy"):
        open_volume(tmp_path / "a.npy")


def test_several_arrays_in_a_file_are_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, IMAGE)
        np.save(file, IMAGE)
    with pytest.raises(NeuropilError, match=r"were several saved into one file"):
        open_volume(tmp_path / "a.npy")
    packed = io.BytesIO()
    np.savez(packed, IMAGE)
    (tmp_path / "a.npy").write_bytes(packed.getvalue())
    with pytest.raises(NeuropilError, match=r"an archive of arrays \(\.npz\) in .*a\.npy"):
        open_volume(tmp_path / "a.npy")
