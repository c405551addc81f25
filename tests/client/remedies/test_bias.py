"""A bias that is reset makes its units fire as often as asked for, and nothing else is touched."""

from __future__ import annotations

import copy

import pytest
import torch
from dying_models import FAR, ResNet, dead_model, perceptron

from relumine.remedies import reset_bias_


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["perceptron", "convolutions", "residual"])
def test_a_reset_bias_makes_its_units_fire_at_the_rate_and_touches_biases_alone(name, rate):
    model, x, dead = dead_model(name)
    before = copy.deepcopy(model.state_dict())
    done = reset_bias_(model, x, rate=rate)
    assert done.units == dead
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {change.parameter for change in done.changes} - {"active_rate"}
    assert all(key.endswith("bias") for key in changed)
    rates = [one.after for one in done.changes if one.parameter == "active_rate"]
    assert rates == pytest.approx([rate] * len(dead), abs=0.02)


def test_a_rate_that_is_none_and_a_layer_without_bias_are_said():
    with pytest.raises(ValueError, match="between 0 and 1"):
        reset_bias_(perceptron(), torch.randn(4, 6), rate=1.0)
    model = ResNet()
    with torch.no_grad():
        model.block.conv1.weight.zero_()
        model.block.bn1.bias.fill_(FAR)
    assert reset_bias_(model, torch.randn(4, 2, 8, 8), layers="nothing").text == "no bias to reset"
