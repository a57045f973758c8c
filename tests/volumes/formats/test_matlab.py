"""MATLAB's files of version 7.3, with the attributes that it writes."""

import warnings

import h5py
import numpy as np
import pytest

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import list_arrays, open_volume


def save(path, more=None, **arrays):
    """As MATLAB saves arrays that it has as y, x, z: turned around, with their class."""
    names = {"float64": "double", "float32": "single", "bool": "logical"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
            file[name].attrs["MATLAB_class"] = np.bytes_(names.get(array.dtype.name, array.dtype.name))
        if more is not None:
            more(file)
    return path


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_axes_are_turned_around(tmp_path, dtype):
    array = IMAGE.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(save(tmp_path / "a.mat", raw=array.transpose(1, 2, 0)), array)
        same(save(tmp_path / "a.mat", raw=array[0]), array[:1])
        affinities = np.stack([array, array + 1, array])
        same(save(tmp_path / "a.mat", raw=affinities.transpose(2, 3, 1, 0)), affinities)


def test_channels_before_sections_are_asked_for(tmp_path):
    stack = np.stack([IMAGE] * 6)[:, :3]  # z, c, y, x
    save(tmp_path / "a.mat", raw=stack.transpose(2, 3, 1, 0))
    with pytest.raises(NeuropilError, match=r"20 × 30 × 3 × 6 in MATLAB.*--axes zcxy"):
        open_volume(tmp_path / "a.mat")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (open_volume(tmp_path / "a.mat", axes="zcxy").read() == stack.transpose(1, 0, 2, 3)).all()


def test_cells_text_and_empty_arrays_are_no_volumes(tmp_path):
    def more(file):
        file["note"] = np.array([[104, 105]], "u2")
        file["note"].attrs["MATLAB_class"] = np.bytes_("char")
        file["#refs#/b"] = np.zeros((2, 2))
        file["cell"] = np.array([[file["#refs#/b"].ref]], h5py.ref_dtype)
        file["cell"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["empty"] = np.array([0, 3], "u8")
        file["empty"].attrs["MATLAB_class"] = np.bytes_("double")
        file["empty"].attrs["MATLAB_empty"] = np.uint8(1)

    save(tmp_path / "a.mat", more, raw=IMAGE)
    assert set(list_arrays(tmp_path / "a.mat")) == {"raw", "cell", "empty"}
    for name, told in [("note", "class char"), ("cell", "class cell"), ("empty", "an empty array")]:
        with pytest.raises(NeuropilError, match=rf"{told}.*a\.mat/{name}"):
            open_volume(tmp_path / f"a.mat/{name}")


def test_an_older_version_is_named(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(300))
    with pytest.raises(NeuropilError, match=r"a\.mat is of a MATLAB before version 7\.3; save it with '-v7\.3'"):
        open_volume(tmp_path / "a.mat/raw")


def test_octave_turns_axes_around_too(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("raw")
        group.attrs["OCTAVE_NEW_FORMAT"] = np.uint8(1)
        group["type"], group["value"] = np.bytes_("uint8 matrix"), IMAGE.transpose(1, 2, 0).T
    with pytest.warns(Note, match="stored as z, x, y"):
        same(tmp_path / "a.h5", IMAGE)
