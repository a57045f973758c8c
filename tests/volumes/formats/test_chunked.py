"""Zarr 2 and 3, N5 and Neuroglancer precomputed: real folders, read back here and by TensorStore itself."""

import json
import threading

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from neuropil.errors import NeuropilError
from neuropil.geometry import Box, blocks
from neuropil.volumes import LOGIT8, Metadata, create_volume, open_volume, write_volume

NAMES = ["a.zarr", "zarr2://a2.zarr", "a.n5", "precomputed://p", "a.precomputed"]
FULL = Metadata(
    (30.0, 6.0, 6.5), (60, 0, 7), ((-1, 0, 0), (0, -9, 0)), LOGIT8, {"threshold": 0.3, "by": {"µ": [1, None]}}
)


def numbers(shape, dtype="u1", seed=0):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.random.default_rng(seed).random(shape).astype(dtype)
    return np.random.default_rng(seed).integers(0, min(np.iinfo(dtype).max, 2**63 - 1), shape).astype(dtype)


def at(folder, name):
    prefix, _, rest = name.rpartition("://")
    return f"{prefix}://{folder}/{rest}" if prefix else f"{folder}/{name}"


def stored(driver, folder, **more):
    return ts.open({"driver": driver, "kvstore": {"driver": "file", "path": f"{folder}/"}, **more}).result()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 5, 33, 130), (2, 1, 1, 1)])
def test_metadata_and_voxels_come_back(tmp_path, name, shape):
    array = numbers(shape)
    write_volume(at(tmp_path, name), array, FULL)
    volume = open_volume(at(tmp_path, name))
    assert volume.metadata == FULL
    assert (volume.read() == array).all()
    assert open_volume(volume.path).metadata == FULL  # the path that it gives is one to open
    box = volume.box if shape[1] == 1 else Box((61, 3, 10), (64, 20, 137))
    inside = (slice(None), *box.relative_to((60, 0, 7)).slices)
    assert (volume.read(box) == array[inside]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["u1", ">u2", "u4", ">u8", "i4", ">f4"])
def test_dtypes_and_memory_layouts(tmp_path, name, dtype):
    for array in (
        numbers((4, 20, 30), dtype),
        numbers((30, 20, 4), dtype).T,
        numbers((8, 20, 60), dtype)[::2, ::-1, ::2],
    ):
        write_volume(at(tmp_path, name), array)
        volume = open_volume(at(tmp_path, name))
        assert volume.dtype == np.dtype(dtype).newbyteorder("=")
        assert volume.metadata == Metadata()
        assert (volume.read() == array).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_largest_ids(tmp_path, name):
    array = np.array([[[0, 1, 2**64 - 1, 2**63, 2**53 + 1]]], np.uint64)
    write_volume(at(tmp_path, name), array)
    assert open_volume(at(tmp_path, name)).read().tolist() == array.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_floats_and_booleans_where_they_fit(tmp_path, name):
    small = numbers((2, 3, 4), "f2")
    if "zarr" in name:
        write_volume(at(tmp_path, name), small)
        assert (open_volume(at(tmp_path, name)).read() == small).all()
    else:
        with pytest.raises(NeuropilError, match=r"holds uint8.*got float16"):
            write_volume(at(tmp_path, name), small)
        assert list(tmp_path.iterdir()) == []
    write_volume(at(tmp_path, name), small > 0.5)
    assert open_volume(at(tmp_path, name)).read().astype(bool).tolist() == (small > 0.5).tolist()


def test_zarr3_by_default_and_readable_by_others(tmp_path):
    array = numbers((3, 20, 30), "u4")
    write_volume(tmp_path / "a.zarr", array, Metadata(voxel_size=(30, 6, 6)))
    described = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    assert described["zarr_format"] == 3
    assert described["attributes"].pop("written_by").startswith("neuropil ")
    assert described["attributes"] == {"voxel_size": [30, 6, 6]}
    assert described["dimension_names"] == ["z", "y", "x"]
    assert (stored("zarr3", tmp_path / "a.zarr")[...].read().result() == array).all()


def test_axis_order_of_n5_and_precomputed(tmp_path):
    array = numbers((3, 20, 30), "u2")
    place = Metadata(voxel_size=(30, 6, 5), origin=(7, 8, 9))
    write_volume(tmp_path / "a.n5", array, place)
    assert (stored("n5", tmp_path / "a.n5")[...].read().result() == array.T).all()
    attributes = json.loads((tmp_path / "a.n5/attributes.json").read_text())
    assert attributes["dimensions"] == [30, 20, 3]
    assert attributes["pixelResolution"] == {"dimensions": [5, 6, 30], "unit": "nm"}
    write_volume(f"precomputed://{tmp_path}/p", array, place)
    theirs = stored("neuroglancer_precomputed", tmp_path / "p")
    assert theirs.domain.origin == (9, 8, 7, 0)
    assert (theirs[..., 0].read().result() == array.T).all()
    scale = json.loads((tmp_path / "p/info").read_text())["scales"][0]
    assert scale["resolution"] == [5, 6, 30]


def test_what_others_write_in_n5_and_precomputed(tmp_path):
    spec = {"dimensions": [5, 4, 3], "blockSize": [2, 2, 2], "dataType": "uint8", "compression": {"type": "raw"}}
    for name, attributes, expected in [
        ("a", {"resolution": [4, 5, 40]}, (40, 5, 4)),
        ("b", {"pixelResolution": {"dimensions": [0.004, 0.005, 0.04], "unit": "um"}}, (40, 5, 4)),
        ("c", {"pixelResolution": [4, 5, 40]}, (40, 5, 4)),
        ("d", {"pixelResolution": {"dimensions": [1, 1, 1], "unit": "pixel"}}, None),
    ]:
        handle = stored("n5", tmp_path / f"x.n5/{name}", create=True, metadata={**spec, **attributes})
        handle[...] = numbers((5, 4, 3))
        volume = open_volume(tmp_path / f"x.n5/{name}")
        assert volume.metadata.voxel_size == (None if expected is None else pytest.approx(expected))
        assert (volume.read() == numbers((5, 4, 3)).T).all()
    with pytest.raises(NeuropilError, match=r"several arrays.*a \(3×4×5 uint8\), b"):
        open_volume(tmp_path / "x.n5")
    more = {
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 2},
        "scale_metadata": {"size": [5, 4, 3], "resolution": [4, 5, 40], "voxel_offset": [1, 2, 3], "encoding": "raw"},
    }
    array = numbers((2, 3, 4, 5))
    stored("neuroglancer_precomputed", tmp_path / "q", create=True, **more)[...] = array.T
    volume = open_volume(tmp_path / "q")  # known by its info file
    assert volume.shape == (2, 3, 4, 5)
    assert volume.metadata == Metadata(voxel_size=(40, 5, 4), origin=(3, 2, 1))
    assert (volume.read() == array).all()


def test_ids_become_a_segmentation_in_precomputed(tmp_path):
    array = numbers((9, 20, 30), "u8") % 5 * 2**60
    write_volume(tmp_path / "s.precomputed", array)
    assert json.loads((tmp_path / "s.precomputed/info").read_text())["type"] == "segmentation"
    assert (open_volume(tmp_path / "s.precomputed").read() == array).all()


def test_scales_of_a_precomputed_volume(tmp_path):
    write_volume(f"precomputed://{tmp_path}/p", numbers((4, 20, 30)), Metadata(voxel_size=(30, 6, 6)))
    scale = {"size": [15, 10, 4], "resolution": [12, 12, 30], "encoding": "raw"}
    stored("neuroglancer_precomputed", tmp_path / "p", create=True, scale_metadata=scale)
    assert open_volume(tmp_path / "p").shape == (4, 20, 30)
    volume = open_volume(f"precomputed://{tmp_path}/p/12_12_30")
    assert volume.shape == (4, 10, 15)
    assert volume.metadata.voxel_size == (30, 12, 12)
    with pytest.raises(NeuropilError, match=r"did you mean 12_12_30\?.*it has 6_6_30, 12_12_30"):
        open_volume(tmp_path / "p/12_12_31")


@pytest.mark.parametrize("version", [2, 3])
def test_arrays_in_groups(tmp_path, version):
    prefix = "zarr2://" if version == 2 else ""
    write_volume(f"{prefix}{tmp_path}/b.zarr/volumes/raw", numbers((3, 4, 5)))
    assert open_volume(tmp_path / "b.zarr").shape == (3, 4, 5)  # the only one
    write_volume(tmp_path / "b.zarr/volumes/labels", numbers((3, 4, 5), "u8"), Metadata(voxel_size=(1, 2, 3)))
    group = ".zgroup" if version == 2 else "zarr.json"
    assert json.loads((tmp_path / "b.zarr" / group).read_text())["zarr_format"] == version
    assert (tmp_path / "b.zarr/volumes" / group).exists()
    assert open_volume(tmp_path / "b.zarr/volumes/labels").metadata.voxel_size == (1, 2, 3)
    with pytest.raises(NeuropilError, match=r"several.*volumes/labels \(3×4×5 uint64\), volumes/raw \(3×4×5 uint8\)"):
        open_volume(tmp_path / "b.zarr")
    with pytest.raises(NeuropilError, match=r"did you mean volumes/raw\?"):
        open_volume(tmp_path / "b.zarr/volumes/rew")
    with pytest.raises(NeuropilError, match=r"holds volumes/labels, volumes/raw; name an array"):
        write_volume(tmp_path / "b.zarr", numbers((3, 4, 5)))
    with pytest.raises(NeuropilError, match="cannot hold"):
        write_volume(tmp_path / "b.zarr/volumes/raw/deeper", numbers((3, 4, 5)))
    write_volume(tmp_path / "b.zarr/volumes/raw", numbers((1, 1, 2)))
    assert open_volume(tmp_path / "b.zarr/volumes/raw").shape == (1, 1, 2)


def test_ome_zarr(tmp_path):
    array = numbers((6, 20, 30))
    metadata = Metadata(voxel_size=(30, 6, 6), origin=(2, 0, 1))
    write_volume(tmp_path / "a.ome.zarr", array, metadata)
    attributes = json.loads((tmp_path / "a.ome.zarr/zarr.json").read_text())["attributes"]["ome"]
    assert attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] == [30, 6, 6]
    assert open_volume(tmp_path / "a.ome.zarr").metadata == metadata
    described = json.loads((tmp_path / "a.ome.zarr/0/zarr.json").read_text())
    described["attributes"] = {}  # as others write it: the group alone knows
    (tmp_path / "a.ome.zarr/0/zarr.json").write_text(json.dumps(described))
    assert open_volume(tmp_path / "a.ome.zarr").metadata == metadata
    write_volume(tmp_path / "a.ome.zarr", array, Metadata(voxel_size=(40, 6, 6)))
    attributes = json.loads((tmp_path / "a.ome.zarr/zarr.json").read_text())["attributes"]["ome"]
    assert attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] == [40, 6, 6]


def test_ome_zarr_of_others(tmp_path):
    """Version 0.4: five axes, µm, several scales; the finest one is meant."""
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *axes]
    scales = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 0.03, 0.006 * f, 0.006 * f]}]}
        for n, f in enumerate([1, 2])
    ]
    (tmp_path / "o.zarr").mkdir()
    (tmp_path / "o.zarr/.zgroup").write_text('{"zarr_format": 2}')
    image = {"version": "0.4", "axes": axes, "datasets": scales}
    (tmp_path / "o.zarr/.zattrs").write_text(json.dumps({"multiscales": [image]}))
    for n, shape in enumerate([(1, 1, 3, 8, 10), (1, 1, 3, 4, 5)]):
        metadata = {"shape": shape, "dtype": "|u1", "chunks": [1, 1, 2, 3, 4]}
        stored("zarr", tmp_path / f"o.zarr/{n}", create=True, metadata=metadata)[...] = numbers(shape)
    volume = open_volume(tmp_path / "o.zarr", "r+")
    assert volume.metadata.voxel_size == pytest.approx((30, 6, 6))
    assert (volume.read() == numbers((3, 8, 10))).all()
    volume.write(Box((1, 0, 0), (2, 8, 10)), np.zeros((1, 8, 10), "u1"))
    assert volume.read()[1].sum() == 0
    assert open_volume(tmp_path / "o.zarr/1").metadata.voxel_size == pytest.approx((30, 12, 12))


@pytest.mark.parametrize("name", NAMES)
def test_written_tile_by_tile_from_threads(tmp_path, name):
    array = numbers((21, 50, 67), "u4")
    with create_volume(at(tmp_path, name), array.shape, "u4", Metadata(origin=(5, 0, 0)), chunks=(8, 16, 32)) as volume:
        assert volume.chunks == (8, 16, 32)
        errors = []

        def write(box):
            try:
                volume.write(box, array[box.relative_to((5, 0, 0)).slices])
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(box,)) for box in blocks(volume.box, (8, 16, 32))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert (open_volume(at(tmp_path, name)).read() == array).all()


@given(st.data())
def test_any_box_of_any_chunks(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    name = data.draw(st.sampled_from([*NAMES, "a.h5", "a.tif"]))
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    chunks = data.draw(st.tuples(*[st.integers(1, 10)] * 3))
    origin = data.draw(st.tuples(*[st.integers(-5, 5)] * 3))
    truth = np.zeros(shape, "u2")
    with create_volume(at(folder, name), shape, "u2", Metadata(origin=origin), chunks) as volume:
        for value in (1, 2, 3):
            box = draw_box(data, volume.box)
            volume.write(box, np.full(box.shape, value, "u2"))
            truth[box.relative_to(origin).slices] = value
    found = open_volume(at(folder, name))
    assert found.box == Box.at(origin, shape)
    box = draw_box(data, found.box)
    assert found.read(box).tolist() == truth[box.relative_to(origin).slices].tolist()
    assert (found.read() == truth).all()


def draw_box(data, whole):
    ends = [
        sorted((data.draw(st.integers(a, b)), data.draw(st.integers(a, b))))
        for a, b in zip(whole.start, whole.stop, strict=True)
    ]
    return Box(tuple(a for a, _ in ends), tuple(b for _, b in ends))


def overwrite_and_fail(path):
    with create_volume(path, (2, 3, 4), "u1") as volume:
        volume.write(volume.box, np.zeros((2, 3, 4), "u1"))
        assert open_volume(path).read().sum() == 24
        raise KeyError("mine")


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_write_leaves_what_was_there(tmp_path, name):
    with pytest.raises(KeyError, match="mine"), create_volume(at(tmp_path, name), (2, 3, 4), "u1"):
        raise KeyError("mine")
    assert list(tmp_path.iterdir()) == []
    write_volume(at(tmp_path, name), np.ones((2, 3, 4), "u1"))
    with pytest.raises(KeyError, match="mine"):
        overwrite_and_fail(at(tmp_path, name))
    assert open_volume(at(tmp_path, name)).read().sum() == 24
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_folder_of_others_is_replaced(tmp_path, name):
    folder = tmp_path / name.rpartition("://")[2]
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(NeuropilError, match="other files"):
        write_volume(at(tmp_path, name), np.ones((2, 3, 4), "u1"))
    assert (folder / "thesis.tex").exists()


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_damaged(tmp_path, name):
    with pytest.raises(NeuropilError, match="no such file"):
        open_volume(at(tmp_path, name))
    write_volume(at(tmp_path, name), numbers((2, 3, 4)))
    folder = tmp_path / name.rpartition("://")[2]
    small = next(folder / f for f in ("zarr.json", ".zarray", "attributes.json", "info") if (folder / f).exists())
    text = small.read_text()
    chunk = max(
        (f for f in folder.rglob("*") if f.is_file() and f != small and f.name != ".zattrs"),
        key=lambda f: f.stat().st_size,
    )
    chunk.write_bytes(chunk.read_bytes()[:5])
    with pytest.raises(NeuropilError, match="cannot read"):
        open_volume(at(tmp_path, name)).read()
    for keep in (0, 1, len(text) // 2, len(text) - 1):
        small.write_text(text[:keep])
        with pytest.raises(NeuropilError, match="damaged"):
            open_volume(at(tmp_path, name))


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, full_disk, name):
    with full_disk(30_000), pytest.raises(NeuropilError, match="cannot write"):
        write_volume(at(tmp_path, name), numbers((16, 128, 128), "f4"))
    assert list(tmp_path.iterdir()) == []


def test_opened_to_change(tmp_path):
    write_volume(tmp_path / "a.zarr", np.zeros((4, 5, 6), "u1"), Metadata(origin=(1, 0, 0)))
    with pytest.raises(NeuropilError, match="read only"):
        open_volume(tmp_path / "a.zarr").write(Box((1, 0, 0), (2, 1, 1)), np.ones((1, 1, 1), "u1"))
    with open_volume(tmp_path / "a.zarr", "r+") as volume:
        volume.write(Box((1, 0, 0), (2, 1, 1)), np.ones((1, 1, 1), "u1"))
    assert open_volume(tmp_path / "a.zarr").read().sum() == 1


@pytest.mark.parametrize("number", [10**18, 2**31 - 1])
@pytest.mark.parametrize(
    ("name", "file", "place"),
    [
        ("a.zarr", "zarr.json", ("shape", 1)),
        ("a.zarr", "zarr.json", ("chunk_grid", "configuration", "chunk_shape", 1)),
        ("zarr2://a.zarr", ".zarray", ("chunks", 1)),
        ("a.n5", "attributes.json", ("dimensions", 1)),
        ("a.n5", "attributes.json", ("blockSize", 1)),
        ("a.precomputed", "info", ("num_channels",)),
        ("a.precomputed", "info", ("scales", 0, "size", 1)),
        ("a.precomputed", "info", ("scales", 0, "chunk_sizes", 0, 1)),
    ],
)
def test_arrays_and_chunks_that_nothing_can_hold_are_refused(tmp_path, monkeypatch, name, file, place, number):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neuropil.memory.free_ram", lambda: 10**9)
    write_volume(name, np.ones((4, 40, 30), np.uint32))
    described = tmp_path / name.removeprefix("zarr2://") / file
    values = node = json.loads(described.read_text())
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = number
    described.write_text(json.dumps(values))
    with pytest.raises(NeuropilError, match=r"damaged|needs about|disagree"):  # the chunks have other names, too
        open_volume(name).read()
