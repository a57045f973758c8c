"""Probabilities: fitted, stored, judged."""

from dataclasses import replace

import numpy as np
import pytest

from neuropil.errors import NeuropilError
from neuropil.proofreading.calibration import (
    FEATURES,
    Calibration,
    Causes,
    Regression,
    area_under_curve,
    calibration_error,
    load_calibration,
)


def test_a_regression_finds_the_law_that_answers_follow():
    chance = np.random.default_rng(0)
    x = chance.normal(size=(20000, 3))
    probability = 1 / (1 + np.exp(-(2 * x[:, 0] - x[:, 1] - 1)))
    wrong = chance.random(len(x)) < probability
    fitted = Regression.fit(x, wrong)
    assert np.abs(fitted.probability(x) - probability).max() < 0.05
    assert calibration_error(fitted.probability(x), wrong) < 0.02
    assert area_under_curve(fitted.probability(x), wrong) == pytest.approx(
        area_under_curve(probability, wrong), abs=0.01
    )


def test_answers_of_one_kind_and_none_at_all_give_probabilities():
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert Regression.fit(x, np.zeros(50, bool)).probability(x).max() < 0.2
    assert Regression.fit(np.zeros((0, 2)), np.zeros(0, bool)).probability(x).tolist() == [0.5] * 50


def test_a_cause_that_the_contact_does_not_show_is_found_beside_the_one_that_it_shows():
    chance = np.random.default_rng(2)
    x = chance.normal(size=(20000, len(FEATURES)))
    contact, elsewhere = 1 / (1 + np.exp(3 - 4 * x[:, 0])), 1 / (1 + np.exp(5 - 3 * x[:, 6]))
    law = 1 - (1 - contact) * (1 - elsewhere)
    wrong = chance.random(len(x)) < law
    hidden = x[:, 0] < -1  # a sure contact
    found = Causes.fit(x, wrong).probability(x)
    one = Regression.fit(x, wrong).probability(x)
    assert np.abs(found - law)[hidden].mean() < 0.3 * np.abs(one - law)[hidden].mean()
    assert calibration_error(found, wrong) < 0.01


def test_stored_and_read_again(tmp_path):
    shipped = load_calibration()
    shipped.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == shipped
    for text in ("", "{}", '{"version": 1, "features": []}'):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(NeuropilError, match="calibration"):
            Calibration.load(tmp_path / "c.json")


def test_area_under_curve_against_all_pairs():
    chance = np.random.default_rng(1)
    p, wrong = chance.integers(0, 5, 60) / 5, chance.random(60) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in p[wrong] for b in p[~wrong]]
    assert area_under_curve(p, wrong) == pytest.approx(np.mean(pairs))


def test_a_calibration_of_your_own_takes_the_place_of_the_packages(tmp_path):
    shipped = load_calibration()
    replace(shipped, made_from="mine").save(tmp_path / "mine.json")
    assert load_calibration(tmp_path / "mine.json") == replace(shipped, made_from="mine") != shipped
