"""TIFF files, as written here, by tifffile, ImageJ and OME, and damaged in every way."""

import numpy as np
import pytest
import tifffile

from neuropil.errors import NeuropilError
from neuropil.geometry import Box
from neuropil.volumes import LOGIT8, Metadata, create_volume, open_volume, write_volume

FULL = Metadata((30.0, 6.0, 6.5), (60, 0, 7), ((-1, 0, 0), (0, -9, 0)), LOGIT8, {"threshold": 0.3, "µ": ["é", None]})


def numbers(shape, dtype="u1", seed=0):
    return np.random.default_rng(seed).integers(0, min(np.iinfo(dtype).max, 2**63 - 1), shape).astype(dtype)


def test_metadata_and_voxels_come_back(tmp_path):
    array = numbers((2, 5, 33, 47))
    write_volume(tmp_path / "a.tif", array, FULL)
    volume = open_volume(tmp_path / "a.tif")
    assert volume.metadata == FULL
    assert (volume.read() == array).all()
    assert (volume.read(Box((61, 3, 10), (64, 20, 54))) == array[:, 1:4, 3:20, 3:]).all()
    assert (tifffile.imread(tmp_path / "a.tif") == array).all()


@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 1, 1), (1, 1, 4, 5), (3, 1, 4, 5), (1, 3, 4, 5), (3, 4, 5)])
def test_axes_of_length_one_stay(tmp_path, shape):
    array = numbers(shape)
    write_volume(tmp_path / "a.tif", array)
    assert open_volume(tmp_path / "a.tif").read().tolist() == array.tolist()


@pytest.mark.parametrize("dtype", ["u1", ">u2", "u4", ">u8", "i4", "f2", ">f4", "f8"])
@pytest.mark.parametrize("how", ["mapped", "pages", "zlib", "big-endian"])
def test_dtypes_of_others(tmp_path, dtype, how):
    array = numbers((4, 20, 30)).astype(dtype)
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=">" if how == "big-endian" else "<") as file:
        if how == "pages":
            for section in array:
                file.write(section, contiguous=False, metadata=None)
        else:
            file.write(array, compression="zlib" if how == "zlib" else None, photometric="minisblack")
    volume = open_volume(tmp_path / "a.tif")
    assert volume.dtype == np.dtype(dtype).newbyteorder("=")
    assert (volume.read() == array).all()
    assert (volume.read(Box((1, 2, 3), (3, 20, 11))) == array[1:3, 2:20, 3:11]).all()
    assert (volume.read(Box((1, 2, 3), (3, 2, 11)))).shape == (2, 0, 8)


@pytest.mark.parametrize("compression", ["lzw", "zstd", "deflate", "packbits"])
def test_compressed_and_tiled(tmp_path, compression):
    array = numbers((3, 50, 70), "u2")
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, tile=(16, 32), photometric="minisblack")
    assert (open_volume(tmp_path / "a.tif").read() == array).all()


def test_the_largest_ids_and_booleans(tmp_path):
    array = np.array([[[0, 1, 2**64 - 1, 2**63, 2**53 + 1]]], np.uint64)
    write_volume(tmp_path / "a.tif", array)
    assert open_volume(tmp_path / "a.tif").read().tolist() == array.tolist()
    write_volume(tmp_path / "b.tif", array > 1)
    assert open_volume(tmp_path / "b.tif").read().tolist() == [[[0, 0, 1, 1, 1]]]


def test_written_box_by_box_and_in_place(tmp_path):
    array = numbers((7, 21, 13), "u8").T
    with create_volume(tmp_path / "a.tif", array.shape, "u8", Metadata(origin=(1, 1, 1))) as volume:
        volume.write(Box((1, 1, 1), (14, 22, 5)), array[:, :, :4])
        volume.write(Box((1, 1, 5), (14, 22, 8)), array[:, :, 4:])
    with open_volume(tmp_path / "a.tif", "r+") as volume:
        assert (volume.read() == array).all()
        volume.write(Box((1, 1, 1), (2, 2, 2)), np.full((1, 1, 1), 5, "u8"))
    assert open_volume(tmp_path / "a.tif").read()[0, 0, 0] == 5


def test_imagej_stacks(tmp_path):
    array = numbers((6, 3, 8, 9), "u2")
    metadata = {"axes": "ZCYX", "spacing": 0.03, "unit": "micron"}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata=metadata, resolution=(1 / 0.006, 1 / 0.008))
    volume = open_volume(tmp_path / "a.tif")
    assert volume.shape == (3, 6, 8, 9)
    assert (volume.read() == array.swapaxes(0, 1)).all()
    assert (volume.read(Box((2, 0, 1), (4, 8, 9))) == array.swapaxes(0, 1)[:, 2:4, :, 1:]).all()
    assert volume.metadata.voxel_size == pytest.approx((30, 8, 6))
    tifffile.imwrite(tmp_path / "b.tif", array[:, 0], imagej=True)  # no unit: nothing is guessed
    assert open_volume(tmp_path / "b.tif").metadata.voxel_size is None
    assert open_volume(tmp_path / "b.tif").shape == (6, 8, 9)
    tifffile.imwrite(tmp_path / "c.tif", array, imagej=True, metadata={"axes": "ZCYX"}, compression="zlib")
    assert (open_volume(tmp_path / "c.tif").read() == array.swapaxes(0, 1)).all()


def test_ome_voxel_sizes(tmp_path):
    array = numbers((6, 8, 9))
    sizes = {"PhysicalSizeX": 6, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.008, "PhysicalSizeZ": 0.03}
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata={"axes": "ZYX", **sizes})
    volume = open_volume(tmp_path / "a.ome.tif")
    assert volume.metadata.voxel_size == pytest.approx((30, 8, 6))
    assert (volume.read() == array).all()


def test_opening_maps_and_does_not_read(tmp_path):
    write_volume(tmp_path / "a.tif", numbers((3, 4, 5)))
    assert isinstance(open_volume(tmp_path / "a.tif").store.mapped, np.memmap)


def test_colours_and_mixed_pages_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((5, 8, 9, 3), "u1"), photometric="rgb")
    with pytest.raises(NeuropilError, match=r"gray.*rgb\.tif"):
        open_volume(tmp_path / "rgb.tif")
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as file:
        file.write(np.zeros((8, 9), "u1"))
        file.write(np.zeros((8, 7), "u1"))
    with pytest.raises(NeuropilError, match=r"one size.*mixed\.tif"):
        open_volume(tmp_path / "mixed.tif")
    tifffile.imwrite(tmp_path / "five.tif", np.zeros((2, 3, 2, 8, 9), "u1"))
    with pytest.raises(NeuropilError, match=r"3 axes.*five\.tif"):
        open_volume(tmp_path / "five.tif")


def test_wrong_paths(tmp_path):
    with pytest.raises(NeuropilError, match="no such file"):
        open_volume(tmp_path / "a.tif")
    write_volume(tmp_path / "a.tif", numbers((3, 4, 5)))
    with pytest.raises(NeuropilError, match="one array"):
        open_volume(tmp_path / "a.tif/main")
    tifffile.imwrite(tmp_path / "z.tif", numbers((3, 4, 5)), compression="zlib", photometric="minisblack")
    with pytest.raises(NeuropilError, match="in place"):
        open_volume(tmp_path / "z.tif", "r+")


@pytest.mark.parametrize("how", ["mapped", "pages", "zlib", "big"])
def test_a_file_cut_off_anywhere_is_refused_or_whole(tmp_path, how):
    """Whatever is cut off: an error that says so, or, where the voxels do not need it, the right voxels."""
    array = numbers((6, 20, 30))
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=how == "big") as file:
        if how == "pages":
            for section in array:
                file.write(section, contiguous=False, metadata=None)
        else:
            file.write(array, compression="zlib" if how == "zlib" else None, photometric="minisblack")
    whole = (tmp_path / "a.tif").read_bytes()
    for keep in {*range(0, len(whole), 97), *range(40), *range(len(whole) - 40, len(whole))}:
        (tmp_path / "b.tif").write_bytes(whole[:keep])
        try:
            found = open_volume(tmp_path / "b.tif").read()
        except NeuropilError:
            continue
        assert keep > len(whole) - 40
        assert found.tolist() == array.tolist()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, full_disk):
    with full_disk(200_000), pytest.raises(NeuropilError, match=r"cannot write .*a\.tif"):
        write_volume(tmp_path / "a.tif", np.zeros((16, 128, 128)))
    assert list(tmp_path.iterdir()) == []
