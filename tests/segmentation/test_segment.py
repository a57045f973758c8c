"""Affinities to a segmentation by the settings of a recipe."""

import sys

import numpy as np
import pytest

import neuropil
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST
from neuropil.segmentation import (
    agglomerate,
    fill_background,
    merge_tree,
    mutex_watershed,
    region_graph,
    segment,
    segment_volume,
    signed_graph,
    watershed,
    with_offsets,
)
from neuropil.segmentation.codes import encode_affinities
from neuropil.volumes import Encoding, Metadata, array_volume, open_volume

AFFINITIES = np.full((3, 1, 1, 6), 0.9)
AFFINITIES[2, 0, 0, [2, 4]] = [0.6, 0.3]
LINE = array_volume(AFFINITIES, Metadata(offsets=NEAREST))


@pytest.mark.parametrize(
    ("settings", "threshold", "ids"),
    [
        ({}, 0.5, [1, 1, 1, 1, 2, 2]),
        ({}, 0.7, [1, 1, 2, 2, 3, 3]),
        ({}, 0.2, [1, 1, 1, 1, 1, 1]),
        ({"method": "watershed"}, 0.2, [1, 1, 2, 2, 3, 3]),
        ({"method": "watershed", "min_size": 3}, 0.2, [1, 1, 1, 1, 1, 1]),
        ({"min_size": 3}, 0.5, [1, 1, 1, 1, 1, 1]),
        ({"low": 0.95, "high": 0.99}, 0.5, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_settings_do_what_they_say(settings, threshold, ids):
    given = {} if settings.get("method") == "watershed" else {"threshold": threshold}
    assert segment(LINE, SegmentConfig(**settings, **given))[0, 0].tolist() == ids


def test_filling_leaves_no_background():
    affinities = AFFINITIES.copy()
    affinities[:, 0, 0, 2:4] = 0
    broken = array_volume(affinities, Metadata(offsets=NEAREST))
    assert (segment(broken, SegmentConfig(), threshold=0.5) == 0).any()
    assert (segment(broken, SegmentConfig(fill=True), threshold=0.5) > 0).all()


def test_small_segments_go_before_background_is_filled():
    """Filled first, the two voxels on the left would become three and stay."""
    affinities = AFFINITIES.copy()
    affinities[:, 0, 0, 2:4] = 0
    broken = array_volume(affinities, Metadata(offsets=NEAREST))
    assert segment(broken, SegmentConfig(min_size=3), threshold=0.2)[0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert segment(broken, SegmentConfig(min_size=3, fill=True), threshold=0.2)[0, 0].tolist() == [1, 1, 1, 1, 1, 1]


def test_the_mutex_watershed_has_its_bias_and_strides(tmp_path):
    long = np.concatenate([AFFINITIES, np.full((1, 1, 1, 6), 0.1)])
    line = array_volume(long, Metadata(offsets=(*NEAREST, (0, 0, -2))))
    for settings in ({}, {"bias": (-0.5, -0.5, -0.2, -0.9)}, {"strides": (1, 1, 4)}):
        changes = {"bias": settings.get("bias", -0.5), "strides": settings.get("strides", (1, 1, 1))}
        expected = mutex_watershed(long, line.metadata.offsets, **changes)
        assert np.array_equal(segment(line, SegmentConfig(method="mutex", **settings)), expected)
    joined = segment(line, SegmentConfig(method="mutex", min_size=4))
    assert np.bincount(joined.ravel())[1:].min() >= 4
    with pytest.raises(NeuropilError, match="bias"):
        segment(line, SegmentConfig(method="mutex", bias=(-0.5, -0.5)))


def test_offsets_are_those_given_then_those_stored_then_the_nearest():
    turned = NEAREST[::-1]
    assert with_offsets(LINE, turned).metadata.offsets == turned
    assert with_offsets(array_volume(AFFINITIES, Metadata(offsets=turned))).metadata.offsets == turned
    assert with_offsets(array_volume(AFFINITIES)).metadata.offsets == NEAREST
    assert with_offsets(array_volume(AFFINITIES[1:])).metadata.offsets == NEAREST[1:]
    assert np.array_equal(segment(array_volume(AFFINITIES[1:]), SegmentConfig()), segment(LINE, SegmentConfig()))


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[segment.__module__], "segment", lambda *_: pytest.fail("worked in vain"))
    (tmp_path / "file").write_text("")
    with pytest.raises(NeuropilError, match="file"):
        segment_volume(LINE, tmp_path / "file" / "a.h5", SegmentConfig())


def test_nothing_is_left_of_a_segmentation_that_failed(tmp_path):
    nan = array_volume(np.where(np.arange(4) == 2, np.nan, 0.5) * np.ones((3, 2, 3, 4)))
    with pytest.raises(NeuropilError, match="NaN"):
        segment_volume(nan, tmp_path / "a.h5", SegmentConfig())
    assert not list(tmp_path.iterdir())


def test_the_output_says_how_it_was_made(tmp_path):
    segment_volume(LINE, tmp_path / "a.h5", SegmentConfig(threshold=0.7, min_size=1))
    extra = open_volume(tmp_path / "a.h5").metadata.extra
    assert extra["threshold"] == 0.7
    assert SegmentConfig(**extra["segment"]) == SegmentConfig(threshold=0.7, min_size=1)


def test_floats_are_encoded_once(monkeypatch):
    """Whatever the settings ask for after it; encoded affinities are taken as they are by every kernel."""
    calls = []
    encode = Encoding.encode
    monkeypatch.setattr(Encoding, "encode", lambda self, p, threads=1: calls.append(p.shape) or encode(self, p))
    affinities = np.random.default_rng(0).random((4, 3, 8, 8), np.float32)
    volume = array_volume(affinities, Metadata(offsets=(*NEAREST, (0, 0, -2))))
    for settings, channels in [
        ({"min_size": 5, "fill": True, "score": "q50"}, 3),
        ({"method": "watershed", "min_size": 5, "fill": True}, 3),
        ({"method": "mutex", "min_size": 5, "fill": True}, 4),
        ({"method": "mutex", "fragments": True, "min_size": 5, "fill": True}, 4),
    ]:
        segment(volume, SegmentConfig(**settings))
        assert calls == [(channels, 3, 8, 8)]
        calls.clear()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8])
def test_encoded_affinities_give_what_raw_ones_give(kind):
    values = np.random.default_rng(1).random((4, 4, 9, 10))
    raw = (values * 255).astype(kind) if kind == np.uint8 else values.astype(kind)
    offsets = (*NEAREST[:2], (0, 0, 1), (0, 2, 0))
    codes = encode_affinities(raw, offsets)
    fragments = watershed(raw, low=0.2, high=0.9, offsets=offsets)
    assert np.array_equal(watershed(codes, low=0.2, high=0.9), fragments)
    assert np.array_equal(
        agglomerate(codes, fragments, "q30").score, agglomerate(raw, fragments, "q30", offsets=offsets).score
    )
    graphs = region_graph(codes, fragments), region_graph(raw, fragments, offsets=offsets)
    assert np.array_equal(graphs[0].sum, graphs[1].sum)
    signed = signed_graph(codes, fragments), signed_graph(raw, fragments, offsets)
    assert np.array_equal(signed[0].sum, signed[1].sum)
    assert np.array_equal(mutex_watershed(codes), mutex_watershed(raw, offsets))
    assert np.array_equal(fill_background(codes, fragments), fill_background(raw, fragments, offsets=offsets))


def test_the_public_call_is_watershed_agglomeration_and_cut():
    affinities = np.random.default_rng(2).random((3, 6, 20, 20), np.float32)
    fragments = watershed(affinities)
    tree, graph = agglomerate(affinities, fragments), region_graph(affinities, fragments)
    found = neuropil.segment(affinities, threshold=0.6, min_size=30)
    assert np.array_equal(found, tree.segment(fragments, 0.6, 30, graph))
    assert np.array_equal(neuropil.segment(affinities), tree.segment(fragments, 0.5))
    with pytest.raises(NeuropilError, match=r"segment: threshold: expected a value ≤ 1\.0, got 2"):
        neuropil.segment(affinities, threshold=2)


@pytest.mark.parametrize("score", ["mean", "q50"])
def test_a_merge_tree_keeps_what_a_minimum_size_needs(score):
    affinities = np.random.default_rng(3).random((3, 6, 20, 20), np.float32)
    settings = SegmentConfig(score=score, min_size=40, threshold=0.55, low=0.1)
    found = merge_tree(affinities, settings)
    assert "graph" not in vars(found)
    assert np.array_equal(found.segment(0.55, 40), segment(affinities, settings))
    assert found.placed(found.segment(0.55)).box == found.fragments.box
