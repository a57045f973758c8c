"""Calibrations fitted to volumes with labels."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.errors import NeuropilError
from neuropil.proofreading.calibrating import answered, calibrate, calibrate_on
from neuropil.proofreading.calibration import Calibration
from neuropil.proofreading.candidates import proofreading_of
from neuropil.proofreading.simulation import Truth
from neuropil.targets import affinities_from_labels
from neuropil.volumes import array_volume, write_volume


def volumes(seed):
    _, labels = synthetic.neuropil((12, 96, 96), seed=seed)
    affinities = np.asarray(affinities_from_labels(labels, "nearest")[0], np.float32)
    noise = np.random.default_rng(seed).normal(0, 0.2, affinities.shape)
    return array_volume(np.clip(0.15 + 0.6 * affinities + noise, 0, 1).astype(np.float32)), array_volume(labels)


def test_several_volumes_make_one_calibration_in_any_order_of_rows():
    one, other = volumes(1), volumes(2)
    counts = [calibrate_on([pair])[0].join.contact.questions for pair in (one, other)]
    both, lines = calibrate_on([one, other])
    assert min(counts) > 0
    assert both.join.contact.questions == sum(counts)
    assert "join" in lines[1]
    assert "; " in both.made_from


def test_unsure_answers_are_left_out_and_none_at_all_are_refused():
    affinities, labels = volumes(1)
    state = proofreading_of(affinities)
    nodes = state.cut.tree.nodes(state.fragments.read())
    state.smallest = 100
    found, wrong = answered(state, Truth(nodes, labels.read(), state.cut.tree.fragments), (0.3, 0.5, 0.7))
    assert len(found) == len(wrong)
    assert 0 < wrong.sum() < len(wrong)
    nothing = Truth(nodes, np.zeros_like(nodes), state.cut.tree.fragments)
    with pytest.raises(NeuropilError, match="got none"):
        calibrate([answered(state, nothing, (0.5,))], "nothing")


def test_the_script_fits_to_some_volumes_and_judges_on_others(tmp_path, monkeypatch, capsys):
    script = Path(__file__).parents[2] / "scripts/calibrate.py"
    pairs = [volumes(seed) for seed in (1, 2)]
    paths = [str(tmp_path / f"{name}{seed}.npy") for seed in (1, 2) for name in ("affinities", "labels")]
    for path, volume in zip(paths, [volume for pair in pairs for volume in pair], strict=True):
        write_volume(path, volume.read(), volume.metadata)
    out = tmp_path / "calibration.json"
    monkeypatch.setattr(sys, "argv", [str(script), str(out), "the first", *paths[:2], "--judge", *paths[2:]])
    runpy.run_path(str(script), run_name="__main__")
    fitted = calibrate_on(pairs[:1])[0]
    assert Calibration.load(out).join == fitted.join
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["join", "separate"]
    monkeypatch.setattr(sys, "argv", [str(script), str(out), "the first", paths[0]])
    with pytest.raises(NeuropilError, match="in turn, got 1 volumes"):
        runpy.run_path(str(script), run_name="__main__")
