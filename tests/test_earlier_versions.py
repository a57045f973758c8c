"""Files that version 0.1 wrote still load, and still mean the same."""

from pathlib import Path

import numpy as np
import pytest

import neuropil
from neuropil.models.checkpoint import load_model

FILES = Path(__file__).parent / "fixtures/version_0_1"


@pytest.fixture
def affinities():
    with neuropil.open_volume(FILES / "affinities.zarr") as volume:
        yield volume


@pytest.mark.parametrize("name", ["checkpoint.pt", "weights.safetensors"])
def test_a_network_predicts_what_it_predicted(name):
    stored = np.load(FILES / "prediction.npz")
    assert load_model(FILES / name).config.training.iterations == 2
    found = neuropil.predict(FILES / name, stored["image"], tta=1, precision="bf16", device="cpu")
    np.testing.assert_allclose(found, stored["affinities"], atol=1e-5)  # convolutions differ between processors


def test_a_store_keeps_its_metadata(affinities):
    metadata = affinities.metadata
    assert (affinities.shape, affinities.dtype) == ((3, 6, 12, 12), np.uint8)
    assert (metadata.voxel_size, metadata.origin) == ((30, 6, 6), (2, 3, 4))
    assert (metadata.offsets, metadata.encoding) == (neuropil.NEAREST, neuropil.LOGIT8)
    assert metadata.extra["threshold"] == 0.3


def test_graph_and_tree_give_the_segmentation_that_they_gave(affinities):
    fragments = neuropil.watershed(affinities, low=0.01, high=0.99)
    tree, graph = neuropil.MergeTree.load(FILES / "tree.npz"), neuropil.RegionGraph.load(FILES / "graph.npz")
    assert len(tree) == 220
    with neuropil.open_volume(FILES / "segmentation.h5") as written:
        assert np.array_equal(tree.segment(fragments, 0.7, 5, graph), written.read())
        assert written.metadata.extra["threshold"] == 0.7
