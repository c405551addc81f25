"""Layers evaluated together get the numbers that each gets alone, by either way of finding quantiles."""

from __future__ import annotations

import numpy as np

from relumine_server.detection.batch import PARTITION_MIN_UNITS
from relumine_server.detection.replay import replay

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
