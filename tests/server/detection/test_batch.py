"""Records evaluated together get the numbers that each gets alone, by either way of finding quantiles."""

from __future__ import annotations

import numpy as np
import pytest

from relumine.schemas.record_table import RecordTable
from relumine_server.detection import detector, state
from relumine_server.detection.batch import PARTITION_MIN_UNITS
from relumine_server.detection.replay import replay
from relumine_server.detection.rounds import MAX_UNITS

WIDE_LAYER = 1
NARROW_LAYERS = range(2, 8)


def test_a_wide_layer_gets_the_same_numbers_alone_and_among_narrow_ones(train, policy):
    training = train({WIDE_LAYER: 0.3} | dict.fromkeys(NARROW_LAYERS, 0.3), units=16)
    training.rates[WIDE_LAYER] = np.linspace(0.0, 0.9, PARTITION_MIN_UNITS + 40)
    training.restart()
    training.sample(40)
    training.rates[WIDE_LAYER][:90] = 0
    training.sample(40)
    readings_together, findings_together = replay(training.layers, training.records, policy)
    own_records = [record for record in training.records if record.layer_id in (0, WIDE_LAYER)]
    readings, findings = replay(training.layers, own_records, policy)
    assert [r for r in readings_together if r.layer_id == WIDE_LAYER] == readings
    findings_of_layer = [f for f in findings if f.layer_id == WIDE_LAYER]
    assert [f for f in findings_together if f.layer_id == WIDE_LAYER] == findings_of_layer
    assert findings


def uneven_table(train):
    """Return a training and its records as one table: a layer that stops sending a column, gaps, values not finite."""
    training = train({1: 0.3, 2: 0.3}, units=5)
    training.sample(30)
    training.rates[1][:4] = 0
    training.sample(40)
    training.nonfinite = 1
    training.sample(2)
    training.nonfinite = 0
    training.sample(20)
    records = list(training.records)
    del records[100:103], records[150]
    arrays = [record.arrays() for record in records]
    for position in (60, 61, 91, 202):
        arrays[position].pop("bias", None)
    scalars = [{**record._asdict(), "marks": int(number == 120)} for number, record in enumerate(records)]
    return training, RecordTable.from_values(scalars, arrays)


def test_records_evaluated_many_at_a_time_get_the_numbers_that_each_gets_alone(train, policy):
    training, table = uneven_table(train)
    initial = state.describe(state.empty(), training.layers)
    together, *results_together = detector.advance(initial, table, policy)
    alone, readings, findings = initial, [], []
    for position in range(len(table)):
        alone, new_readings, new_findings = detector.advance(alone, table[position : position + 1], policy)
        readings += new_readings
        findings += new_findings
    assert results_together == [readings, findings]
    assert {finding.kind for finding in findings} >= {"dying", "diverged"}
    assert state.to_bytes(together) == state.to_bytes(alone)


@pytest.fixture
def rounds_at_a_time(monkeypatch):
    """Count the rounds of records that are evaluated together, each time."""
    sizes = []
    fold_rounds = detector.fold_rounds

    def counted(units, rounds, policy):
        sizes.append(len(rounds))
        return fold_rounds(units, rounds, policy)

    monkeypatch.setattr(detector, "fold_rounds", counted)
    return sizes


def test_thousands_of_records_of_one_layer_are_evaluated_a_hundred_at_a_time(train, policy, rounds_at_a_time):
    training = train({1: 0.3}, units=2).sample(2_000)
    replay(training.layers, training.records, policy)
    assert sum(rounds_at_a_time) == 2_000
    assert len(rounds_at_a_time) <= 20


def test_rounds_of_wide_layers_are_evaluated_few_at_a_time_as_they_take_memory(train, policy, rounds_at_a_time):
    training = train({1: 0.3}, units=5_000).sample(20)
    replay(training.layers, training.records, policy)
    assert max(rounds_at_a_time) * 5_000 <= MAX_UNITS
