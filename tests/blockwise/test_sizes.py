"""Small segments join the same neighbours by blocks as in the whole volume."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuropil
from block_runs import by_blocks
from neuropil.config import SegmentConfig
from neuropil.segmentation import segment
from neuropil.volumes import Metadata, open_volume
from reference.affinity_cases import cases
from reference.partitions import partition


@settings(max_examples=5)
@given(
    cases(largest=6), st.tuples(*[st.integers(1, 5)] * 3), st.sampled_from(("mean", "max", "q50")),
    st.sampled_from((2, 5, 20, 999)),
)  # fmt: skip
def test_small_fragments_join_the_same_neighbours(tmp_path_factory, case, block, score, size):
    """Groups of small ones over many blocks, up to all of the volume; those without neighbours become background."""
    folder = tmp_path_factory.mktemp("sizes")
    meta = Metadata(offsets=case.offsets, encoding=case.encoding)
    config = SegmentConfig(method="watershed", score=score, low=0.3, high=0.8, min_size=size)
    found = by_blocks(folder, case.array, meta, config, block)
    expected = segment(open_volume(folder / "a.zarr"), config)
    np.testing.assert_array_equal(partition(found), partition(expected))


@pytest.mark.parametrize("seed", [2, 5])
def test_small_segments_of_several_parts_join_the_same_neighbours(tmp_path, seed):
    """Attractive edges that jump make segments of parts that do not touch, over several blocks."""
    meta = Metadata(offsets=(*neuropil.NEAREST, (5, 3, -2), (-4, -5, 0), (6, -5, 2)))
    array = (np.random.default_rng(seed).integers(0, 4, (6, 7, 7, 8)) * 80).astype(np.uint8)
    bias = (-0.3, -0.5, -0.7, -0.7, -0.3, -0.2)
    config = SegmentConfig(method="mutex", fragments=True, bias=bias, min_size=12, low=0.4, high=0.9)
    found = by_blocks(tmp_path, array, meta, config, (6, 2, 5))
    expected = segment(open_volume(tmp_path / "a.zarr"), config)
    assert expected.max() > 6
    np.testing.assert_array_equal(partition(found), partition(expected))
