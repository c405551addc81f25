"""``check`` warns of nets that are, or are likely to be, born dead before the first step, and of no ordinary net."""

from __future__ import annotations

import copy
import json
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine


def mlp(*widths, bias=True):
    modules = []
    for inputs, units in zip(widths, widths[1:], strict=False):
        modules += [nn.Linear(inputs, units, bias=bias), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(widths[-1], 1))


def kinds(report):
    return [finding.kind for finding in report.findings]


def alive(build, x):
    """Return the first model made by ``build`` in which every layer is active on ``x``."""
    for seed in range(500):
        torch.manual_seed(seed)
        model = build()
        if not any(layer.inactive == layer.units for layer in relumine.check(model, x).layers):
            return model
    raise AssertionError("all models were born dead")


X = torch.linspace(-1.7, 1.7, 100).unsqueeze(1)


def test_a_deep_narrow_net_is_flagged_before_the_first_step_even_if_it_is_alive():
    report = relumine.check(alive(lambda: mlp(1, *[2] * 9), X), X)
    (risk,), (finding,) = report.risks, report.findings
    assert finding.kind == "born_dead_risk"
    assert finding.layers == risk.layers == tuple(str(index) for index in range(1, 18, 2))
    assert (risk.widths, risk.initialization, risk.inputs) == ((2,) * 9, "PyTorch's default", 64)
    assert abs(risk.fraction - 0.87) < 0.02
    assert risk.fraction < risk.upper_bound == pytest.approx(1 - 0.75**9)
    assert finding.text.startswith("9 ReLU layers of 2 units (1 … 17): 8")
    assert "Use 8 or more units per layer" in finding.text
    assert f"! {finding.text}\n" in str(report)


def test_without_biases_both_bounds_for_one_input_feature_are_given_and_hold():
    (risk,) = relumine.check(mlp(1, *[3] * 9, bias=False), X).risks
    assert risk.initialization == "normal weights, zero biases"
    assert risk.lower_bound == pytest.approx(1 - 2 * (7 / 8) ** 9)
    assert risk.upper_bound == pytest.approx(1 - (7 / 8) ** 8)
    assert abs(risk.fraction - 0.5772) <= 4 * risk.standard_error


def test_biases_of_no_known_distribution_are_drawn_from_those_of_the_layer():
    model = mlp(6, *[4] * 5)
    for layer in model[:-1:2]:
        nn.init.constant_(layer.bias, -1.0)
    (risk,) = relumine.check(model, torch.randn(200, 6)).risks
    assert risk.initialization == "each layer's own spread"
    assert risk.fraction > 0.9


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.blocks = nn.Linear(6, width), nn.ModuleList(nn.Linear(width, width) for _ in range(12))

    def forward(self, x):
        x = torch.relu(self.first(x))
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return x


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.na, self.nb = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x):
        return functional.relu(self.nb(self.b(functional.relu(self.na(self.a(x))))) + x)


def cnn():
    body = [nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 10))


ORDINARY = {
    "mlp": (lambda: mlp(6, 32, 32, 32), (64, 6)),
    "deep mlp": (lambda: mlp(6, *[32] * 30), (64, 6)),
    "cnn": (cnn, (8, 3, 16, 16)),
    "resnet": (lambda: nn.Sequential(nn.Conv2d(3, 32, 3), *(Block(32) for _ in range(6))), (4, 3, 10, 10)),
    "narrow resnet": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), *(Block(4) for _ in range(6))), (8, 3, 10, 10)),
    "residual sums, narrow": (lambda: Residual(6), (64, 6)),
    "transformer": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 3, enable_nested_tensor=False),
        (4, 7, 16),
    ),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_net_has_no_findings(name):
    build, shape = ORDINARY[name]
    torch.manual_seed(2)
    report = relumine.check(build(), torch.randn(*shape))
    assert report.findings == ()
    assert "!" not in str(report)


def test_the_model_and_all_random_generators_stay_unchanged():
    torch.manual_seed(5)
    model = nn.Sequential(nn.BatchNorm1d(6), mlp(6, *[2] * 6), nn.Dropout(0.3)).eval()
    initial_state = copy.deepcopy(model.state_dict())
    x = torch.randn(32, 6)
    torch_state = torch.get_rng_state()
    python_state = random.getstate()
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002 - the generator of users
    report = relumine.check(model, x)
    assert report.risks[0].draws > 1_000
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert np.random.get_state()[1].tolist() == numpy_state  # noqa: NPY002 - the generator of users
    assert all(torch.equal(value, initial_state[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.overrides._get_current_function_mode() is None
    assert relumine.check(model, x).as_dict() == report.as_dict()


def test_a_net_that_is_born_dead_is_one_finding_that_includes_the_layers_after_it():
    model = mlp(6, 40, 40, 40)
    nn.init.constant_(model[2].bias, -100.0)
    report = relumine.check(model, torch.randn(50, 6))
    (finding,) = report.findings
    assert finding.kind == "born_dead_now"
    assert finding.layers[0] == "3"
    assert "Layer 3 is born dead: none of its 40 units is active on any of 50 examples" in str(report)


def test_a_mostly_inactive_layer_is_reported_with_its_number_of_units():
    model = mlp(6, 40)
    with torch.no_grad():
        model[0].bias[:37] = -100.0
    (finding,) = relumine.check(model, torch.randn(50, 6)).findings
    assert finding.text == "Layer 1: 37 of 40 units (92.5 %) are active on none of 50 examples"
    with torch.no_grad():
        model[0].bias[30:] = 1.0
    assert relumine.check(model, torch.randn(50, 6)).findings == ()


def test_on_few_examples_rarely_active_units_are_not_called_dead():
    model = mlp(6, 40)
    with torch.no_grad():
        model[0].bias[:37] = -100.0
    assert relumine.check(model, torch.randn(4, 6)).findings == ()
    nn.init.constant_(model[0].bias, -100.0)
    assert kinds(relumine.check(model, torch.randn(8, 6))) == ["born_dead_now"]
    report = relumine.check(model, torch.randn(4, 6))
    assert report.findings == ()
    assert "Layer 1 is inactive on all of 4 examples, too few to call it born dead" in str(report)


class Tied(nn.Module):
    """One linear layer that is used twice, and a second head on the first activation."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.left = nn.Linear(6, 3), nn.Linear(3, 3), nn.Linear(3, 4)

    def forward(self, x):
        h = torch.relu(self.first(x))
        y = torch.relu(self.again(h))
        y = torch.relu(self.again(y))
        return y, functional.relu(self.left(h))


def test_a_chain_ends_at_a_shared_layer_and_continues_in_one_branch_only():
    report = relumine.check(Tied(), torch.randn(40, 6))
    assert [risk.layers for risk in report.risks] == [("relu", "relu#2"), ("relu#3",)]


def test_a_chain_ends_where_inactive_units_may_become_active():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(5, 5) for _ in range(6))
            self.norm = nn.LayerNorm(5)

        def forward(self, x):
            a = torch.relu(self.layers[0](x))
            b = torch.relu(self.layers[1](a.reshape(-1, 5)))
            c = torch.relu(self.layers[2](self.norm(b)))
            c += 1.0
            d = torch.relu(self.layers[3](c))
            e = torch.relu(self.layers[4](d * 2 - 1))
            return torch.relu(self.layers[5](functional.dropout(e, 0.1)))

    report = relumine.check(Mixed(), torch.randn(40, 5))
    assert [len(risk.layers) for risk in report.risks] == [2, 1, 1, 2]


def test_a_grouped_convolution_is_in_no_chain():
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3, groups=2), nn.ReLU())
    report = relumine.check(model, torch.randn(20, 2, 8, 8))
    assert [risk.layers for risk in report.risks] == [("1",)]


@pytest.mark.parametrize(("flat", "chains"), [(nn.Flatten(), [("1", "4")]), (nn.Unflatten(1, (1, 2)), None)])
def test_a_chain_continues_after_a_convolution_only_if_each_example_stays_one_row(flat, chains):
    torch.manual_seed(1)
    x = torch.randn(20, 2, 5, 5)
    rows = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), flat, nn.Linear(18 if chains else 3, 2), nn.ReLU())
    chain_layers = [risk.layers for risk in relumine.check(rows, x).risks]
    assert chain_layers == (chains or [("1",), ("4",)])


def test_positions_that_become_examples_end_a_chain():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(2, 2, 3), nn.Linear(6, 2)

        def forward(self, x):
            return torch.relu(self.fc(torch.relu(self.conv(x)).view(-1, 6)))

    report = relumine.check(Rows(), torch.randn(20, 2, 5, 5))
    assert [risk.layers for risk in report.risks] == [("relu",), ("relu#2",)]


def test_an_estimate_that_would_take_too_long_is_replaced_by_the_bound():
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.ReLU())
    report = relumine.check(model, torch.randn(2, 3, 300, 300))
    (risk,) = report.risks
    assert (risk.fraction, risk.draws, risk.upper_bound) == (None, 0, pytest.approx(1 - (7 / 8) ** 2))
    assert kinds(report) == []
    assert "at most 23.4 % of such nets are born dead; not estimated" in str(report)


def test_the_report_is_plain_data():
    report = relumine.check(mlp(1, *[2] * 9), X)
    data = json.loads(json.dumps(report.as_dict()))
    assert data["units"] == 18
    assert data["risks"][0]["fraction"] == report.risks[0].fraction
    assert data["findings"][-1]["text"] == report.findings[-1].text
    assert len(data["layers"]) == 9


def test_a_model_without_a_relu_is_reported_as_such():
    report = relumine.check(nn.Sequential(nn.Linear(6, 2), nn.GELU()), torch.randn(4, 6))
    assert (report.units, report.risks, report.findings) == (0, (), ())
    assert str(report).startswith("No ReLU ran in this forward; 1 activation that cannot die")


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="the inputs hold no example"):
        relumine.check(mlp(6, 3), torch.zeros(0, 6))


@pytest.mark.parametrize("inputs", ["abc", None, [1.0, 2.0]])
def test_other_inputs_reach_the_forward_and_its_error_is_raised(inputs):
    with pytest.raises(TypeError, match="must be Tensor"):
        relumine.check(mlp(6, 3), inputs)
    assert torch.overrides._get_current_function_mode() is None


def test_inputs_that_are_not_finite_are_reported_and_no_layer_is_called_dead():
    report = relumine.check(mlp(6, 40), torch.full((8, 6), float("nan")))
    assert kinds(report) == ["not_finite"]
    assert "Layer 1 reads NaN or infinity" in str(report)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_precisions_are_estimated_in_float32(dtype):
    report = relumine.check(mlp(1, *[2] * 9).to(dtype), X.to(dtype))
    assert report.risks[0].initialization == "PyTorch's default"
    assert abs(report.risks[0].fraction - 0.87) < 0.02
