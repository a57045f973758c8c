"""Merging by size equals its slow description."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuropil
from neuropil import NeuropilError
from neuropil.segmentation import merge_by_size, merge_in_order
from neuropil.segmentation.scores import fixed_point
from neuropil.volumes import LINEAR8, LOGIT16
from reference.affinity_cases import cases_with_fragments
from reference.region_graph import region_graph as slow_region_graph
from reference.size_rule import merge_by_size as slow_merge


@given(
    cases_with_fragments(),
    st.sampled_from(("max", "mean")),
    st.sampled_from((0, 3, 8, 20, 10**6)),
    st.sampled_from((0.0, 0.25, 0.5, 1.0, 1.1)),
    st.sampled_from((0, 2, 9)),
)
def test_equals_the_reference(drawn, score, size, weight, dust):
    case, fragments = drawn
    encoding = case.encoding or (LINEAR8 if case.array.dtype == np.uint8 else LOGIT16)
    table, scale = fixed_point(encoding)

    def affinity(faces):
        if score == "max":
            return encoding.table[max(code for _, code in faces)]
        return Fraction(sum(int(table[code]) for _, code in faces), len(faces) * int(scale))

    edges = slow_region_graph(case.codes, fragments, list(case.offsets))
    ids, counts = np.unique(fragments[fragments > 0], return_counts=True)
    slow = slow_merge(edges, dict(zip(ids.tolist(), counts.tolist(), strict=True)), size, weight, dust, affinity)
    graph = neuropil.region_graph(case.array, fragments, offsets=case.offsets, encoding=case.encoding)
    sizes = np.bincount(fragments.ravel().astype(int), minlength=graph.nodes + 1)
    lut = merge_by_size(graph, sizes, size=size, weight=weight, dust=dust, score=score)
    names = sorted(set(slow.values()) - {0})
    # Nodes that are no fragment have no voxels: dust wherever there is any.
    present = np.isin(np.arange(graph.nodes + 1), ids)
    expected = [slow.get(node, 0) for node in range(graph.nodes + 1)]
    if dust:
        assert [0 if not e else 1 + names.index(e) for e in expected] == lut.tolist()
    same = {(e, int(segment)) for e, segment, here in zip(expected, lut, present, strict=True) if here}
    assert len({e for e, _ in same}) == len({s for _, s in same}) == len(same)
    assert all((e == 0) == (s == 0) for e, s in same)


def test_large_regions_stay_apart_and_small_ones_chain():
    fragments = np.array([[[1, 1, 1, 2, 3, 4, 4, 4]]])
    affinities = np.full((3, 1, 1, 8), 0.9)
    affinities[2, 0, 0, 3:6] = 0.5, 0.6, 0.7
    graph = neuropil.region_graph(affinities, fragments)
    sizes = np.bincount(fragments.ravel())
    assert merge_by_size(graph, sizes, size=3, weight=0.2, dust=0).tolist() == [0, 1, 2, 2, 2]
    assert merge_by_size(graph, sizes, size=4, weight=0.2, dust=0).tolist() == [0, 1, 1, 1, 1]
    assert merge_by_size(graph, sizes, size=3, weight=0.65, dust=2).tolist() == [0, 1, 0, 2, 2]


def test_bad_input_is_refused():
    graph = neuropil.region_graph(np.full((3, 1, 1, 2), 0.5), np.array([[[1, 2]]]))
    for wrong in (np.array([1, 1]), np.array([0, 1, -1]), np.ones(3), [0, 1]):
        with pytest.raises(NeuropilError, match="3 integers"):
            merge_by_size(graph, wrong)
    with pytest.raises(NeuropilError, match="max or mean"):
        merge_by_size(graph, np.array([0, 1, 1]), score="q50")
    with pytest.raises(NeuropilError, match="NaN"):
        merge_by_size(graph, np.array([0, 1, 1]), weight=np.nan)


def test_in_order_a_count_may_be_written_over_that_of_another_region():
    """As in zwatershed: 1 and 3 are too small until the count of region 2, now 1, lies where theirs was."""
    lut, counts = merge_in_order(np.array([[1, 3]]), np.array([0, 1, 9, 1, 9]), size=100, dust=5)
    assert lut.tolist() == [0, 2, 1, 2, 3]
    assert counts.tolist() == [0, 9, 9, 9]


@pytest.mark.parametrize(
    ("ends", "sizes"), [([[1, 3]], [0, 1, 1]), ([[1, -1]], [0, 1, 1]), ([1], [0, 1, 1]), ([[1, 2]], [0, 1.0, 1])]
)
def test_bad_edges_in_order_are_refused(ends, sizes):
    with pytest.raises(NeuropilError, match="expected"):
        merge_in_order(np.array(ends), np.array(sizes), size=1, dust=0)
