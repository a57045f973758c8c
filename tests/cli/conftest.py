"""A small volume in a fresh folder: affinities and labels for the verbs of the command line."""

import numpy as np
import pytest

from neuropil import NEAREST, synthetic
from neuropil.volumes import LOGIT8, Metadata, write_volume

SHAPE = (10, 40, 44)


@pytest.fixture(scope="module")
def truth():
    return synthetic.neuropil(SHAPE, seed=1)[1]


@pytest.fixture(scope="module")
def affinities(truth):
    return synthetic.affinities(truth, NEAREST, noise=0.3, seed=2)


@pytest.fixture
def folder(tmp_path, monkeypatch, truth, affinities):
    """affinities.h5 (logit8, offsets, origin, threshold 0.3) and labels.h5, which is larger by 5 sections below."""
    monkeypatch.chdir(tmp_path)
    metadata = Metadata((30, 6, 6), (5, 0, 0), NEAREST, LOGIT8, {"threshold": 0.3})
    write_volume("affinities.h5", LOGIT8.encode(affinities), metadata)
    write_volume("bare.h5", LOGIT8.decode(LOGIT8.encode(affinities)))
    write_volume("labels.h5", np.concatenate([truth[:5] * 0, truth]))
    return tmp_path
