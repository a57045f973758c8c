"""Tiled stacks: what a JSON file lists, read box by box, tile by tile."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neuropil import Box, NeuropilError, create_volume, open_volume, write_volume
from neuropil.dataset import VolumeDataset
from neuropil.errors import Note
from neuropil.sources import LabelledVolume
from neuropil.volumes.formats import tiles
from neuropil.volumes.roles import require_labels

SHAPE, TILE = (3, 23, 31), (8, 10)


def cut(folder, array, first=(0, 0), suffix="png", ragged=True, **more):
    """Write an array as tiles, and the file that lists them."""
    for z, section in enumerate(array):
        (folder / f"z{z}").mkdir(parents=True, exist_ok=True)
        for row in range(0, array.shape[1], TILE[0]):
            for column in range(0, array.shape[2], TILE[1]):
                tile = section[row : row + TILE[0], column : column + TILE[1]]
                if not ragged:
                    rest = [(0, t - n) for t, n in zip(TILE, tile.shape, strict=False)]
                    tile = np.pad(tile, rest + [(0, 0)] * (tile.ndim - 2))
                name = f"{row // TILE[0] + first[0]}_{column // TILE[1] + first[1]}.{suffix}"
                Image.fromarray(tile).save(folder / f"z{z}" / name)
    listed = {
        "image": [f"z{z}/{{row}}_{{column}}.{suffix}" for z in range(len(array))],
        **dict(zip(("depth", "height", "width"), array.shape[:3], strict=True)),
        "tile_size": list(TILE),
        "tile_st": list(first),
    }
    path = folder / "tiles.json"
    path.write_text(json.dumps(listed | more))
    return path


def random_image(seed=0, shape=SHAPE, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    array = random_image()
    return array, open_volume(cut(tmp_path_factory.mktemp("tiles"), array, first=(1, 1)))


@given(st.data())
def test_any_box_is_that_of_the_whole(image, data):
    array, volume = image
    ends = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in SHAPE]
    box = Box(*zip(*ends, strict=True))
    assert volume.shape == SHAPE
    assert volume.chunks == (1, *TILE)
    assert np.array_equal(volume.read(box), array[box.slices])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("ragged", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_formats_and_types(tmp_path, suffix, ragged, dtype):
    array = random_image(dtype=dtype)
    volume = open_volume(cut(tmp_path, array, suffix=suffix, ragged=ragged, voxel_size=[30, 6, 6], origin=[5, 0, 0]))
    assert volume.dtype == dtype
    assert volume.metadata.voxel_size == (30, 6, 6)
    assert volume.box.start == (5, 0, 0)
    assert np.array_equal(volume.read(), array)


def test_colours_are_ids_and_grey_ones_are_grey(tmp_path):
    colours = random_image(shape=(*SHAPE, 3))
    ids = colours.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    volume = open_volume(cut(tmp_path, colours, dtype="uint64"))
    assert volume.dtype == np.uint64
    assert np.array_equal(volume.read(), ids)
    assert open_volume(cut(tmp_path, colours)).dtype == np.uint32
    grey = np.repeat(random_image()[..., None], 3, axis=3)
    assert np.array_equal(open_volume(cut(tmp_path / "grey", grey, dtype="uint8")).read(), grey[..., 0])
    with pytest.raises(NeuropilError, match="name a larger dtype"):
        open_volume(cut(tmp_path, colours, dtype="uint16")).read()


def test_tiles_that_are_not_there_are_background(tmp_path):
    array = random_image()
    path = cut(tmp_path, array, background=7)
    (tmp_path / "z0" / "0_0.png").unlink()
    (tmp_path / "z1" / "2_3.png").unlink()
    array[0, :8, :10] = 7
    array[1, 16:, 30:] = 7
    assert np.array_equal(open_volume(path).read(), array)


def test_only_the_tiles_of_a_box_are_read_and_few_are_kept(tmp_path, monkeypatch):
    path, read, load = cut(tmp_path, random_image()), [], tiles._load
    monkeypatch.setattr(tiles, "_load", lambda file: read.append(file) or load(file))
    volume = open_volume(path)
    read.clear()
    volume.read(Box((1, 7, 9), (2, 9, 11)))
    assert sorted(file[-10:] for file in read) == ["z1/0_0.png", "z1/0_1.png", "z1/1_0.png", "z1/1_1.png"]
    volume.read(Box((1, 0, 0), (2, 8, 20)))
    assert len(read) == 4, "neighbouring boxes do not unpack a tile again"
    monkeypatch.setattr("neuropil.volumes.formats.pages._CACHE", 100)
    volume.read()
    assert len(volume.store.pages._kept) <= 3


@pytest.mark.parametrize("ratio", [0.5, 2])
def test_tiles_of_another_size_are_resized(tmp_path, ratio):
    given = random_image(shape=(1, round(8 / ratio), round(10 / ratio)))
    path = cut(tmp_path, np.zeros((1, *TILE), np.uint8), tile_ratio=ratio)
    Image.fromarray(given[0]).save(tmp_path / "z0" / "0_0.png")
    at = [np.linspace(0, n - 1, m) for n, m in zip(given.shape[1:], TILE, strict=True)]
    nearest = given[0][np.ix_(*(np.floor(a + 0.5).astype(int) for a in at))]
    assert np.array_equal(open_volume(path).read()[0], nearest)
    cut(tmp_path, np.zeros((1, *TILE), np.uint8), tile_ratio=ratio, interpolation="linear")
    Image.fromarray(given[0]).save(tmp_path / "z0" / "0_0.png")
    rows = np.stack([np.interp(at[0], np.arange(given.shape[1]), column) for column in given[0].T], 1)
    both = np.stack([np.interp(at[1], np.arange(given.shape[2]), row) for row in rows])
    found = open_volume(path).read()[0].astype(float)
    assert np.abs(found - both).max() <= 1  # rounded after each axis
    assert np.array_equal(found[::7, ::9], given[0][:: given.shape[1] - 1, :: given.shape[2] - 1])


def test_paths_count_from_the_file_or_from_where_one_is(tmp_path, monkeypatch):
    array = random_image()
    path = cut(tmp_path / "data", array)
    elsewhere = tmp_path / "lists" / "tiles.json"
    elsewhere.parent.mkdir()
    elsewhere.write_text(path.read_text())
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(NeuropilError, match="outside the folder of that file; give --allow-outside"):
        open_volume(elsewhere)
    monkeypatch.setenv("NEUROPIL_ALLOW_OUTSIDE", "1")
    assert np.array_equal(open_volume(elsewhere).read(), array)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(open_volume("data/tiles.json").read(), array)


def test_samples_drawn_from_tiles_are_those_of_one_file(tmp_path):
    image, labels = random_image(), random_image(1) % 5
    write_volume(tmp_path / "i.h5", image)
    write_volume(tmp_path / "l.h5", labels)
    whole = LabelledVolume(open_volume(tmp_path / "i.h5"), open_volume(tmp_path / "l.h5"))
    parts = LabelledVolume(open_volume(cut(tmp_path / "i", image)), open_volume(cut(tmp_path / "l", labels)))
    a, b = (VolumeDataset([pair], (2, 9, 12), margin=1, memory=m) for pair, m in ((whole, 1e9), (parts, 0)))
    for number in range(5):
        assert np.array_equal(a[number].image_ZYX, b[number].image_ZYX)
        assert np.array_equal(a[number].labels_ZYX, b[number].labels_ZYX)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 4}, "a list of 4 paths"),
        ({"height": 0}, "expected height to be a number of voxels, got 0"),
        ({"tile_size": 3.5}, "expected tile_size"),
        ({"tile_size": [8]}, "expected tile_size"),
        ({"tile_size": [8, 9]}, r"expected a tile of \(8, 9\) voxels, got \(8, 10\)"),
        ({"tile_size": [9, 10]}, r"expected a tile of \(9, 10\) voxels, got \(8, 10\)"),
        ({"tile_st": 1}, "tile_st as two numbers"),
        ({"tile_ratio": 0}, "tile_ratio above 0"),
        ({"interpolation": "cubic"}, "nearest or linear"),
        ({"dtype": "float32"}, "expected dtype uint8"),
        ({"background": "black"}, "expected background"),
        ({"tile_start": [0, 0]}, "unknown key 'tile_start'.*known are image"),
        ({"image": ["z0/{line}.png"] * 3}, "row.*column"),
        ({"image": ["z9/{row}_{column}.png"] * 3}, "no tile of .* exists; the first would be .*0_0.png"),
        ({"voxel_size": [1, 2]}, "expected voxel_size"),
    ],
)
def test_refuses(tmp_path, change, message):
    path = cut(tmp_path, random_image())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(NeuropilError, match=message):
        open_volume(path).read()


def test_refuses_what_is_no_list_of_tiles(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(NeuropilError, match="no such file"):
        open_volume(path)
    path.write_text("{")
    with pytest.raises(NeuropilError, match="cannot be read as a JSON"):
        open_volume(path)
    path.write_text('{"image": []}')
    with pytest.raises(NeuropilError, match="expected the keys image, depth"):
        open_volume(path)
    with pytest.raises(NeuropilError, match="opened to read only"):
        open_volume(cut(tmp_path, random_image()), "r+")
    with (
        pytest.raises(NeuropilError, match=r"tiles is only read, not written; write .*a\.zarr"),
        create_volume(path, (1, 2, 3), "u1"),
    ):
        pass


def test_tiles_that_are_absent_are_counted(tmp_path):
    path = cut(tmp_path, random_image())
    for file in [tmp_path / "z0/1_1.png", *(tmp_path / "z2").iterdir()]:
        file.unlink()
    with pytest.warns(Note, match=r"13 of 36 tiles of .* are missing, all of section 2; they are read as 0"):
        assert not open_volume(path).read()[2].any()


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_jpeg_tiles_hold_no_ids(tmp_path, kind):
    """Whatever they are called, in TIFF too; and where only some of them are packed so."""
    path = cut(tmp_path, random_image(), suffix=kind)
    files = sorted(tmp_path.glob("z*/*"))

    def pack(file):
        options = {"compression": "jpeg"} if kind == "tif" else {}
        Image.open(file).convert("L").save(file, format="TIFF" if kind == "tif" else "JPEG", **options)

    pack(files[0])
    with pytest.raises(NeuropilError, match="without lossy compression, got JPEG or another"):
        require_labels(open_volume(path))
    if kind != "jpg":
        Image.fromarray(np.full(TILE, 3, np.uint8)).save(files[0])
        pack(files[5])
        with pytest.raises(
            NeuropilError, match=f"lossless tiles, as .*, got JPEG or another lossy format in {files[5]}"
        ):
            require_labels(open_volume(path)).read()


@pytest.mark.parametrize(("value", "told"), [(-3, "-3"), (0.5, "0.5"), (float("nan"), "nan"), (256, "256")])
def test_values_that_the_dtype_cannot_hold_are_refused(tmp_path, value, told):
    path = cut(tmp_path, np.full((1, 8, 10), value, np.float32), suffix="tif", dtype="uint8")
    with pytest.raises(NeuropilError, match=f"expected values of dtype uint8, got {told}"):
        open_volume(path).read()


def test_colours_without_a_dtype_are_told(tmp_path):
    grey = random_image(shape=(1, 8, 10))
    with pytest.warns(Note, match="in colour and no dtype is given: they are read as ids .* give dtype uint8"):
        open_volume(cut(tmp_path, np.stack([grey] * 3, -1)))
