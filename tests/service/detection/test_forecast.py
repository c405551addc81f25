"""Forecasts: the faster, the sooner; wide, because that is how well it is known; none where none is due."""

from __future__ import annotations

import math

import pytest

from relumine_server.detection.forecast import chance, course, forecast
from relumine_server.detection.replay import replay

FAST, SLOW = course(0.9, 0.0, -1.0, 30), course(0.9, -1.2, -2.0, 60)


def test_a_layer_of_which_an_update_takes_more_has_less_time_left(policy):
    fast, slow = forecast(400, 0.1, FAST, policy), forecast(400, 0.1, SLOW, policy)
    assert fast is not None
    assert slow is not None
    assert fast.step < slow.step


@pytest.mark.parametrize("seen", [FAST, SLOW])
def test_the_interval_lies_ahead_and_holds_the_step(policy, seen):
    said = forecast(400, 0.1, seen, policy)
    assert said is not None
    assert 400 <= said.low <= said.step <= said.high
    assert said.confidence == 0.8


def test_nothing_is_foretold_where_half_is_gone_or_a_collapse_is_unlikely(policy):
    unlikely = course(0.5, -2.0, 2.0, 5)
    assert chance(unlikely) < policy.forecast_chance < chance(FAST)
    assert forecast(400, 0.1, unlikely, policy) is None
    assert forecast(400, 0.5, FAST, policy) is None


def test_what_is_not_known_is_no_reason_to_fail(policy):
    assert forecast(400, 0.1, course(1.0, -2.0, math.nan, 0), policy) is None


def test_an_alert_of_a_fast_death_carries_its_forecast(train, policy):
    training = train({1: 0.3}).go(30)
    training.learning_rate, training.columns = 0.5, {"update_shift": -1.5, "max": 0.4, "mean": -1.0}
    _readings, findings = replay(training.layers, training.go(2, every=1).records, policy)
    said = findings[0].forecast
    assert said is not None
    assert said.low <= said.step <= said.high
