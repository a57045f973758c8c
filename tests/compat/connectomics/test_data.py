"""Classic Python names: targets, erosion and weights equal to the recorded ones."""

import argparse

import numpy as np
import pytest

from neuropil import NeuropilError
from neuropil.compat.connectomics.config import get_cfg_defaults, load_cfg
from neuropil.compat.connectomics.data.utils import (
    blend_gaussian,
    readvol,
    reduce_label,
    savevol,
    seg_to_targets,
    seg_to_weights,
    seg_widen_border,
)
from neuropil.compat.connectomics.model import build_model
from neuropil.compat.connectomics.utils.evaluate import adapted_rand, voi
from recorded import CLASSIC, needs_classic

HERE = [
    f"target/{name}/erosion{n}"
    for name, rates in {
        "0": (0, 1),
        "2": (0, 1, 2),
        "2-1-1-1-v1": (0, 1),
        "2-2-3-3-v1": (0, 1),
        "2-3-9-9-v1": (0, 1),
        "2-4-27-27-v1": (0, 1),
        "2-1-1-1-v2": (0, 1),
        "4-1-0": (0, 1),
        "4-1-1": (0, 1),
    }.items()
    for n in rates
]


@pytest.fixture(scope="module")
def recorded():
    return np.load(CLASSIC / "targets.npz")


@needs_classic
@pytest.mark.parametrize("key", HERE)
def test_targets(recorded, key):
    _, name, erosion = key.split("/")
    (found,) = seg_to_targets(recorded["labels"].astype(np.int64), [name], int(erosion[-1]))
    np.testing.assert_array_equal(found, recorded[key])


@needs_classic
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_erosion(recorded, steps):
    np.testing.assert_array_equal(seg_widen_border(recorded["labels"], steps), recorded[f"widen_border/{steps}"])


@needs_classic
@pytest.mark.parametrize("option", ["1", "1-1"])
@pytest.mark.parametrize("target", ["2", "0"])
def test_weights(recorded, option, target):
    made = seg_to_targets(recorded["labels"].astype(np.int64), [target], 1)
    ((found,),) = seg_to_weights(made, [[option]])
    key = f"weight/{option}/target{target}/nomask"
    np.testing.assert_allclose(found, recorded[f"{key}/values"][recorded[key]], rtol=1e-5)


def test_volumes_come_back(tmp_path):
    volume = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    savevol(tmp_path / "a.h5", volume, "vol0")
    np.testing.assert_array_equal(readvol(tmp_path / "a.h5"), volume)
    np.testing.assert_array_equal(readvol(tmp_path / "a.h5", "vol0"), volume)
    assert reduce_label(np.array([0, 9, 400])).tolist() == [0, 1, 2]
    assert blend_gaussian((3, 5, 5)).argmax() == 3 * 25 // 2


def test_scores():
    truth = np.array([[[1, 1, 2, 2]]])
    assert adapted_rand(truth, truth, all_stats=True) == pytest.approx((0, 1, 1))
    assert voi(np.ones_like(truth), truth) == pytest.approx((0, 1))


def test_configurations_are_checked_as_those_of_the_command_line(tmp_path):
    (tmp_path / "a.yaml").write_text("MODEL:\n  FILTERS: [8, 8]\n  ISOTROPY: [False, True]\n")
    words = ["MODEL.OUT_PLANES", 3, "MODEL.TARGET_OPT", ["2"]]
    cfg = load_cfg(argparse.Namespace(config_base=None, config_file=tmp_path / "a.yaml", opts=words))
    assert (cfg.MODEL.FILTERS, cfg.SOLVER.SWA.ENABLED) == ([8, 8], False)
    with pytest.raises(NeuropilError, match="frozen"):
        cfg.MODEL.FILTERS = [1, 2]
    assert build_model(cfg).head.out_channels == 3
    defaults = get_cfg_defaults()
    with pytest.raises(NeuropilError, match=r"MODEL.FILTER: unknown key; did you mean MODEL.FILTERS"):
        defaults.MODEL.FILTER = 3
    with pytest.raises(AttributeError, match=r"MODEL.FILTER"):
        _ = defaults.MODEL.FILTER


def test_targets_that_are_not_here_are_refused_by_name():
    with pytest.raises(NeuropilError, match="the target '7' is not here"):
        seg_to_targets(np.ones((1, 2, 2), np.int64), ["7"])
