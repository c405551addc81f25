"""Risk: the effect of each feature, and no risk where nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from relumine.schemas.record import Record
from relumine.schemas.record_table import RecordTable
from relumine_server.detection import averages
from relumine_server.detection.replay import replay
from relumine_server.detection.risk import RiskFeatures, layer_risk, risk_features
from relumine_server.detection.state import LayerMemory, RunMemory

CALM = RiskFeatures(
    dying=0.0,
    headroom_trend=0.0,
    log_kill_ratio=-2.0,
    learning_rate_trend=0.0,
    bias_trend=0.0,
    returned=0.0,
    dying_trend=0.0,
)


def findings_of(training, policy):
    return replay(training.layers, training.records, policy)[1]


@pytest.mark.parametrize(
    ("feature", "worse"),
    [
        ("dying", 0.2),
        ("headroom_trend", -2.0),
        ("log_kill_ratio", 0.0),
        ("learning_rate_trend", 1.5),
        ("bias_trend", -0.5),
        ("returned", -0.1),
        ("dying_trend", 0.1),
    ],
)
def test_each_feature_raises_the_risk(feature, worse):
    assert layer_risk(CALM._replace(**{feature: worse})) > layer_risk(CALM)


def test_a_calm_layer_has_almost_no_risk_and_extreme_features_stay_in_range():
    assert layer_risk(CALM) < 0.05
    lowest = RiskFeatures(-1e9, 1e9, -1e9, -1e9, 1e9, 1e9, -1e9)
    highest = RiskFeatures(1e9, -1e9, 1e9, 1e9, -1e9, -1e9, 1e9)
    assert 0 <= layer_risk(lowest) < layer_risk(highest) <= 1


def test_unknown_values_are_calm(train):
    layer = LayerMemory(train({1: 0.3}).layers[0], 0)
    assert risk_features(layer, RunMemory()) == CALM


def test_a_layer_that_comes_close_to_silence_raises_a_warning_before_a_unit_is_silent(train, policy):
    training = train({1: 0.3}, run_signals={"loss": 1.0}).sample(30)
    for step in range(8):
        # The best example of every unit comes down to zero while updates grow.
        training.columns = {"update_shift": -0.1 * step, "max": 2.0 - 0.3 * step, "mean": -0.3 * step}
        training.sample(1)
    first = findings_of(training, policy)[0]
    assert (first.kind, first.severity) == ("dying", "warning")
    assert first.evidence["units_silent"] == 0
    assert first.evidence["headroom"]["now"] < first.evidence["headroom"]["usual"]
    assert first.evidence["risk"] >= policy.risk


def test_after_a_new_input_one_sampled_step_is_enough(train, policy):
    training = train({1: 0.3}).sample(30)
    training.run_signals = {"input_mean": 50.0}
    training.columns = {"update_shift": -0.4, "max": -0.2, "mean": -1.0}
    first = findings_of(training.sample(1), policy)[0]
    assert (first.severity, first.cause) == ("warning", "input_shift")


def test_units_far_below_zero_are_born_dead_at_the_third_sampled_step(train, policy):
    training = train({1: 0.0}, batch=8, columns={"mean": -9.0, "bias": -9.0, "max": -5.0}).sample(3)
    finding = findings_of(training, policy)[0]
    assert (finding.kind, finding.severity, finding.cause) == ("born_dead", "critical", "negative_bias")


def test_weights_far_below_any_initialization_are_the_cause_of_a_born_dead_layer(train, policy):
    training = train({1: 0.0}, batch=8, columns={"mean": -9.0, "bias": -9.0, "max": -5.0}, weight_norm=0.5).sample(3)
    assert findings_of(training, policy)[0].cause == "bad_initialization"


def test_dense_sampling_moves_an_average_as_far_as_sparse_sampling_over_the_same_steps():
    sparse = averages.moving_average(0.0, 1.0, averages.elapsed_intervals(10), averages.LONG_INTERVALS)
    dense = 0.0
    for _ in range(10):
        dense = averages.moving_average(dense, 1.0, averages.elapsed_intervals(1), averages.LONG_INTERVALS)
    assert dense == pytest.approx(sparse)
    assert averages.moving_average(math.nan, 3.0, 1, averages.LONG_INTERVALS) == 3.0
    assert averages.moving_average(3.0, math.nan, 1, averages.LONG_INTERVALS) == 3.0


def test_one_odd_unit_of_a_narrow_layer_is_no_tenth_of_it(train, policy):
    training = train({1: np.full(8, 0.5)}, units=8).sample(30)
    training.rates[1][0] = 0.0
    assert all(f.severity == "info" for f in findings_of(training.sample(30), policy))


def test_records_without_a_batch_maximum_raise_nothing(train, policy):
    training = train({1: 0.3}).sample(40)
    for index, record in enumerate(training.records):
        if record.layer_id:
            columns = {name: values.tolist() for name, values in record.arrays().items()}
            for name in ("max", "mean", "var"):
                del columns[name]
            bare = Record(
                layer_id=1, first_step=record.step, step=record.step, n_examples=record.n_examples, **columns
            )  # fmt: skip
            training.records[index] = RecordTable.from_records([bare])[0]
    assert findings_of(training, policy) == []


@pytest.mark.parametrize(("highest", "kinds"), [(2.0, set()), (1.2, {"dying"})])
def test_a_raised_rate_is_no_warning_until_units_come_closer_to_silence(train, policy, highest, kinds):
    training = train({1: 0.3}).sample(30)
    training.learning_rate = 0.4
    training.columns = {"update_shift": -0.2 * highest, "max": highest}
    training.sample(8)
    _readings, findings = replay(training.layers, training.records, policy)
    assert {f.kind for f in findings} == kinds


@pytest.mark.parametrize(("every", "needed"), [(10, 2), (1, 4)])
def test_a_warning_holds_twice_as_many_dense_sampled_steps_as_others(train, policy, every, needed):
    training = train({1: 0.3}).sample(30)
    training.sample_step(training.last_step + every)
    training.learning_rate = 0.4
    training.columns = {"update_shift": -0.36, "max": 1.8}
    training.sample(needed - 1, every)
    _readings, findings = replay(training.layers, training.records, policy)
    assert findings == []
    _readings, findings = replay(training.layers, training.sample(2, every).records, policy)
    assert [f.kind for f in findings] == ["dying"]
