"""4.3: learning rates, worked out by hand; and what they are beyond the last step."""

import math

import pytest
from run.schedule import Schedule

SHAPES = ("cosine", "linear", "wsd")


def test_warmup_climbs_in_a_straight_line_and_its_first_step_already_learns():
    schedule = Schedule("linear", peak=1.0, low=0.0, warmup=0.1)
    assert schedule.rate(1 / 100) == pytest.approx(0.1)  # the first of 100 steps
    assert schedule.rate(0.05) == pytest.approx(0.5)
    assert schedule.rate(0.1) == pytest.approx(1.0)


def test_cosine_by_hand():
    schedule = Schedule("cosine", peak=1.0, low=0.2, warmup=0.2)
    assert schedule.rate(0.6) == pytest.approx(0.6)  # half-way down: the mean of both
    assert schedule.rate(0.4) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)


def test_linear_by_hand():
    schedule = Schedule("linear", peak=1.0, low=0.2, warmup=0.2)
    assert schedule.rate(0.4) == pytest.approx(0.8)
    assert schedule.rate(0.8) == pytest.approx(0.4)


def test_wsd_is_flat_and_then_falls_over_its_last_share():
    schedule = Schedule("wsd", peak=1.0, low=0.0, warmup=0.1, decay=0.25)
    assert {schedule.rate(done) for done in (0.1, 0.3, 0.5, 0.75)} == {1.0}
    assert schedule.rate(0.875) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", SHAPES)
def test_the_rate_ends_at_its_minimum_and_stays_there(kind):
    schedule = Schedule(kind, peak=1.0, low=0.1, warmup=0.1)
    for done in (1.0, 1.001, 1.3, 2.0, 7.7):
        assert schedule.rate(done) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", SHAPES)
def test_after_the_warmup_no_rate_is_higher_than_the_one_before(kind):
    schedule = Schedule(kind, peak=1.0, low=0.1, warmup=0.1)
    rates = [schedule.rate(i / 100) for i in range(10, 200)]
    assert rates == sorted(rates, reverse=True) and rates[0] == 1.0


@pytest.mark.parametrize("settings", [
    {"kind": "cosin"}, {"peak": 0.0, "low": 0.0}, {"low": 1.0, "peak": 0.5}, {"warmup": 1.0},
    {"kind": "wsd", "warmup": 0.5, "decay": 0.6}])
def test_nonsense_is_refused_with_its_value(settings):
    with pytest.raises(ValueError, match="|".join(str(value) for value in settings.values())):
        Schedule(**settings)
