"""Layers looked at together get the numbers that each gets alone, whichever way their quantiles are found."""

from __future__ import annotations

import numpy as np

from relumine_server.detection.batch import WIDE
from relumine_server.detection.replay import replay

WIDE_LAYER, NARROW_LAYERS = 1, range(2, 8)


def test_a_wide_layer_is_read_the_same_alone_and_among_narrow_ones(train, policy):
    training = train({WIDE_LAYER: 0.3} | dict.fromkeys(NARROW_LAYERS, 0.3), units=16)
    training.rates[WIDE_LAYER] = np.linspace(0.0, 0.9, WIDE + 40)
    training.__post_init__()
    training.go(40)
    training.rates[WIDE_LAYER][:90] = 0
    training.go(40)
    together, told = replay(training.layers, training.records, policy)
    alone = [record for record in training.records if record.layer_id in (0, WIDE_LAYER)]
    readings, findings = replay(training.layers, alone, policy)
    assert [r for r in together if r.layer_id == WIDE_LAYER] == readings
    assert [f for f in told if f.layer_id == WIDE_LAYER] == [f for f in findings if f.layer_id == WIDE_LAYER]
    assert findings
