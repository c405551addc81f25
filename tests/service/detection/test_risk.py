"""Risk: what each sign does to it, and that it is calm where nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from relumine.table import RecordTable
from relumine.wire import Record
from relumine_server.detection import trends
from relumine_server.detection.replay import replay
from relumine_server.detection.risk import Signs, risk, signs
from relumine_server.detection.state import LayerMemory, RunMemory

CALM = Signs(dying=0.0, headroom_trend=0.0, kill=-2.0, rate_trend=0.0, bias_trend=0.0)


def near_death(train, **run):
    """Every unit's best example comes down to zero while updates grow: nothing is silent yet."""
    training = train({1: 0.3}, run={"loss": 1.0} | run).go(30)
    for step in range(8):
        training.columns = {"update_shift": -0.1 * step, "max": 2.0 - 0.3 * step, "mean": -0.3 * step}
        yield training


def findings_of(training, policy):
    return replay(training.layers, training.records, policy)[1]


@pytest.mark.parametrize(
    ("sign", "worse"),
    [("dying", 0.2), ("headroom_trend", -2.0), ("kill", 0.0), ("rate_trend", 1.5), ("bias_trend", -0.5)],
)
def test_each_sign_raises_the_risk(sign, worse):
    assert risk(CALM._replace(**{sign: worse})) > risk(CALM)


def test_a_calm_layer_has_next_to_no_risk_and_none_leaves_its_range():
    assert risk(CALM) < 0.05
    assert 0 <= risk(Signs(-1e9, 1e9, -1e9, -1e9, 1e9)) < risk(Signs(1e9, -1e9, 1e9, 1e9, -1e9)) <= 1


def test_what_is_not_known_speaks_for_nothing(train):
    layer = LayerMemory(train({1: 0.3}).layers[0], 0)
    assert signs(layer, RunMemory()) == CALM


def test_a_layer_that_comes_close_to_silence_is_warned_of_before_a_unit_is_silent(train, policy):
    for training in near_death(train):
        training.go(1)
    first = findings_of(training, policy)[0]
    assert (first.kind, first.severity) == ("dying", "warning")
    assert first.evidence["units_silent"] == 0
    assert first.evidence["headroom"]["now"] < first.evidence["headroom"]["usual"]
    assert first.evidence["risk"] >= policy.risk


def test_after_a_new_input_one_look_is_enough(train, policy):
    training = train({1: 0.3}).go(30)
    training.run, training.columns = {"input_mean": 50.0}, {"update_shift": -0.4, "max": -0.2, "mean": -1.0}
    first = findings_of(training.go(1), policy)[0]
    assert (first.severity, first.cause) == ("warning", "input_shift")


def test_units_far_below_zero_are_born_dead_at_the_third_look(train, policy):
    training = train({1: 0.0}, batch=8, columns={"mean": -9.0, "bias": -9.0, "max": -5.0}).go(3)
    found = findings_of(training, policy)[0]
    assert (found.kind, found.severity, found.cause) == ("born_dead", "critical", "negative_bias")


def test_weights_far_below_any_initialization_are_the_cause_of_a_born_dead_layer(train, policy):
    training = train({1: 0.0}, batch=8, columns={"mean": -9.0, "bias": -9.0, "max": -5.0}, weight_norm=0.5).go(3)
    assert findings_of(training, policy)[0].cause == "bad_initialization"


def test_dense_looks_move_what_is_usual_as_far_as_sparse_ones_over_the_same_steps():
    sparse = trends.faded(0.0, 1.0, trends.passed(10), trends.LONG)
    dense = 0.0
    for _ in range(10):
        dense = trends.faded(dense, 1.0, trends.passed(1), trends.LONG)
    assert dense == pytest.approx(sparse)
    assert trends.faded(math.nan, 3.0, 1, trends.LONG) == 3.0
    assert trends.faded(3.0, math.nan, 1, trends.LONG) == 3.0


def test_one_odd_unit_of_a_narrow_layer_is_no_tenth_of_it(train, policy):
    rates = np.full(8, 0.5)
    training = train({1: rates}, units=8).go(30)
    training.rates[1][0] = 0.0
    assert all(f.severity == "info" for f in findings_of(training.go(30), policy))


def test_records_without_a_batch_maximum_are_no_sign_of_anything(train, policy):
    training = train({1: 0.3}).go(40)
    for place, record in enumerate(training.records):
        if record.layer_id:
            kept = {name: values for name, values in record.arrays().items() if name not in ("max", "mean", "var")}
            bare = Record(
                layer_id=1, first_step=record.step, step=record.step, n_examples=record.n_examples,
                **{name: values.tolist() for name, values in kept.items()},
            )  # fmt: skip
            training.records[place] = RecordTable.of([bare])[0]
    assert findings_of(training, policy) == []
