import pytest

from neuropil.training.schedule import rate


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_warms_up_from_its_first_step(schedule):
    factors = [rate(schedule, i, 10, 0.0) for i in range(12)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert factors[9:] == [1, 1, 1]


@pytest.mark.parametrize(("schedule", "end"), [("constant", 1.0), ("linear", 0.0), ("cosine", 0.0)])
def test_ends(schedule, end):
    assert rate(schedule, 1000, 10, 1.0) == pytest.approx(end, abs=1e-9)
    assert rate(schedule, 1000, 10, 1.7) == pytest.approx(end, abs=1e-9)


def test_never_rises_after_the_warmup():
    for schedule in ("constant", "linear", "cosine"):
        factors = [rate(schedule, 1000, 10, done / 50) for done in range(51)]
        assert factors == sorted(factors, reverse=True)
