"""ReLUs are replaced by another activation; parameters and names stay, and the output where that is promised."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from relumine.remedies._replace_relu import replace_relu_


class Net(nn.Module):
    """ReLUs in every spelling, as modules and functions, and a dropout that depends on the mode."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn, self.conv2 = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3)
        self.fc1, self.fc2, self.fc3 = nn.Linear(96, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = functional.relu(self.bn(self.conv1(x)))
        x = self.act(self.conv2(x)).flatten(1)
        x = functional.dropout(torch.relu(self.fc1(x)), 0.5, self.training)
        return self.fc3(self.fc2(x).clamp(min=0)).relu_() + x.size(0)


NAMES = ["act", "relu", "relu#2", "relu#3", "relu#4"]


def build(dtype=torch.float32):
    torch.manual_seed(4)
    return Net().to(dtype), torch.randn(8, 2, 8, 8, dtype=dtype)


def run(model, x):
    torch.manual_seed(9)
    return copy.deepcopy(model)(x).detach()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ["prelu", "leaky_relu"])
def test_with_a_slope_of_0_the_output_stays_the_same(activation, dtype, training):
    model, x = build(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    initial_outputs = {mode: run(model.train(mode), x) for mode in (True, False)}
    result = replace_relu_(model.train(training), activation, negative_slope=0.0, optimizer=optimizer)
    assert sorted(change.target for change in result.changes if change.parameter == "activation") == NAMES
    assert model.training is training
    for mode in (True, False):
        assert (run(model.train(mode), x) - initial_outputs[mode]).abs().max() <= 1e-6


def test_the_output_stays_the_same_if_no_pre_activation_is_negative():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    x = torch.rand(16, 4, dtype=torch.float64)
    initial_output = run(model, x)
    replace_relu_(model, "leaky_relu")
    assert (run(model, x) - initial_output).abs().max() <= 1e-6


FORMULAS = {
    "leaky_relu": lambda z: torch.where(z > 0, z, 0.2 * z),
    "prelu": lambda z: torch.where(z > 0, z, 0.2 * z),
    "elu": lambda z: torch.where(z > 0, z, z.exp() - 1),
    "gelu": lambda z: 0.5 * z * (1 + torch.erf(z / 2**0.5)),
}


@pytest.mark.filterwarnings("ignore:no optimizer was given")
@pytest.mark.parametrize("activation", FORMULAS)
def test_modules_and_functions_compute_the_named_activation(activation):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(x), functional.relu(x - 1.0)

    model, x = Both().double(), torch.linspace(-3, 3, 50, dtype=torch.float64)
    replace_relu_(model, activation, negative_slope=0.2)
    for output, z in zip(model(x), (x, x - 1.0), strict=True):
        assert torch.allclose(output.detach(), FORMULAS[activation](z), atol=1e-7)


def test_afterwards_check_finds_only_activations_that_cannot_die():
    model, x = build()
    assert [layer.can_die for layer in relumine.check(model, x).layers] == [True] * 5
    replace_relu_(model)
    report = relumine.check(model, x)
    assert [(layer.activation, layer.can_die) for layer in report.layers] == [("leaky_relu", False)] * 5
    assert sorted(layer.name.replace("leaky_relu", "relu") for layer in report.layers) == NAMES


@pytest.mark.parametrize(("layers", "left"), [("act", 4), ("relu#*", 2), (["relu", "relu#3"], 3), ("*", 0)])
def test_only_the_layers_that_match_are_replaced(layers, left):
    model, x = build()
    result = replace_relu_(model, "elu", layers=layers)
    assert len(result.changes) == 5 - left
    assert sum(layer.can_die for layer in relumine.check(model, x).layers) == left
    assert result.value is None
    with pytest.raises(ValueError, match="no ReLU"):
        replace_relu_(model, "elu", layers=layers)


def test_the_state_dict_the_class_and_the_parameters_stay():
    model, x = build()
    initial_state = copy.deepcopy(model.state_dict())
    parameters = list(model.parameters())
    replace_relu_(model, "gelu")
    assert isinstance(model, Net)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert initial_state.keys() == model.state_dict().keys()
    other, _ = build()
    replace_relu_(other, "gelu")
    other.load_state_dict(model.state_dict())
    assert torch.equal(run(other.eval(), x), run(model.eval(), x))


def test_slopes_are_trained_and_survive_a_round_trip():
    model, x = build()
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=0.01, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    result = replace_relu_(model, "prelu", optimizer=optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        functional.mse_loss(model(x), torch.zeros(8, 3)).backward()
        optimizer.step()
        scheduler.step()
    slopes = [parameter for name, parameter in model.named_parameters() if "slope" in name or name == "act.weight"]
    assert len(slopes) == 5
    assert all(float(slope.detach()) != pytest.approx(0.01, abs=1e-9) for slope in slopes)
    assert (result.changes[-1].target, result.changes[-1].old, result.changes[-1].new) == ("group 0", 12, 17)
    other, _ = build()
    second = torch.optim.AdamW(other.named_parameters(), lr=0.01, weight_decay=0.1)
    replace_relu_(other, "prelu", optimizer=second)
    other.load_state_dict(model.state_dict())
    second.load_state_dict(optimizer.state_dict())
    assert torch.equal(run(other.eval(), x), run(model.eval(), x))


def test_slopes_join_the_group_with_the_least_decay():
    model, _ = build()
    groups = [{"params": list(model.fc1.parameters())}, {"params": list(model.fc2.parameters()), "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=0.1)
    replace_relu_(model, "prelu", optimizer=optimizer)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 7]


def test_slopes_without_an_optimizer_give_a_warning():
    model, _ = build()
    with pytest.warns(UserWarning, match="the new slopes are not trained"):
        assert "not trained" in replace_relu_(model, "prelu").notes[-1]


def test_a_module_that_is_used_twice_stays_one_module():
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), act, nn.Sequential(nn.Linear(4, 4), act))
    result = replace_relu_(model, "prelu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert model[1] is model[2][1]
    assert len(result.changes) == 2


def test_a_relu_in_a_transformer_layer_of_torch_is_replaced_in_its_fast_path_too():
    torch.manual_seed(1)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)
    result = replace_relu_(model, "leaky_relu", negative_slope=0.5)
    assert [change.target for change in result.changes] == ["layers.0.relu", "layers.1.relu"]
    x = torch.randn(3, 5, 8)
    slow = model.eval()(x)
    with torch.no_grad():
        assert torch.allclose(model(x), slow, atol=1e-5)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.wide = nn.Linear(4, 4), True

    def forward(self, x):
        x = functional.relu(self.fc(x))
        return x if self.wide else x[:2]


class OptionalArgument(Branching):
    def forward(self, x, mask=None):
        return functional.relu(self.fc(x))


class ReadingValue(Branching):
    def forward(self, x):
        return functional.relu(self.fc(x)) * float(x.sum())


class CallingBranch(Branching):
    def forward(self, x):
        return _choose(functional.relu(self.fc(x)))


class CreatingTensor(Branching):
    def forward(self, x):
        return functional.relu(self.fc(x)) * torch.tensor([1.0, 2.0, 3.0, 4.0])


def _choose(x):
    return x if x is not None else None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Branching, "Branching.forward has a branch"),
        (OptionalArgument, "argument mask is optional"),
        (ReadingValue, "torch.fx"),
        (CallingBranch, "_choose has a branch"),
        (CreatingTensor, "creates tensors"),
    ],
)
def test_a_function_call_that_cannot_be_replaced_is_an_error_that_names_its_layer_and_changes_nothing(kind, reason):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), kind())
    relu = model[1]
    attributes = set(vars(model[2]))
    with pytest.raises(ValueError, match=r"2\.relu is called as a function") as error:
        replace_relu_(model)
    assert reason in str(error.value)
    assert model[1] is relu
    assert type(model[2]) is kind
    assert set(vars(model[2])) == attributes
    assert len(replace_relu_(model, layers="1").changes) == 1


def test_invalid_arguments_are_errors():
    with pytest.raises(ValueError, match="not one of leaky_relu"):
        replace_relu_(nn.Sequential(nn.ReLU()), "tanh")
    with pytest.raises(ValueError, match="the model itself"):
        replace_relu_(nn.ReLU())
    with pytest.raises(ValueError, match="no ReLU to replace"):
        replace_relu_(nn.Linear(2, 2))


def test_the_result_describes_the_replacement():
    model, _ = build()
    result = replace_relu_(model, negative_slope=0.1)
    assert result.text == "5 ReLUs → leaky_relu(0.1): " + ", ".join(change.target for change in result.changes)
    assert result.value == 0.1
    assert (result.changes[0].old, result.changes[0].new) == ("relu", "leaky_relu(0.1)")
    assert "fixed from now on" in result.notes[0]
