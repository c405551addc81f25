"""Revived units fire on half of the inputs, the output stays, and nothing else is touched, bit by bit."""

from __future__ import annotations

import copy

import pytest
import torch
from dying_models import CASES, FAR, dead_model, kill, perceptron
from torch import nn
from torch.nn import functional

import relumine
from relumine.remedies import revive_


def run(model, x):
    """The output, with the same dropout each time, and no trace in the buffers."""
    torch.manual_seed(7)
    return copy.deepcopy(model)(x).detach()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_dead_units_fire_on_half_and_the_output_stays(name, dtype, training):
    model, x, dead = dead_model(name, dtype)
    model.train(training)
    before = run(model, x)
    done = revive_(model, x)
    assert done.units == dead
    assert (run(model, x) - before).abs().max() <= 1e-6
    assert done.output_change <= 1e-6
    rates = {change.place: change for change in done.changes if change.parameter == "active_rate"}
    assert {place: change.before for place, change in rates.items()} == dict.fromkeys(dead, 0.0)
    for change in rates.values():
        assert change.after == pytest.approx(0.5, abs=0.02)
    assert revive_(model, x).changes == ()


@pytest.mark.parametrize("name", CASES)
def test_only_entries_of_these_units_change(name):
    model, x, _ = dead_model(name)
    before = copy.deepcopy(model.state_dict())
    modes = {key: module.training for key, module in model.named_modules()}
    done = revive_(model, x)
    said = {change.parameter for change in done.changes}
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed <= said
    assert said - changed <= {"active_rate", "1.weight", "block.bn1.weight"}  # a γ that was 1 is 1
    assert modes == {key: module.training for key, module in model.named_modules()}


def test_of_a_linear_layer_rows_biases_and_columns_change_and_nothing_else():
    model, x, _ = dead_model("perceptron")
    before = copy.deepcopy(model.state_dict())
    revive_(model, x, layers="1")
    after = model.state_dict()
    rows, columns = torch.zeros(16, 6, dtype=torch.bool), torch.zeros(8, 16, dtype=torch.bool)
    rows[[1, 5]], columns[:, [1, 5]] = True, True
    assert torch.equal(after["0.weight"] != before["0.weight"], rows)
    assert torch.equal(after["0.bias"] != before["0.bias"], rows[:, 0])
    assert torch.equal(after["2.weight"] != before["2.weight"], columns)
    assert not after["2.weight"][columns].any()
    assert torch.equal(after["2.bias"], before["2.bias"])
    assert torch.equal(after["4.weight"], before["4.weight"])


def test_behind_a_flattening_the_columns_of_the_channel_change_and_nothing_else():
    model, x, _ = dead_model("convolutions")
    before = copy.deepcopy(model.state_dict())
    revive_(model, x, layers=["5"])
    columns = torch.zeros(6, 9, dtype=torch.bool)
    columns[[0, 5]] = True
    assert torch.equal(model[8].weight != before["8.weight"], columns.flatten().expand(5, -1))


def test_of_a_grouped_reader_only_the_channels_own_group_changes():
    model, x, _ = dead_model("convolutions")
    before = copy.deepcopy(model.state_dict())
    revive_(model, x, layers=["2"])
    changed = (model[4].weight != before["4.weight"]).flatten(2).all(2)
    expected = torch.zeros(6, 4, dtype=torch.bool)
    expected[:3, 3] = True
    assert torch.equal(changed, expected)


def test_incoming_weights_are_drawn_as_he_et_al_do():
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


def test_a_net_that_was_dead_learns_again():
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
    assert not any(layer.silent for layer in relumine.check(model, x).layers)


def test_batches_may_be_many_and_a_unit_that_fires_on_one_of_them_is_not_dead():
    model, x, _ = dead_model("perceptron")
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, -5.0
        model[0].weight[1, 0] = 1.0
    rare = x.clone()
    rare[0, 0] = 6.0
    done = revive_(model, (one for one in (x, {"input": x}, (rare,))), layers="1")
    assert done.units == {"1": (5,)}


@pytest.mark.parametrize(
    ("inputs", "error"),
    [([], ValueError), ([[torch.randn(4, 6), torch.zeros(4)]], TypeError), ("text", TypeError)],
)
def test_inputs_that_are_none_are_refused(inputs, error):
    with pytest.raises(error):
        revive_(perceptron(), inputs)


def test_given_units_are_revived_and_live_ones_only_if_the_output_may_change():
    model, x, _ = dead_model("perceptron")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="fire on these inputs"):
        revive_(model, x, units={"1": [2, 5]})
    with pytest.raises(ValueError, match="has units 0 to 15"):
        revive_(model, x, units={"1": [16]})
    with pytest.raises(ValueError, match="no ReLU is called 'act'"):
        revive_(model, x, units={"act": [0]})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert revive_(model, x, units={"1": [5]}).units == {"1": (5,)}
    done = revive_(model, x, units={"1": [2, 5]}, preserve=False)
    assert done.output_change > 1e-3
    assert model[2].weight[:, [2, 5]].all()


def test_a_layer_without_a_bias_is_drawn_anew_and_that_is_said():
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight.abs_()[2] *= -1.0
    done = revive_(model, torch.rand(64, 6))
    assert done.units == {"1": (2,)}
    assert done.notes == ("1 has no bias: how often its units fire was left to the draw",)


def test_the_state_survives_a_round_trip():
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
    for one, opt in ((model, optimizer), (other, second)):
        opt.zero_grad()
        torch.manual_seed(3)
        functional.mse_loss(one(x), torch.ones(16, 5)).backward()
        opt.step()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_what_was_done_is_said_in_words_and_as_data():
    model, x, _ = dead_model("perceptron")
    done = revive_(model, x, layers="3")
    assert done.text == f"revived 2 units of 3; the output changed by at most {done.output_change:.2g}"
    assert "3: 4.weight of 2 units" in str(done)
    data = done.as_dict()
    assert data["units"] == {"3": (0, 3)}
    assert [change["parameter"] for change in data["changes"]] == ["2.weight", "2.bias", "4.weight", "active_rate"]
    assert data["changes"][1]["before"] == FAR
