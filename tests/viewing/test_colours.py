"""Colours that can be trusted: stable, distinct, and on the voxels they speak of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuropil import NeuropilError, contingency
from neuropil.viewing.colours import (
    MERGE,
    SPLIT,
    affinity_rgb,
    error_overlay,
    grey_rgb,
    label_colours,
    matched,
    mistakes,
    overlay,
)


def test_background_is_black_and_nothing_else_is():
    colours = label_colours(np.arange(5000))
    assert not colours[0].any()
    assert (colours[1:].max(axis=1) > 100).all()


def test_a_colour_depends_on_the_id_alone():
    ids = np.array([3, 2**40 + 1, 2**63, 2**64 - 1], np.uint64)
    each = [label_colours(np.array(i, np.uint64)) for i in ids]
    np.testing.assert_array_equal(label_colours(ids), each)
    np.testing.assert_array_equal(label_colours(np.array([3], np.uint16)), label_colours(np.array([3], np.int64)))
    # Colours are kept from release to release: pictures of old and new results stay comparable.
    np.testing.assert_array_equal(label_colours(np.array([1, 2])), [[0, 130, 176], [165, 128, 43]])


@pytest.mark.parametrize("start", [1, 1000, 2**32 - 50, 2**64 - 101])
def test_ids_that_follow_each_other_look_different(start):
    ids = np.array([start + i for i in range(100)], np.uint64)
    colours = label_colours(ids).astype(int)
    for step in (1, 2, 3):
        apart = np.abs(colours[step:] - colours[:-step]).sum(axis=1)
        assert apart.min() > 30, f"{step} apart"
    assert len(np.unique(colours, axis=0)) > 90


def test_ids_with_the_same_low_bits_look_different():
    colours = label_colours(np.array([5 + (k << 32) for k in range(64)], np.uint64))
    assert len(np.unique(colours, axis=0)) > 50


def test_labels_are_integers():
    with pytest.raises(NeuropilError, match="float"):
        label_colours(np.zeros(3))


def test_x_is_red_y_green_z_blue():
    aff = np.zeros((3, 2, 4, 5), np.float32)
    aff[0], aff[1], aff[2] = 0.2, 0.4, 1.0
    np.testing.assert_array_equal(affinity_rgb(aff, 0)[0, 0], [255, 102, 51])
    assert affinity_rgb(aff).shape == (2, 4, 5, 3)
    turned = affinity_rgb(aff, 0, "0,0,1;-1,0,0;0,1,0")
    np.testing.assert_array_equal(turned[0, 0], [51, 255, 102])
    eight = affinity_rgb(np.round(aff * 255).astype(np.uint8), 0)
    np.testing.assert_array_equal(eight, affinity_rgb(aff, 0))


def test_only_the_nearest_of_many_channels_are_drawn():
    aff = np.random.default_rng(0).random((5, 2, 4, 5))
    offsets = ((-2, 0, 0), (0, -1, 0), (0, 0, -9), (0, 0, 1), (1, 0, 0))
    expected = np.round(np.stack([aff[3], aff[1], aff[4]], axis=-1) * 255)
    np.testing.assert_array_equal(affinity_rgb(aff, offsets=offsets), expected)


@pytest.mark.parametrize(
    ("shape", "offsets", "message"),
    [
        ((4, 2, 3, 3), None, "need their offsets"),
        ((3, 3, 3), None, "four axes"),
        ((2, 1, 3, 3), "0,-1,0;0,0,-1", "along z"),
        ((3, 1, 3, 3), "0,-1,0;0,0,-1", "one offset for each"),
    ],
)
def test_other_affinities_are_refused(shape, offsets, message):
    with pytest.raises(NeuropilError, match=message):
        affinity_rgb(np.zeros(shape), None, offsets)


def test_affinities_in_another_encoding_are_refused():
    with pytest.raises(NeuropilError, match="decode"):
        affinity_rgb(np.zeros((3, 1, 2, 2), np.uint16))


def test_grey_leaves_bytes_and_stretches_the_rest():
    byte = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(grey_rgb(byte)[..., 1], byte)
    wide = grey_rgb(np.linspace(0, 60000, 1000).astype(np.uint16).reshape(10, 100))
    assert wide.min() == 0
    assert wide.max() == 255


def test_an_overlay_leaves_the_background_alone():
    image = np.full((2, 2), 90, np.uint8)
    labels = np.array([[0, 1], [0, 2]])
    drawn = overlay(image, labels, alpha=1.0)
    assert (drawn[:, 0] == 90).all()
    np.testing.assert_array_equal(drawn[:, 1], label_colours(labels)[:, 1])
    with pytest.raises(NeuropilError, match="same shape"):
        overlay(image, labels[:1])


IDS = hnp.arrays(np.uint64, (3, 4, 5), elements=st.sampled_from([0, 1, 2, 3, 7, 2**64 - 1]))


def slow_mistakes(segmentation, labels):
    """The definition, voxel by voxel; None where two pieces are equally great."""
    counts = {}
    for s, t in zip(segmentation.ravel().tolist(), labels.ravel().tolist(), strict=True):
        if t:
            counts[t, s] = counts.get((t, s), 0) + 1

    def greatest(pairs):
        best = max(n for _, n in pairs)
        winners = [who for who, n in pairs if n == best]
        return winners[0] if len(winners) == 1 else None

    found = np.zeros(labels.shape, int)
    for v in np.ndindex(labels.shape):
        s, t = int(segmentation[v]), int(labels[v])
        if t == 0:
            continue
        if s == 0:
            found[v] = 3
            continue
        of_s = greatest([(i, n) for (i, j), n in counts.items() if j == s])
        of_t = greatest([(j, n) for (i, j), n in counts.items() if i == t and j])
        if of_s is None or of_t is None:
            found[v] = -1
        else:
            found[v] = 2 if of_s != t else (1 if of_t != s else 0)
    return found


@given(IDS, IDS)
def test_mistakes_are_the_definition(segmentation, labels):
    expected = slow_mistakes(segmentation, labels)
    clear = expected >= 0
    np.testing.assert_array_equal(mistakes(segmentation, labels)[clear], expected[clear])


@given(IDS)
def test_the_truth_under_other_names_has_no_mistakes(labels):
    assert not mistakes(labels * np.uint64(3), labels).any()
    np.testing.assert_array_equal(
        matched(labels ^ np.uint64(8), contingency(labels ^ np.uint64(8), labels))[labels > 0], labels[labels > 0]
    )


def test_a_part_is_judged_by_the_whole():
    labels = np.array([[1, 1, 1, 1, 2], [1, 1, 2, 2, 2]])
    segmentation = np.array([[8, 8, 8, 8, 9], [7, 7, 9, 9, 9]])
    table = contingency(segmentation, labels)
    np.testing.assert_array_equal(mistakes(segmentation[1], labels[1], table), [1, 1, 0, 0, 0])
    # Left to itself, the second row takes its piece of neuron 1 for all of it.
    assert not mistakes(segmentation[1], labels[1]).any()


def test_matched_segments_take_the_ids_of_neurons():
    labels = np.array([1, 1, 1, 1, 2, 2, 0, 3])
    segmentation = np.array([5, 5, 5, 6, 7, 7, 7, 0])
    ids = matched(segmentation, contingency(segmentation, labels))
    assert ids[:3].tolist() == [1, 1, 1]
    assert ids[3] >= 2**63
    assert ids[4:].tolist() == [2, 2, 2, 0]


def test_errors_are_painted_where_they_are():
    image = np.zeros((1, 6), np.uint8)
    drawn = error_overlay(image, np.array([[5, 5, 5, 6, 5, 5]]), np.array([[1, 1, 1, 1, 2, 0]])).astype(float)
    assert not drawn[0, [0, 1, 2, 5]].any()
    assert np.allclose(drawn[0, 3] / drawn[0, 3].max(), np.array(SPLIT) / 255, atol=0.02)
    assert np.allclose(drawn[0, 4] / drawn[0, 4].max(), np.array(MERGE) / 255, atol=0.02)


def test_nothing_to_compare_is_no_mistake():
    nothing = np.zeros((2, 3), int)
    assert not mistakes(nothing, nothing).any()
    assert not matched(nothing, contingency(nothing, nothing)).any()
