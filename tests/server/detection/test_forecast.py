"""Forecasts: a faster death is forecast sooner, the interval is wide, and an unlikely collapse gets no forecast."""

from __future__ import annotations

import math

import pytest

from relumine_server.detection.replay import replay
from relumine_server.detection.risk import collapse_probability, forecast, forecast_features

FAST = forecast_features(risk=0.9, log_kill_ratio=0.0, headroom=-1.0, records=30)
SLOW = forecast_features(risk=0.9, log_kill_ratio=-1.2, headroom=-2.0, records=60)


def test_a_layer_with_a_larger_kill_ratio_collapses_sooner(policy):
    fast = forecast(400, 0.1, FAST, policy)
    slow = forecast(400, 0.1, SLOW, policy)
    assert fast is not None
    assert slow is not None
    assert fast.step < slow.step


@pytest.mark.parametrize("features", [FAST, SLOW])
def test_the_interval_lies_ahead_and_contains_the_step(policy, features):
    result = forecast(400, 0.1, features, policy)
    assert result is not None
    assert 400 <= result.low <= result.step <= result.high
    assert result.confidence == 0.8


def test_there_is_no_forecast_where_half_is_lost_or_a_collapse_is_unlikely(policy):
    unlikely = forecast_features(risk=0.5, log_kill_ratio=-2.0, headroom=2.0, records=5)
    assert collapse_probability(unlikely) < policy.forecast_chance < collapse_probability(FAST)
    assert forecast(400, 0.1, unlikely, policy) is None
    assert forecast(400, 0.5, FAST, policy) is None


def test_an_unknown_headroom_is_no_error(policy):
    features = forecast_features(risk=1.0, log_kill_ratio=-2.0, headroom=math.nan, records=0)
    assert forecast(400, 0.1, features, policy) is None


def test_the_finding_of_a_fast_death_has_a_forecast(train, policy):
    training = train({1: 0.3}).sample(30)
    training.learning_rate = 0.5
    training.columns = {"update_shift": -1.5, "max": 0.4, "mean": -1.0}
    _readings, findings = replay(training.layers, training.sample(2, every=1).records, policy)
    result = findings[0].forecast
    assert result is not None
    assert result.low <= result.step <= result.high
