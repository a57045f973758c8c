"""Stacks of PNG and TIFF sections."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from neuropil.errors import NeuropilError, Note
from neuropil.geometry import Box
from neuropil.volumes import Metadata, open_volume, write_volume


def numbers(shape, dtype="u1"):
    return np.random.default_rng(0).integers(0, min(np.iinfo(dtype).max, 2**63 - 1), shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sections_come_back(tmp_path, dtype, suffix):
    array = numbers((12, 7, 9), dtype)
    write_volume(tmp_path / f"s/z*.{suffix}", array)
    assert sorted(p.name for p in (tmp_path / "s").iterdir())[-1] == f"z0011.{suffix}"
    volume = open_volume(tmp_path / f"s/*.{suffix}")
    assert volume.shape == (12, 7, 9)
    assert volume.dtype == np.dtype(dtype).newbyteorder("=")
    assert (volume.read() == array).all()
    assert (volume.read(Box((9, 1, 2), (12, 7, 5))) == array[9:, 1:, 2:5]).all()


def test_natural_order_and_missing_numbers(tmp_path, monkeypatch):
    for name in ["b2.png", "b10.png", "b6.png", "b1.png"]:
        Image.fromarray(np.full((2, 3), int(name[1:-4]), "u1")).save(tmp_path / name)
    with pytest.raises(NeuropilError, match=r"6 of the numbers of .* are missing: 3–5, 7–9; give --allow-gaps"):
        open_volume(tmp_path / "*.png")
    monkeypatch.setenv("NEUROPIL_ALLOW_GAPS", "1")
    with pytest.warns(Note, match="one after the other"):
        assert open_volume(tmp_path / "*.png").read()[:, 0, 0].tolist() == [1, 2, 6, 10]
    assert open_volume(tmp_path / "b[12].png").shape == (2, 2, 3)
    assert open_volume(tmp_path / "b10.png").shape == (1, 2, 3)


def test_tiff_sections_keep_metadata_and_png_says_it_cannot(tmp_path):
    metadata = Metadata(voxel_size=(30, 6, 6), origin=(5, 0, 0))
    write_volume(tmp_path / "t/*.tif", numbers((2, 3, 4)), metadata)
    assert open_volume(tmp_path / "t/*.tif").metadata == metadata
    with pytest.warns(UserWarning, match=r"PNG holds no metadata.*voxel_size, origin"):
        write_volume(tmp_path / "p/*.png", numbers((2, 3, 4)), metadata)
    assert open_volume(tmp_path / "p/*.png").metadata == Metadata()


def test_big_ids_go_into_tiff_not_png(tmp_path):
    with pytest.raises(NeuropilError, match="uint8 and uint16"):
        write_volume(tmp_path / "p/*.png", numbers((2, 3, 4), "u4"))
    write_volume(tmp_path / "p/*.tif", numbers((2, 3, 4), "u8"))
    assert (open_volume(tmp_path / "p/*.tif").read() == numbers((2, 3, 4), "u8")).all()
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_a_stack_is_replaced_whole_and_nothing_else(tmp_path):
    write_volume(tmp_path / "p/*.png", numbers((5, 3, 4)))
    write_volume(tmp_path / "p/*.png", numbers((2, 3, 4)))
    assert len(list((tmp_path / "p").iterdir())) == 2
    (tmp_path / "p/notes.txt").write_text("mine")
    with pytest.raises(NeuropilError, match=r"other files \(notes\.txt\)"):
        write_volume(tmp_path / "p/*.png", numbers((2, 3, 4)))


def test_sections_that_differ_are_named(tmp_path):
    write_volume(tmp_path / "p/*.png", numbers((3, 5, 4)))
    Image.fromarray(np.zeros((5, 5), "u1")).save(tmp_path / "p/0001.png")
    with pytest.raises(NeuropilError, match=r"one size.*0001\.png"):
        open_volume(tmp_path / "p/*.png")
    Image.fromarray(np.zeros((5, 4), "u1")).save(tmp_path / "p/0001.png")
    volume = open_volume(tmp_path / "p/*.png")
    assert volume.read(Box((0, 0, 0), (1, 5, 4))).shape == (1, 5, 4)
    (tmp_path / "p/0002.png").write_bytes((tmp_path / "p/0000.png").read_bytes()[:60])
    with pytest.raises(NeuropilError, match=r"cannot read .*0002\.png"):
        volume.read(Box((2, 0, 0), (3, 5, 4)))


def test_what_is_no_stack(tmp_path):
    with pytest.raises(NeuropilError, match="no file matches"):
        open_volume(tmp_path / "*.png")
    with pytest.raises(NeuropilError, match=r"pattern of sections"):
        open_volume(tmp_path / "*.gif")
    Image.fromarray(np.zeros((5, 5, 3), "u1")).save(tmp_path / "c.png")
    with pytest.raises(NeuropilError, match="gray"):
        open_volume(tmp_path / "c.png")
    with pytest.raises(NeuropilError, match="pattern, such as"):
        open_volume(tmp_path)
    tifffile.imwrite(tmp_path / "two.tif", np.zeros((2, 5, 5), "u1"))
    with pytest.raises(NeuropilError, match="one section in each file"):
        open_volume(tmp_path / "*.tif")
    with pytest.raises(NeuropilError, match="one section"):
        write_volume(tmp_path / "d.png", numbers((2, 3, 4)))
    with pytest.raises(NeuropilError, match=r"\[z, y, x\]"):
        write_volume(tmp_path / "d/*.png", numbers((2, 2, 3, 4)))
