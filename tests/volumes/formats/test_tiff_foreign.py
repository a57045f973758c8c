"""TIFF as other programs write it: every voxel, place and size as meant, or refused by name."""

import gc
import warnings

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from foreign import IMAGE, numbers, same, write_n5
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume


def test_ome_tiff_with_a_file_for_each_section(tmp_path):
    uuids = [f"urn:uuid:00000000-0000-0000-0000-{z:012d}" for z in range(4)]
    parts = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="s_{z}.ome.tif">{uuid}</UUID></TiffData>'
        for z, uuid in enumerate(uuids)
    )
    for z, uuid in enumerate(uuids):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" '
            'SizeZ="4" SizeC="1" SizeT="1" PhysicalSizeX="6" PhysicalSizeXUnit="nm" PhysicalSizeY="6" '
            'PhysicalSizeYUnit="nm" PhysicalSizeZ="0.03"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{parts}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / f"s_{z}.ome.tif", IMAGE[z], description=xml, metadata=None)
    for path in ("s_0.ome.tif", "s_2.ome.tif", "*.ome.tif"):
        same(tmp_path / path, IMAGE, voxel_size=(30, 6, 6))
    (tmp_path / "s_3.ome.tif").unlink()
    with pytest.raises(NeuropilError):
        open_volume(tmp_path / "s_0.ome.tif").read()


@pytest.mark.parametrize(
    ("unit", "nm"),
    [("nm", 1), ("nanometers", 1), ("um", 1000), ("micron", 1000), ("microns", 1000),
     ("\\u00B5m", 1000), ("micrometer", 1000), ("mm", 1e6), ("cm", 1e7), ("pixel", None), ("angstrom", 0.1)],
)  # fmt: skip
def test_units_of_imagej(tmp_path, unit, nm):
    size = np.array([30, 8, 6]) / (nm or 1)
    tifffile.imwrite(
        tmp_path / "a.tif", IMAGE, imagej=True, resolution=(1 / size[2], 1 / size[1]),
        metadata={"axes": "ZYX", "spacing": float(size[0]), "unit": unit},
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_volume(tmp_path / "a.tif").metadata.voxel_size
    assert found == (pytest.approx((30, 8, 6), rel=1e-3) if nm else None)


def test_unknown_units_are_refused_by_name(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, imagej=True, metadata={"axes": "ZYX", "spacing": 1, "unit": "furlong"})
    with pytest.raises(NeuropilError, match=r"got 'furlong'.*a\.tif"):
        open_volume(tmp_path / "a.tif")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs.update({"voxel_size": [30, 6, 6], "units": ["furlong"] * 3})
    with pytest.raises(NeuropilError, match=r"'furlong'.*a\.h5/raw"):
        open_volume(tmp_path / "a.h5")
    write_n5(tmp_path / "a.n5/s0", IMAGE, {"resolution": [1, 1, 1], "units": ["furlong"] * 3})
    with pytest.raises(NeuropilError, match="'furlong'"):
        open_volume(tmp_path / "a.n5/s0")


@pytest.mark.parametrize("nm", [0.006, 4000])
def test_a_voxel_size_that_no_microscope_has_is_questioned(tmp_path, nm):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs["resolution"] = [nm] * 3
    with pytest.warns(Note, match="is its unit right"):
        open_volume(tmp_path / "a.h5")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_brightness_or_ids_on_request(tmp_path, suffix, channels):
    colours = numbers((20, 30, channels))
    colours[..., 3:] = 255
    Image.fromarray(colours).save(tmp_path / f"c.{suffix}")
    path = tmp_path / f"c.{suffix}"
    with pytest.raises(NeuropilError, match="--type image"):
        open_volume(path)
    red, green, blue = (colours[..., n].astype(int) for n in range(3))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", Note)
        ids = open_volume(path, colour="segmentation")
    assert ["transparency" in str(one.message) for one in told if one.category is Note] == [True] * (channels - 3)
    assert ids.dtype == np.uint32
    assert (ids.read()[0] == red * 65536 + green * 256 + blue).all()
    gray = np.asarray(Image.fromarray(colours[..., :3]).convert("L")).astype(int)
    assert abs(open_volume(path, colour="image").read()[0] - gray).max() <= 1


@pytest.mark.parametrize("colour", ["segmentation", "image"])
def test_a_volume_that_is_dropped_closes_its_file(tmp_path, colour):
    Image.fromarray(numbers((20, 30, 3))).save(tmp_path / "c.tif")
    gc.collect()  # what other tests left
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        assert open_volume(tmp_path / "c.tif", colour=colour).read().any()
        gc.collect()
    assert [one for one in told if one.category is ResourceWarning] == []


def test_colours_multiplied_by_opacity_are_refused(tmp_path):
    colours = numbers((20, 30, 4))
    how = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", colours, **how)
    with pytest.raises(NeuropilError, match="multiplied by their opacity"):
        open_volume(tmp_path / "a.tif", colour="segmentation").read()
    colours[..., 3] = 255
    tifffile.imwrite(tmp_path / "b.tif", colours, **how)
    assert open_volume(tmp_path / "b.tif", colour="image").read().shape == (1, 20, 30)


def test_planar_colours_are_no_sections(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers((3, 20, 30)), photometric="rgb", planarconfig="separate")
    with pytest.raises(NeuropilError, match="colours"):
        open_volume(tmp_path / "a.tif")


def test_pages_appended_one_by_one(tmp_path):
    for section in IMAGE:
        tifffile.imwrite(tmp_path / "a.tif", section, append=True)
    same(tmp_path / "a.tif", IMAGE)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_volumetric_tiff(tmp_path, compression):
    array = numbers((32, 64, 48))
    tifffile.imwrite(
        tmp_path / "a.tif", array, volumetric=True, tile=(16, 16, 16), compression=compression, photometric="minisblack"
    )
    same(tmp_path / "a.tif", array)
