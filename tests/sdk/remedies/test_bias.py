"""A bias that is reset makes its units active at the requested rate, and nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch

from relumine.remedies._bias import reset_bias_
from tests.helpers.dying_models import FAR, ResNet, dead_model, perceptron


@pytest.mark.parametrize("active_rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["perceptron", "convolutions", "residual"])
def test_units_are_active_at_the_requested_rate_and_only_biases_change(name, active_rate):
    model, x, dead = dead_model(name)
    initial_state = copy.deepcopy(model.state_dict())
    result = reset_bias_(model, x, active_rate=active_rate)
    assert result.units == dead
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, initial_state[key])}
    assert changed == {change.parameter for change in result.changes} - {"active_rate"}
    assert all(key.endswith("bias") for key in changed)
    rates = [change.new for change in result.changes if change.parameter == "active_rate"]
    assert rates == pytest.approx([active_rate] * len(dead), abs=0.02)


def test_an_impossible_rate_and_a_layer_that_matches_no_relu_are_reported():
    with pytest.raises(ValueError, match="between 0 and 1"):
        reset_bias_(perceptron(), torch.randn(4, 6), active_rate=1.0)
    model = ResNet()
    with torch.no_grad():
        model.block.conv1.weight.zero_()
        model.block.bn1.bias.fill_(FAR)
    assert reset_bias_(model, torch.randn(4, 2, 8, 8), layers="nothing").text == "no bias to reset"
