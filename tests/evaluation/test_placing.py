"""Arrays are placed by their origins, read slab by slab, and refused with a message that names both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from neuropil.errors import NeuropilError
from neuropil.evaluation import contingency, evaluate
from neuropil.evaluation import placing as module
from neuropil.evaluation.placing import place, table_of, without_borders
from neuropil.geometry import Box
from neuropil.volumes import Metadata, array_volume, open_volume, write_volume

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 6, (12, 10, 9))
SEG = np.where(RNG.random(LABELS.shape) < 0.3, RNG.integers(0, 6, LABELS.shape), LABELS)


def at(array, origin, **more):
    return array_volume(array, Metadata(origin=origin, **more))


def test_origins_give_the_overlap():
    part = at(SEG[4:8, 2:, :5], (4, 2, 0))
    scores = evaluate(part, LABELS)
    assert scores.box == "4:8,2:10,0:5"
    assert scores.snemi3d == evaluate(SEG[4:8, 2:, :5], LABELS[4:8, 2:, :5]).snemi3d


def test_both_may_have_origins():
    placed = place(at(SEG[:8], (60, 0, 0)), at(LABELS[4:], (64, 0, 0)))
    assert str(placed.box) == "64:68,0:10,0:9"
    assert table_of(placed) == contingency(SEG[4:8], LABELS[4:8])


def test_a_box_chooses():
    box = Box((2, 0, 3), (5, 10, 9))
    assert table_of(place(SEG, LABELS, box)) == contingency(SEG[2:5, :, 3:], LABELS[2:5, :, 3:])


def test_files_are_read_in_slabs(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SLAB", 200)
    write_volume(tmp_path / "seg.h5", SEG[3:].astype(np.uint32), Metadata(origin=(3, 0, 0)))
    write_volume(tmp_path / "labels.h5", LABELS.astype(np.uint16))
    placed = place(tmp_path / "seg.h5", open_volume(tmp_path / "labels.h5"))
    assert [seg.shape[0] for seg, _ in placed.slabs()] == [2, 2, 2, 2, 1]
    assert table_of(placed) == contingency(SEG[3:], LABELS[3:])


def test_arrays_are_neither_cut_nor_copied():
    seg = np.asfortranarray(SEG)
    [(first, second)] = place(seg, LABELS).slabs()
    assert np.shares_memory(first, seg)
    assert np.shares_memory(second, LABELS)


@pytest.mark.parametrize(
    ("segmentation", "labels", "box", "message"),
    [
        (SEG[:5], LABELS, None, r"equal shapes, got \(5, 10, 9\).* and \(12, 10, 9\).*--box"),
        (at(SEG, (12, 0, 0)), LABELS, None, "12:24,0:10,0:9 .* 0:12,0:10,0:9: they have no voxel in common"),
        (SEG, LABELS, Box((8, 0, 0), (13, 9, 9)), "box 8:13,0:9,0:9 is not inside .*, which holds 0:12,0:10,0:9"),
        (SEG, LABELS, Box((3, 0, 0), (3, 9, 9)), "box 3:3"),
        (SEG / 2, LABELS, None, "integer ids"),
        (SEG, LABELS[None], None, r"\[z, y, x\]"),
        (SEG, LABELS - 3, None, "must not be negative, except -1.*holds -3"),
    ],
    ids=["shapes", "apart", "box outside", "empty box", "floats", "channels", "negative"],
)
def test_refuses(segmentation, labels, box, message):
    with pytest.raises(NeuropilError, match=message):
        evaluate(segmentation, labels, box=box)


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
    border=st.sampled_from([0.5, 4, 5, 5.7, 10, 25, 200]),
    size=st.sampled_from([(40, 4, 4), (10, 3, 5)]),
)
def test_borders_by_distance_transform(seed, shape, border, size):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 3, [-(-n // 6) for n in shape]), np.ones((6, 6, 6), int))
    labels = labels[tuple(slice(n) for n in shape)]
    for section, ours in zip(labels, without_borders(labels, border, size), strict=True):
        padded = np.pad(section, 1, mode="edge")
        inside = np.ones(section.shape, bool)
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
            inside &= section == padded[dy : dy + section.shape[0], dx : dx + section.shape[1]]
        if inside.all():  # no border: the transform has nothing to measure from
            assert np.array_equal(ours, section)
        else:
            far = distance_transform_edt(inside, sampling=size[1:]) > border + 1e-9
            assert np.array_equal(ours, np.where(far, section, 0))


def test_the_cremi_variant_ignores_borders():
    labels = np.repeat([[[1] * 10 + [2] * 10]], 20, axis=1)
    seg = np.roll(labels, 1, axis=2)  # wrong in the columns 0 and 10 alone
    scores = evaluate(at(seg, (0, 0, 0), voxel_size=(40, 4, 4)), labels, border=8)
    plain = evaluate(seg, labels)
    assert scores.snemi3d == plain.snemi3d
    assert scores.cremi.precision < 1  # column 0 is no border
    assert scores.cremi.error < plain.cremi.error == plain.adapted_rand_error
    assert scores.cremi_score < plain.cremi_score
    assert scores.to_json()["border"] == 8


def test_a_border_needs_a_voxel_size():
    with pytest.raises(NeuropilError, match="needs a voxel size"):
        evaluate(SEG, LABELS, border=25)
    with pytest.raises(NeuropilError, match="nothing to score in the CREMI variant"):
        evaluate(SEG, LABELS, border=25, voxel_size=(40, 4, 4))
