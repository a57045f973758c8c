"""Scores against the connected parts of truth."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from commands import printed
from neuropil import Box, NeuropilError, evaluate
from neuropil.evaluation.components import connected_parts
from neuropil.volumes import Metadata, write_volume


def same_partition(a, b):
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@given(arrays(st.sampled_from([np.int8, np.uint32, np.uint64]), (4, 6, 5), elements=st.integers(0, 2)))
def test_parts_are_those_of_scikit_image(labels):
    parts = connected_parts(labels)
    expected = label(labels.astype(np.int64), connectivity=1, background=0)
    assert ((parts == 0) == (labels == 0)).all()
    assert same_partition(parts, expected)
    assert set(np.unique(parts)) - {0} == set(range(1, expected.max() + 1))


def test_large_ids_and_other_layouts():
    labels = np.full((2, 3, 4), 2**64 - 1, np.uint64)
    labels[:, 1] = 2**64 - 2
    for array in (labels, labels.astype(">u8"), np.asfortranarray(labels)):
        assert connected_parts(array).max() == 3
    assert connected_parts(labels[:, :0]).shape == (2, 0, 4)
    with pytest.raises(NeuropilError, match="integer labels"):
        connected_parts(labels.astype(float))


def test_scores_against_parts(tmp_path, monkeypatch):
    """A neuron whose arms meet in the last section: in a box without that section, no segmentation can know."""
    labels = np.ones((3, 4, 9), np.uint16)
    labels[:2, :, 4] = 0
    parts = connected_parts(labels[:2])
    assert parts.max() == 2
    write_volume(tmp_path / "s.h5", parts, Metadata((30, 6, 6), origin=(0, 0, 0)))
    write_volume(tmp_path / "l.h5", labels, Metadata((30, 6, 6)))
    plain = evaluate(tmp_path / "s.h5", tmp_path / "l.h5", box=Box((0, 0, 0), (2, 4, 9)))
    fair = evaluate(tmp_path / "s.h5", tmp_path / "l.h5", box=Box((0, 0, 0), (2, 4, 9)), components=True)
    assert plain.adapted_rand_error > 0.3
    assert fair.adapted_rand_error == 0
    assert fair.objects == 2
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "s.h5", "l.h5", "--components", "--json", "scores.json"]
    printed(*command)
    assert json.loads((tmp_path / "scores.json").read_text())["adapted_rand_error"] == 0
    assert fair.box == plain.box == "0:2,0:4,0:9"
