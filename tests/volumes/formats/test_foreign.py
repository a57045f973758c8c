"""Files as other programs write them: every voxel, place and size as meant, or refused by name."""

import gzip
import json
import warnings

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from neuropil.errors import NeuropilError, Note
from neuropil.geometry import Box
from neuropil.volumes import list_arrays, open_volume


def numbers(shape, dtype="u1", seed=0):
    return np.random.default_rng(seed).integers(1, 250, shape).astype(dtype)


IMAGE = numbers((4, 20, 30))


def same(path, expected, **metadata):
    """Opened, it has these voxels, whole and in boxes, and this metadata."""
    with open_volume(path) as volume:
        assert volume.shape == expected.shape
        assert (volume.read() == expected).all()
        z, y, x = expected.shape[-3:]
        box = Box.at([n + a for n, a in zip((z // 2, y // 3, x // 2), volume.box.start, strict=True)], (1, 2, 2))
        assert (volume.read(box) == expected[..., z // 2 :, y // 3 :, x // 2 :][..., :1, :2, :2]).all()
        for key, value in metadata.items():
            found = getattr(volume.metadata, key)
            assert found == (value if value is None else pytest.approx(value)), key
        return volume.metadata


# 1: OME-TIFF in several files


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


# 2: chunks that are named or packed otherwise, or absent


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


def test_nested_zarr_2_without_a_separator(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=2,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )  # fmt: skip
    array[:] = IMAGE
    described = json.loads((tmp_path / "a.zarr/.zarray").read_text())
    del described["dimension_separator"]
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps(described))
    same(tmp_path / "a.zarr", IMAGE)


@pytest.mark.parametrize("form", [2, 3])
def test_chunks_of_other_names_than_described_are_refused(tmp_path, form):
    array = zarr.create_array(tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=form)
    array[:] = IMAGE
    name = ".zarray" if form == 2 else "zarr.json"
    described = json.loads((tmp_path / "a.zarr" / name).read_text())
    if form == 2:
        described["dimension_separator"] = "/"
    else:
        described["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "."}}
    (tmp_path / "a.zarr" / name).write_text(json.dumps(described))
    with pytest.raises(NeuropilError, match="its chunks disagree"):
        open_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize("form", [2, 3])
def test_absent_chunks_of_zarr_are_counted(tmp_path, form):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=form, fill_value=7
    )
    array[:2, :10, :10] = IMAGE[:2, :10, :10]
    with pytest.warns(Note, match="11 of 12 chunks"):
        assert open_volume(tmp_path / "a.zarr").read()[3, 19, 29] == 7


# 3 to 5: voxel sizes, units and places


def write_n5(path, array, attributes, group=None):
    """N5 as its specification has it, by hand: zarr 3 no longer writes it."""
    path.mkdir(parents=True)
    described = {
        "dimensions": list(array.shape[::-1]), "blockSize": list(array.shape[::-1]), "dataType": str(array.dtype),
        "compression": {"type": "gzip", "level": 1}, **attributes,
    }  # fmt: skip
    (path / "attributes.json").write_text(json.dumps(described))
    block = path.joinpath(*["0"] * array.ndim)
    block.parent.mkdir(parents=True, exist_ok=True)
    head = np.array([0, array.ndim], ">u2").tobytes() + np.array(array.shape[::-1], ">u4").tobytes()
    block.write_bytes(head + gzip.compress(array.astype(array.dtype.newbyteorder(">")).tobytes()))
    if group is not None:
        (path.parent / "attributes.json").write_text(json.dumps(group))


@pytest.mark.parametrize(
    ("attributes", "group", "size", "origin"),
    [
        ({"resolution": [4, 5, 40], "offset": [8, 10, 120]}, None, (40, 5, 4), (3, 2, 2)),
        ({"resolution": [4, 5, 40], "units": ["nm", "nm", "nm"]}, None, (40, 5, 4), None),
        (
            {"resolution": [0.004, 0.005, 0.04], "units": ["um"] * 3, "offset": [0.008, 0, 0]},
            None, (40, 5, 4), (0, 0, 2),
        ),
        ({"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}}, None, (40, 5, 4), None),
        ({"pixelResolution": [4, 5, 40]}, None, (40, 5, 4), None),
        (
            {"transform": {"axes": ["z", "y", "x"], "scale": [40, 5, 4], "translate": [80, 0, 4], "units": ["nm"] * 3}},
            None, (40, 5, 4), (2, 0, 1),
        ),
        (
            {"transform": {"axes": ["x", "y", "z"], "scale": [4, 5, 40], "translate": [4, 0, 80], "units": ["nm"] * 3}},
            None, (40, 5, 4), (2, 0, 1),
        ),
        ({}, {"resolution": [4, 5, 40], "units": ["nm"] * 3}, (40, 5, 4), None),
        (
            {"downsamplingFactors": [3, 3, 1]}, {"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}},
            (40, 15, 12), None,
        ),
        (
            {}, {"multiscales": [{"datasets": [{"path": "s0", "transform": {
                "axes": ["z", "y", "x"], "scale": [40, 5, 4], "translate": [40, 0, 0], "units": ["nm"] * 3}}]}]},
            (40, 5, 4), (1, 0, 0),
        ),
    ],
)  # fmt: skip
def test_n5_counts_x_y_z_in_all_attributes(tmp_path, attributes, group, size, origin):
    write_n5(tmp_path / "a.n5/s0", IMAGE, attributes, group)
    metadata = same(tmp_path / "a.n5/s0", IMAGE, voxel_size=size)
    if "downsamplingFactors" in attributes:
        assert metadata.position == pytest.approx((0, 5, 4))
    else:
        assert metadata.origin == origin


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


@pytest.mark.parametrize("axes", ["zyx", "xyz"])
def test_zarr_of_funlib(tmp_path, axes):
    """Attributes as funlib.persistence 0.7 writes them: in the order of its axes, in its units."""
    order = ["zyx".index(axis) for axis in axes]
    array = zarr.create_array(tmp_path / "a.zarr/raw", shape=[IMAGE.shape[i] for i in order], dtype="u1", zarr_format=2)
    array[:] = IMAGE.transpose(order)
    array.attrs.update({
        "axis_names": list(axes), "voxel_size": [(40, 5, 4)[i] for i in order], "units": ["nm"] * 3,
        "offset": [(80, 0, 4)[i] for i in order],
    })  # fmt: skip
    same(tmp_path / "a.zarr/raw", IMAGE, voxel_size=(40, 5, 4), origin=(2, 0, 1))


def test_element_size_um(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs["element_size_um"] = [0.03, 0.006, 0.006]
    same(tmp_path / "a.h5", IMAGE, voxel_size=(30, 6, 6))


def test_a_level_of_a_pyramid_begins_between_voxels(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    for level, factor in (("s0", 1), ("s1", 2)):
        group.create_array(level, shape=(4, 20, 30), dtype="u1", chunks=(4, 20, 30))[:] = IMAGE
        size = [40, 4 * factor, 4 * factor]
        shift = [0, 2 * (factor - 1), 2 * (factor - 1)]
        steps = [{"type": "scale", "scale": size}, {"type": "translation", "translation": shift}]
        group.attrs.setdefault("multiscales", [{
            "axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"], "datasets": [],
        }])  # fmt: skip
        images = group.attrs["multiscales"]
        images[0]["datasets"].append({"path": level, "coordinateTransformations": steps})
        group.attrs["multiscales"] = images
    with pytest.warns(Note, match="begins between voxels"):
        volume = open_volume(tmp_path / "a.zarr/s1")
    assert volume.metadata.voxel_size == (40, 8, 8)
    assert volume.metadata.position == pytest.approx((0, 2, 2))
    assert volume.metadata.start == (0, 0, 0)
    from neuropil.volumes import convert_volume

    for name in ("b.h5", "b.zarr", "b.ome.zarr", "b.n5", "b.tif"):
        convert_volume(volume, tmp_path / name)
        assert open_volume(tmp_path / name).metadata.position == pytest.approx((0, 2, 2)), name


# 6: links


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


# 7: axes

ORDERS = ["zyx", "xyz", "yxz", "zyxc", "xyzc", "czyx", "tzyxc", "zcyx"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "how", ["axistags", "labels", "dimension_names", "_ARRAY_DIMENSIONS", "axis_names", "ome", "tiff"]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_named_axes_are_turned(tmp_path, order, how, channels):
    lengths = {"t": 1, "c": channels, "z": 4, "y": 20, "x": 30}
    stored = numbers([lengths[axis] for axis in order], "u2")
    expected = stored.transpose([order.index(axis) for axis in "tczyx" if axis in order])
    expected = expected[0] if "t" in order else expected
    if channels == 1 and "c" in order and not (order == "czyx" and how != "ome"):
        expected = expected[0]
    path = write_named(tmp_path, order, how, stored)
    if path is None:
        pytest.skip("tifffile writes pages y, x only")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(path, expected)


def write_named(folder, order, how, stored):
    if how in ("axistags", "labels"):
        with h5py.File(folder / "a.h5", "w") as file:
            data = file.create_dataset("exported_data", data=stored)
            if how == "axistags":
                data.attrs["axistags"] = json.dumps({"axes": [{"key": axis, "typeFlags": 2} for axis in order]})
            else:
                for axis, name in enumerate(order):
                    data.dims[axis].label = name
        return folder / "a.h5"
    if how == "tiff":
        if not order.endswith("yx"):
            return None
        tifffile.imwrite(folder / "a.tif", stored, metadata={"axes": order.upper()}, photometric="minisblack")
        return folder / "a.tif"
    form = 3 if how == "dimension_names" else 2
    names = {"dimension_names": list(order)} if form == 3 else {}
    group = zarr.create_group(folder / "a.zarr", zarr_format=form)
    array = group.create_array("s0", shape=stored.shape, dtype="u2", chunks=stored.shape, **names)
    array[:] = stored
    if how == "ome":
        steps = [{"type": "scale", "scale": [1.0] * len(order)}]
        image = {"axes": [{"name": n} for n in order], "datasets": [{"path": "s0", "coordinateTransformations": steps}]}
        group.attrs["multiscales"] = [image]
    elif form == 2:
        array.attrs[how] = list(order)
    return folder / "a.zarr/s0"


def test_a_series_in_time_and_channels_in_the_end_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["series"] = numbers((3, 4, 20, 30))
        file["series"].attrs["axistags"] = json.dumps({"axes": [{"key": axis} for axis in "tzyx"]})
        file["last"] = numbers((80, 80, 90, 3))
        file["one"] = numbers((4, 20, 30, 1))
    with pytest.raises(NeuropilError, match=r"axes z, y, x.*t \(3\)"):
        open_volume(tmp_path / "a.h5/series")
    with pytest.raises(NeuropilError, match="looks like channels"):
        open_volume(tmp_path / "a.h5/last")
    with pytest.warns(Note, match="left out 1 last axis"):
        assert open_volume(tmp_path / "a.h5/one").shape == (4, 20, 30)


# 9 and 10: sections and colours


def test_a_file_of_another_kind_in_a_stack_is_refused(tmp_path):
    for z in range(3):
        Image.fromarray(IMAGE[z]).save(tmp_path / f"s{z}.png")
    same(tmp_path / "*.png", IMAGE[:3])
    Image.fromarray(IMAGE[0]).convert("RGB").save(tmp_path / "s3.png")
    with pytest.raises(NeuropilError, match=r"RGB.*s3\.png"):
        open_volume(tmp_path / "*.png")
    Image.fromarray(IMAGE[0]).save(tmp_path / "s3.png")
    Image.fromarray(IMAGE[0]).save(tmp_path / "overview.png")
    with pytest.raises(NeuropilError, match=r"called alike.*overview\.png"):
        open_volume(tmp_path / "*.png")


def test_a_folder_with_brackets_in_its_name(tmp_path):
    (tmp_path / "run [1]").mkdir()
    for z in range(3):
        Image.fromarray(IMAGE[z]).save(tmp_path / f"run [1]/s{z}.png")
    same(tmp_path / "run [1]/*.png", IMAGE[:3])
    with h5py.File(tmp_path / "run [1]/a.h5", "w") as file:
        file["raw"] = IMAGE
    same(tmp_path / "run [1]/a.h5/raw", IMAGE)


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
    ids = open_volume(path, colour="segmentation")
    assert ids.dtype == np.uint32
    assert (ids.read()[0] == red * 65536 + green * 256 + blue).all()
    gray = np.asarray(Image.fromarray(colours[..., :3]).convert("L")).astype(int)
    assert abs(open_volume(path, colour="image").read()[0] - gray).max() <= 1


def test_planar_colours_are_no_sections(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers((3, 20, 30)), photometric="rgb", planarconfig="separate")
    with pytest.raises(NeuropilError, match="colours"):
        open_volume(tmp_path / "a.tif")


# TIFF of other makes


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


def test_attributes_of_others_are_left_alone(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = IMAGE
        file["raw"].attrs.update({"origin": "Zeiss", "encoding": "gzip", "offsets": 5, "resolution": "high"})
    with pytest.warns(Note, match="ignored"):
        volume = open_volume(tmp_path / "a.h5")
    assert volume.metadata.voxel_size is None
    assert volume.metadata.extra["encoding"] == "gzip"


def test_hdf5_filters_name_what_to_install(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    for name, options in [
        ("bitshuffle", hdf5plugin.Bitshuffle()), ("lz4", hdf5plugin.LZ4()), ("zstd", hdf5plugin.Zstd()),
        ("blosc", hdf5plugin.Blosc()), ("blosc2", hdf5plugin.Blosc2()),
    ]:  # fmt: skip
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("raw", data=IMAGE, chunks=IMAGE.shape, **options)
        same(tmp_path / f"{name}.h5", IMAGE)


def test_matlab_turns_axes_around(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["raw"] = IMAGE.transpose(0, 2, 1)  # as MATLAB stores raw(y, x, z)
        file["raw"].attrs["MATLAB_class"] = np.bytes_("uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(tmp_path / "a.mat/raw", IMAGE)
