"""Soma-sized parts and changes of calibre of shapes that are known."""

import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.proofreading import shapes
from neuropil.proofreading.shapes import _squared_depth, calibre_changes, soma_sized
from neuropil.volumes import Metadata, array_volume

START = (7, 100, 5)


def volume(array, size):
    return array_volume(array.astype(np.uint32), Metadata(voxel_size=size, origin=START))


def balls(size, radius, tube, ids=(5, 5), length=10000, ends=(2500, 7500)):
    """Two balls around x = ``ends`` and a tube between them, all in nm."""
    shape = [round(n / s) for n, s in zip((5000, 5000, length), size, strict=True)]
    z, y, x = ((np.arange(n) * s).reshape([-1 if a == b else 1 for b in range(3)]) for a, (n, s) in
               enumerate(zip(shape, size, strict=True)))  # fmt: skip
    array = np.zeros(shape, int)
    across = (z - 2500) ** 2 + (y - 2500) ** 2
    array[(across <= tube**2) & (x > ends[0]) & (x < ends[1])] = ids[0]
    for number, middle in zip(ids, ends, strict=True):
        array[across + (x - middle) ** 2 <= radius**2] = number
    return volume(array, size)


@pytest.mark.parametrize("size", [(100, 100, 100), (400, 50, 100), (250, 160, 160)])
def test_two_somata_with_a_neurite_between_them(size):
    found = soma_sized(balls(size, 1900, 300))
    assert list(found) == [5]
    assert len(found[5]) == 2
    for place, x in zip(found[5], (2500, 7500), strict=True):
        assert np.array(place) - START == pytest.approx(np.array((2500, 2500, x)) / size, abs=2)


@pytest.mark.parametrize(
    "shape",
    [
        {"radius": 1900, "tube": 1000},  # as thick between them as one large soma may be
        {"radius": 1900, "tube": 300, "ids": (5, 6)},
        {"radius": 1200, "tube": 300},
        {"radius": 1900, "tube": 300, "ends": (4900, 5100)},
    ],
)
def test_segments_without_several_somata(shape):
    assert soma_sized(balls((100, 100, 100), **shape)) == {}


def test_faces_of_the_volume_do_not_end_a_soma():
    assert len(soma_sized(balls((100, 100, 100), 1900, 300, ends=(0, 9900)))[5]) == 2


@pytest.mark.parametrize("seed", range(4))
def test_depths_against_all_pairs_of_voxels(seed):
    ids = np.kron(np.random.default_rng(seed).integers(0, 3, (2, 3, 3)), np.ones((2, 2, 3), int))
    spacing, reach = np.array((3.0, 1.0, 1.5)), 4.0
    found = _squared_depth(ids, spacing, reach)
    at = np.argwhere(ids >= 0)
    for i, place in enumerate(at):
        far = (((at - place) * spacing) ** 2).sum(axis=1)[ids.ravel() != ids[tuple(place)]]
        assert found.ravel()[i] == pytest.approx(min(far.min(initial=np.inf), reach**2))


def neurite(radius, size=(30, 30, 30), extra=None):
    """A neurite along x with a radius given in nm as a function of x in nm; ``extra`` adds voxels."""
    shape = [round(n / s) for n, s in zip((1500, 3000, 11000), size, strict=True)]
    z, y, x = np.ogrid[[slice(0, n * s, s) for n, s in zip(shape, size, strict=True)]]
    inside = (z - 750) ** 2 + (y - 750) ** 2 <= radius(x) ** 2
    inside = inside if extra is None else inside | extra(z, y, x)
    return volume(np.where(inside & (x >= 300) & (x <= 10700), 7, 0), size)


def step(x):
    return np.where(x < 5500, 150, 600)


def spine(z, y, x):
    return ((z - 750) ** 2 + (x - 3500) ** 2 <= 90**2) & (y >= 750) & (y < 1900)


@pytest.mark.parametrize("extra", [None, spine])
@pytest.mark.parametrize("size", [(30, 30, 30), (30, 10, 10)])
def test_a_step_of_the_radius_is_found(size, extra):
    pytest.importorskip("kimimaro", reason="the extra `mesh` is not installed")
    (change,) = calibre_changes(neurite(step, size, extra))
    assert change.id == 7
    assert (np.array(change.at) - START) * size == pytest.approx((750, 750, 5500), abs=300)
    assert change.thin == pytest.approx(150, abs=40)
    assert change.thick == pytest.approx(600, abs=100)


@pytest.mark.parametrize(
    ("radius", "extra"),
    [
        (lambda x: 0 * x + 300, None),
        (lambda x: 100 + x / 20, None),  # tapers from 100 to 650 nm
        (lambda x: np.where(abs(x - 5500) < 500, 600, 150), None),  # a bouton
        (lambda x: 0 * x + 600, lambda z, y, x: ((z - 750) ** 2 + (x - 5500) ** 2 <= 120**2) & (y > 750)),  # a branch
        (lambda x: np.where(x < 9500, 150, 600), None),  # too near the end
    ],
)
def test_neurites_without_a_step(radius, extra):
    pytest.importorskip("kimimaro", reason="the extra `mesh` is not installed")
    assert calibre_changes(neurite(radius, extra=extra)) == []


def test_a_stretch_has_a_least_length():
    pytest.importorskip("kimimaro", reason="the extra `mesh` is not installed")
    short = neurite(lambda x: np.where(x < 8500, 150, 600))
    assert calibre_changes(short, stretch=2500) == []
    assert len(calibre_changes(short, stretch=1000, factor=2)) == 1


@pytest.mark.parametrize("slab", [1, 1000, 1 << 24])
def test_samples_do_not_depend_on_the_slabs_that_are_read(slab, monkeypatch):
    monkeypatch.setattr(shapes, "_SLAB", slab)
    array = np.arange(11 * 5 * 7, dtype=np.uint32).reshape(11, 5, 7)
    for apart in (30, 95, 200, 5000):
        sampled, (z, y, x) = shapes._sampled(volume(array, (30, 20, 10)), apart)
        assert (z, y, x) == tuple(min(apart // s, n) for s, n in zip((30, 20, 10), array.shape, strict=True))
        assert sampled.metadata.voxel_size == (30 * z, 20 * y, 10 * x)
        assert np.array_equal(sampled.read(), array[z // 2 :: z, y // 2 :: y, x // 2 :: x])


def test_shapes_need_a_voxel_size():
    array = np.ones((2, 3, 4), np.uint8)
    for measure in (soma_sized, calibre_changes):
        with pytest.raises(NeuropilError, match="voxel size"):
            measure(array_volume(array))
