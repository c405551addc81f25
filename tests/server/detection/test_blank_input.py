"""An input that has lost its spread: what is silent on it is no alarm, unless the input stays like that."""

from __future__ import annotations

from relumine_server.detection.replay import replay

BLANK = {"input_mean": 0.0, "input_std": 0.0, "output_spread": 0.001}


def test_units_silent_on_a_blank_input_are_no_alarm_while_it_lasts_and_none_after_it(train, policy):
    training = train({1: 0.3}).sample(30)
    rates = training.rates[1].copy()
    training.run_signals = BLANK
    training.rates[1][:] = 0
    training.sample(10)
    training.run_signals = {}
    training.rates[1][:] = rates
    _readings, findings = replay(training.layers, training.sample(6).records, policy)
    assert {finding.severity for finding in findings} == {"info"}
    assert [f.transition for f in findings if f.kind == "dying"] == ["raised", "resolved"]


def test_an_input_that_never_had_a_spread_has_lost_none(train, policy):
    constant = {"input_mean": 1.0, "input_std": 0.0}
    training = train({1: 0.3}, run_signals=constant).sample(30)
    training.run_signals = constant | {"input_mean": -9.0}
    training.rates[1][:] = 0
    _readings, findings = replay(training.layers, training.sample(10).records, policy)
    assert "critical" in {finding.severity for finding in findings}


def test_units_silent_on_an_input_that_stays_blank_become_an_alarm(train, policy):
    training = train({1: 0.3}).sample(30)
    training.run_signals = BLANK
    training.rates[1][:] = 0
    _readings, findings = replay(training.layers, training.sample(40).records, policy)
    alarms = [(f.kind, f.severity) for f in findings if f.severity != "info"]
    assert ("dead", "critical") in alarms
    assert min(f.step for f in findings if f.severity != "info") >= 300 + 10 * policy.novelty_records
