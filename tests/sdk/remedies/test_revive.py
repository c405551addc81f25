"""Revived units are active on half of the inputs, the output stays the same, and nothing else changes, bit by bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from relumine.remedies._revive import revive_
from tests.helpers.dying_models import CASES, FAR, dead_model, kill, perceptron


def run(model, x):
    """Return the output, with the same dropout each time, without a change of the buffers."""
    torch.manual_seed(7)
    return copy.deepcopy(model)(x).detach()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_dead_units_become_active_on_half_of_the_outputs_and_the_model_output_stays_the_same(name, dtype, training):
    model, x, dead = dead_model(name, dtype)
    model.train(training)
    initial_output = run(model, x)
    result = revive_(model, x)
    assert result.units == dead
    assert (run(model, x) - initial_output).abs().max() <= 1e-6
    assert result.output_change <= 1e-6
    rates = {change.target: change for change in result.changes if change.parameter == "active_rate"}
    assert {layer: change.old for layer, change in rates.items()} == dict.fromkeys(dead, 0.0)
    for change in rates.values():
        assert change.new == pytest.approx(0.5, abs=0.02)
    assert revive_(model, x).changes == ()


@pytest.mark.parametrize("name", CASES)
def test_only_the_reported_parameters_change(name):
    model, x, _ = dead_model(name)
    initial_state = copy.deepcopy(model.state_dict())
    modes = {key: module.training for key, module in model.named_modules()}
    result = revive_(model, x)
    reported = {change.parameter for change in result.changes}
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, initial_state[key])}
    assert changed <= reported
    assert reported - changed <= {"active_rate", "1.weight", "block.bn1.weight"}  # a γ that was 1 stays 1
    assert modes == {key: module.training for key, module in model.named_modules()}


def test_only_rows_biases_and_columns_of_the_units_change_in_linear_layers():
    model, x, _ = dead_model("perceptron")
    initial_state = copy.deepcopy(model.state_dict())
    revive_(model, x, layers="1")
    state = model.state_dict()
    rows, columns = torch.zeros(16, 6, dtype=torch.bool), torch.zeros(8, 16, dtype=torch.bool)
    rows[[1, 5]], columns[:, [1, 5]] = True, True
    assert torch.equal(state["0.weight"] != initial_state["0.weight"], rows)
    assert torch.equal(state["0.bias"] != initial_state["0.bias"], rows[:, 0])
    assert torch.equal(state["2.weight"] != initial_state["2.weight"], columns)
    assert not state["2.weight"][columns].any()
    assert torch.equal(state["2.bias"], initial_state["2.bias"])
    assert torch.equal(state["4.weight"], initial_state["4.weight"])


def test_behind_a_flatten_only_the_columns_of_the_channel_change():
    model, x, _ = dead_model("convolutions")
    initial_state = copy.deepcopy(model.state_dict())
    revive_(model, x, layers=["5"])
    columns = torch.zeros(6, 9, dtype=torch.bool)
    columns[[0, 5]] = True
    assert torch.equal(model[8].weight != initial_state["8.weight"], columns.flatten().expand(5, -1))


def test_of_a_grouped_consumer_only_the_group_of_the_channel_changes():
    model, x, _ = dead_model("convolutions")
    initial_state = copy.deepcopy(model.state_dict())
    revive_(model, x, layers=["2"])
    changed = (model[4].weight != initial_state["4.weight"]).flatten(2).all(2)
    expected = torch.zeros(6, 4, dtype=torch.bool)
    expected[:3, 3] = True
    assert torch.equal(changed, expected)


def test_incoming_weights_have_the_distribution_of_he_et_al():
    model = nn.Sequential(nn.Linear(50, 400), nn.ReLU(), nn.Linear(400, 2))
    kill(model[0], *range(400))
    revive_(model, torch.randn(64, 50), generator=torch.Generator().manual_seed(1))
    weights = model[0].weight.detach()
    assert weights.std() == pytest.approx((2 / 50) ** 0.5, rel=0.02)
    assert weights.mean().abs() < 0.005


def test_running_statistics_of_the_revived_channels_are_those_of_the_inputs():
    model, x, _ = dead_model("batch norm")
    revive_(model, x)
    read = model[0](x).detach()[:, [2, 7]]
    assert torch.allclose(model[1].running_mean[[2, 7]], read.mean(0), atol=1e-6)
    assert torch.allclose(model[1].running_var[[2, 7]], read.var(0), atol=1e-6)
    assert model[1].num_batches_tracked == 0


def test_a_dead_net_learns_again():
    torch.manual_seed(2)
    model = perceptron()
    for layer in (model[0], model[2]):
        kill(layer, *range(layer.out_features))
    x = torch.randn(256, 6)
    y = x[:, :2].relu()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def train():
        for _ in range(300):
            loss = functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    stuck = train()
    revive_(model, x, optimizer)
    assert train() < 0.1 * stuck
    assert not any(layer.inactive for layer in relumine.check(model, x).layers)


def test_a_unit_that_is_active_on_one_of_several_batches_is_not_dead():
    model, x, _ = dead_model("perceptron")
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, -5.0
        model[0].weight[1, 0] = 1.0
    rare = x.clone()
    rare[0, 0] = 6.0
    result = revive_(model, iter([x, {"input": x}, (rare,)]), layers="1")
    assert result.units == {"1": (5,)}


class Keywords(nn.Module):
    """A model that passes the inputs of its calls by keyword."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        z = functional.linear(input=x, weight=self.first.weight, bias=self.first.bias)
        h = functional.relu(input=z)
        return self.last(torch.where(condition=h > -1.0, input=h, other=h))


def test_calls_with_keyword_arguments_are_traced():
    torch.manual_seed(1)
    model = Keywords()
    kill(model.first, 3)
    result = revive_(model, torch.randn(64, 6), preserve=False)
    assert result.units == {"relu": (3,)}


@pytest.mark.parametrize(
    ("inputs", "error"),
    [([], ValueError), ([[torch.randn(4, 6), torch.zeros(4)]], TypeError), ("text", TypeError)],
)
def test_invalid_inputs_are_refused(inputs, error):
    with pytest.raises(error):
        revive_(perceptron(), inputs)


def test_given_units_are_revived_and_active_ones_only_if_the_output_may_change():
    model, x, _ = dead_model("perceptron")
    initial_state = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="are active on these inputs"):
        revive_(model, x, units={"1": [2, 5]})
    with pytest.raises(ValueError, match="has units 0 to 15"):
        revive_(model, x, units={"1": [16]})
    with pytest.raises(ValueError, match="no ReLU is called 'act'"):
        revive_(model, x, units={"act": [0]})
    assert all(torch.equal(value, initial_state[key]) for key, value in model.state_dict().items())
    assert revive_(model, x, units={"1": [5]}).units == {"1": (5,)}
    result = revive_(model, x, units={"1": [2, 5]}, preserve=False)
    assert result.output_change > 1e-3
    assert model[2].weight[:, [2, 5]].all()


def test_a_layer_without_a_bias_is_reinitialized_with_a_note():
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight.abs_()[2] *= -1.0
    result = revive_(model, torch.rand(64, 6))
    assert result.units == {"1": (2,)}
    assert result.notes == ("1 has no bias: how often its units are active depends on the drawn weights",)


def test_model_and_optimizer_state_survive_a_round_trip():
    model, x, _ = dead_model("convolutions")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    functional.mse_loss(model(x), torch.ones(16, 5)).backward()
    optimizer.step()
    revive_(model, x, optimizer)
    other = CASES["convolutions"][0]()
    other.load_state_dict(model.state_dict())
    second = torch.optim.AdamW(other.parameters(), lr=0.01)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert torch.equal(run(other, x), run(model, x))
    for trained_model, trained_optimizer in ((model, optimizer), (other, second)):
        trained_optimizer.zero_grad()
        torch.manual_seed(3)
        functional.mse_loss(trained_model(x), torch.ones(16, 5)).backward()
        trained_optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_result_is_available_as_text_and_as_data():
    model, x, _ = dead_model("perceptron")
    result = revive_(model, x, layers="3")
    assert result.text == f"revived 2 units of 3; the output changed by at most {result.output_change:.2g}"
    assert "3: 4.weight of 2 units" in str(result)
    data = result.as_dict()
    assert data["units"] == {"3": (0, 3)}
    assert [change["parameter"] for change in data["changes"]] == ["2.weight", "2.bias", "4.weight", "active_rate"]
    assert data["changes"][1]["old"] == FAR
