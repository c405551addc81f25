"""Remedies and checks are called at any moment, also in the middle of a step that a monitor samples."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import Adam

import relumine
from relumine.remedies import lower_learning_rate, lower_weight_decay, replace_relu_, reset_bias_, revive_
from tests.helpers.optimizer_wrappers import Larc, Noam, Sam


def dying_net(*, norm=False):
    torch.manual_seed(2)
    layers = [nn.Linear(6, 16), nn.BatchNorm1d(16)] if norm else [nn.Linear(6, 16)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        layers[-1].bias[:5] = -50.0
    return model, torch.randn(32, 6)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("moment", ["before the forward", "after it"])
@pytest.mark.parametrize("remedy", [revive_, reset_bias_])
def test_a_remedy_by_hand_treats_the_same_units_whether_the_step_is_sampled_or_not(remedy, moment, norm, memory):
    model, x = dying_net(norm=norm)
    bare = remedy(model, x)
    model, x = dying_net(norm=norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        if moment == "after it":
            model(x).sum().backward()
        result = remedy(model, x, optimizer)
        assert result.text == bare.text
        assert "units of 1" in result.text or "units of 2" in result.text
        assert not any("amax" in note for note in result.notes)
        if moment == "before the forward":
            model(x).sum().backward()
        optimizer.step()
        assert monitor.sdk_stats()["sampled_steps"] == 1
    assert [record.n_examples for record in memory.records("2" if norm else "1")] == [32]


def test_a_monitor_records_no_forward_of_a_check(memory):
    model, x = dying_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    bare = relumine.check(model, x).as_dict()
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(3):
            assert relumine.check(model, x).as_dict() == bare
            model(x).sum().backward()
            optimizer.step()
    assert [record.n_examples for record in memory.records("1")] == [32, 32, 32]


def test_a_tap_in_the_model_records_no_forward_of_a_remedy(memory):
    class Tapped(nn.Sequential):
        def forward(self, x):
            monitor.tap("mine", super().forward(x))
            return super().forward(x)

    model = Tapped(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = relumine.watch(model, optimizer, every=1, strict=True)
    for _ in range(2):
        revive_(model, torch.randn(32, 6))
        model(torch.randn(16, 6)).sum().backward()
        optimizer.step()
    monitor.close()
    assert [record.n_examples for record in memory.records("mine")] == [16, 16]


def test_a_forward_that_raises_in_a_remedy_leaves_the_step_sampled(memory):
    model, x = dying_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        with pytest.raises(RuntimeError):
            revive_(model, torch.randn(4, 7))
        model(x).sum().backward()
        optimizer.step()
    assert [record.n_examples for record in memory.records("1")] == [32]


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.act(self.fc1(x)) - 0.1)[:, :8])


@pytest.mark.parametrize(
    ("activation", "slope"),
    [("leaky_relu", 0.01), (nn.LeakyReLU, 0.01), (nn.LeakyReLU(0.2), 0.2), (nn.PReLU(init=0.3), 0.3), (nn.GELU, None)],
)
def test_relus_are_replaced_on_a_sampled_step_by_a_name_a_module_or_its_class(activation, slope, memory):
    model, x = Functional(), torch.randn(8, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        model(x).sum().backward()
        result = replace_relu_(model, activation, optimizer=optimizer)
        optimizer.step()
        model(x).sum().backward()
        optimizer.step()
    assert result.value == (None if slope is None else pytest.approx(slope))
    assert sorted(change.target for change in result.changes if change.parameter == "activation") == ["act", "relu"]


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid(), nn.ELU(alpha=2.0), nn.PReLU(8), "tanh"])
def test_an_activation_that_cannot_replace_a_relu_changes_nothing(activation):
    model = Functional()
    with pytest.raises(ValueError, match=r"is not one of|only the default"):
        replace_relu_(model, activation)
    assert isinstance(model.act, nn.ReLU)


def test_a_negative_slope_outranks_that_of_the_module():
    model = Functional()
    assert replace_relu_(model, nn.LeakyReLU(0.2), negative_slope=0.0).value == 0.0


def test_remedies_take_a_wrapped_optimizer(memory):
    model, x = dying_net()
    inner = Adam(model.parameters(), lr=0.1, weight_decay=0.01)
    model(x).sum().backward()
    inner.step()
    wrapped = Noam(Larc(inner))
    lower_learning_rate(wrapped, 0.01)
    lower_weight_decay(wrapped)
    assert (inner.param_groups[0]["lr"], inner.param_groups[0]["weight_decay"]) == (pytest.approx(0.01), 0.0)
    result = revive_(model, x, wrapped)
    assert any(change.parameter == "exp_avg" for change in result.changes)
    sam = Sam(model.parameters(), lr=0.5)
    lower_learning_rate(sam, factor=0.5)
    assert sam.base_optimizer.param_groups[0]["lr"] == pytest.approx(0.25)
    with pytest.raises(TypeError, match="holds no torch optimizer"):
        lower_learning_rate(object(), 0.1)
