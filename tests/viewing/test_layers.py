"""What volumes are taken for, and which voxels a viewer gets of them."""

import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST
from neuropil.viewing.colours import affinity_rgb
from neuropil.viewing.layers import LayerVoxels, grey_range, layers_of
from neuropil.volumes import LOGIT8, Metadata, array_volume

RNG = np.random.default_rng(0)


def volume(dtype, shape=(4, 5, 6), metadata=None):
    return array_volume(RNG.integers(0, 2, shape).astype(dtype), metadata)


@pytest.mark.parametrize(
    ("dtypes", "kinds"),
    [
        (["u1", "u4"], ["image", "segmentation"]),
        (["u2", "u2"], ["image", "segmentation"]),
        (["u4", "u1"], ["segmentation", "image"]),
        (["f4", "i8", "?"], ["image", "segmentation", "segmentation"]),
    ],
)
def test_kinds(dtypes, kinds):
    assert [layer.kind for layer in layers_of([volume(dtype) for dtype in dtypes])] == kinds


def test_labels_are_labels_whatever_their_type():
    truth = volume("u1")
    layers = layers_of([volume("f4", (3, 4, 5, 6))], truth)
    assert [(layer.kind, layer.is_truth) for layer in layers] == [("affinities", False), ("segmentation", True)]


def test_names_differ_and_sizes_are_shared():
    layers = layers_of([volume("u1"), volume("u4", metadata=Metadata((30, 6, 6))), volume("u4")])
    assert len({layer.name for layer in layers}) == 3
    assert {layer.voxel_size for layer in layers} == {(30, 6, 6)}
    assert layers_of([volume("u1")])[0].voxel_size == (1, 1, 1)
    assert layers_of([volume("u1")], voxel_size=(9, 8, 7))[0].voxel_size == (9, 8, 7)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u8", "i4", "i8", "?", "f2", "f8"])
def test_voxels_are_those_of_the_volume(dtype):
    layer = layers_of([volume(dtype, metadata=Metadata(origin=(60, 7, 8)))])[0]
    voxels, array = LayerVoxels(layer), layer.volume.read()
    assert voxels.shape == (6, 5, 4)
    piece = voxels[1:4, 0:5, 2:3]
    assert piece.dtype == voxels.dtype
    assert (piece == array[2:3, 0:5, 1:4].transpose(2, 1, 0)).all()


@pytest.mark.parametrize("encoding", [None, LOGIT8])
def test_affinities_become_colours(encoding):
    values = RNG.random((3, 4, 5, 6)).astype(np.float32)
    stored = values if encoding is None else encoding.encode(values)
    layer = layers_of([array_volume(stored, Metadata(offsets=NEAREST, encoding=encoding))])[0]
    piece = LayerVoxels(layer)[0:6, 1:3, 2:4, 0:3]
    assert piece.dtype == np.uint8
    expected = affinity_rgb(values, None)[2:4, 1:3].transpose(2, 1, 0, 3)
    assert np.abs(piece.astype(int) - expected).max() <= (0 if encoding is None else 6)


def test_only_what_is_asked_for_is_read(monkeypatch):
    layer, boxes = layers_of([volume("u1", (50, 60, 70))])[0], []
    read = type(layer.volume).read
    monkeypatch.setattr(type(layer.volume), "read", lambda self, box=None: boxes.append(box) or read(self, box))
    _ = LayerVoxels(layer)[10:20, 0:8, 3:4]
    assert [str(box) for box in boxes] == ["3:4,0:8,10:20"]


def test_grey_range_of_a_flat_and_of_a_bright_image():
    assert grey_range(layers_of([array_volume(np.full((2, 9, 9), 7.0))])[0]) == (7, 8)
    bright = array_volume(np.linspace(1000, 2000, 2 * 90 * 90).reshape(2, 90, 90).astype("u2"))
    low, high = grey_range(layers_of([bright])[0])
    assert 1000 < low < high < 2001


def test_refuses():
    for volumes, labels, message in [
        ([], None, "nothing to show"),
        ([volume("f4"), volume("f4")], None, "one image is enough"),
        ([volume("f4")], volume("f4"), "expected integer ids"),
        ([volume("f4", (2, 4, 5, 6))], None, "2 channels need their offsets"),
    ]:
        with pytest.raises(NeuropilError, match=message):
            layers_of(volumes, labels)
