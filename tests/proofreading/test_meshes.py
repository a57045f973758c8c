"""Surfaces lie where their segments are."""

import numpy as np
import pytest

from neuropil.proofreading import meshes
from neuropil.proofreading.meshes import absent, object_box, surface
from neuropil.volumes import Metadata, array_volume


@pytest.fixture
def ball():
    """Id 2^40 as a ball of radius 9 voxels around (12, 20, 30), in nm it is three times as long along z."""
    z, y, x = np.ogrid[:24, :50, :60]
    inside = (z - 12) ** 2 + (y - 20) ** 2 + (x - 30) ** 2 <= 81
    return array_volume(np.where(inside, 2**40, 7).astype(np.uint64), Metadata((30, 10, 10), (100, 0, 5)))


@pytest.mark.parametrize("slab", [1, 7000, 1 << 24])
def test_box_of_an_object_slab_by_slab(ball, slab, monkeypatch):
    monkeypatch.setattr(meshes, "_SLAB", slab)
    assert str(object_box(ball, 2**40)) == "103:122,11:30,26:45"
    assert object_box(ball, 5) is None


@pytest.mark.parametrize("slab", [1, 1 << 24])
def test_ids_that_are_nowhere(ball, slab, monkeypatch):
    monkeypatch.setattr(meshes, "_SLAB", slab)
    assert absent(ball, [5, 2**40, 7, 2**40 + 1, 2**64]) == [5, 2**40 + 1, 2**64]


def test_looking_for_ids_ends_where_all_are_seen(ball, monkeypatch):
    monkeypatch.setattr(meshes, "_SLAB", 1)
    read, whole = [], type(ball).read
    monkeypatch.setattr(type(ball), "read", lambda self, box: read.append(box) or whole(self, box))
    assert not absent(ball, [7])
    assert len(read) == 1


@pytest.mark.parametrize("most", [1 << 26, 2000])
def test_a_ball_is_round(ball, most, monkeypatch):
    pytest.importorskip("zmesh", reason="the extra `mesh` is not installed")
    monkeypatch.setattr(meshes, "_MOST", most)
    found = surface(ball, 2**40)
    away = np.linalg.norm(found.vertices - (30.5, 20.5, 12.5), axis=1)  # x y z, centres of voxels at a half
    step = 1 if most > 10**6 else 2
    assert 9 - 1.5 * step < away.min() <= away.max() < 9 + 1.5 * step
    edges = np.sort(found.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()  # closed: two faces at every edge
    assert surface(ball, 5) is None


def test_encoding(ball):
    pytest.importorskip("zmesh", reason="the extra `mesh` is not installed")
    found = surface(ball, 2**40)
    data = found.encode(np.array([1e-8, 1e-8, 3e-8]))
    count = int(np.frombuffer(data, "<u4", 1)[0])
    vertices = np.frombuffer(data, "<f4", 3 * count, 4).reshape(-1, 3)
    assert vertices == pytest.approx(found.vertices * (1e-8, 1e-8, 3e-8), rel=1e-5)
    assert (np.frombuffer(data, "<u4", offset=4 + 12 * count).reshape(-1, 3) == found.faces).all()


def test_thins_the_finest_axes_first(monkeypatch):
    monkeypatch.setattr(meshes, "_MOST", 10**6)
    assert meshes._step((100, 400, 400), (30, 6, 6)) == (1, 4, 4)
    assert meshes._step((400, 400, 400), (10, 10, 10)) == (4, 4, 4)
    assert meshes._step((9, 9, 9), (10, 10, 10)) == (1, 1, 1)
