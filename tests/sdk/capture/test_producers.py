"""The producer is found wherever it hides, and reading its weights never runs the user's code."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

import relumine

STEPS = 120


class BatchNormAct(nn.BatchNorm2d):
    """A BatchNorm that also applies the activation, as timm's."""

    def __init__(self, features):
        super().__init__(features)
        self.drop, self.act = nn.Identity(), nn.ReLU(inplace=True)

    def forward(self, x):
        training = self.training
        x = functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training, self.momentum, self.eps
        )
        return self.act(self.drop(x))


class Inherited(nn.Linear):
    """A Linear without a forward of its own."""


class InheritedTwice(Inherited):
    """A subclass of a user's class."""


class CastLinear(nn.Linear):
    """A Linear that casts its weights, as nanochat's."""

    def forward(self, x):
        return functional.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class CopiedWeights(nn.Linear):
    """A Linear whose weights are computed in its forward."""

    def forward(self, x):
        return functional.linear(x, self.weight * 2.0, self.bias)


class OwnLinear(nn.Module):
    """A layer that holds parameters and calls the function."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(outputs, inputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return functional.linear(x, self.w, self.b)


def one_step(model, x, **options):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor:
        for _ in range(3):
            model(x).square().mean().backward()
            optimizer.step()
        return monitor.coverage()


@pytest.mark.parametrize(
    ("layer", "split"),
    [
        (Inherited, "linear"),
        (InheritedTwice, "linear"),
        (CastLinear, "linear"),
        (OwnLinear, "linear"),
        (CopiedWeights, "none"),
    ],
)
def test_subclasses_of_linear_and_layers_of_ones_own_are_producers(layer, split, memory):
    rows = one_step(nn.Sequential(layer(6, 9), nn.ReLU()), torch.randn(16, 6))
    assert [(row["producer"], row["split"], row["fan_in"]) for row in rows.values()] == [("0", split, 6)]
    records = memory.records("1")
    assert [record.learning_rate for record in records] == [0.1] * 3
    if split == "linear":
        arrays, earlier = records[-1].arrays(), records[-2].arrays()
        shift = arrays["shift_weight"] + arrays["shift_input"] + arrays["shift_bias"]
        assert shift == pytest.approx(arrays["mean"] - earlier["mean"], abs=1e-5)


def test_a_batchnorm_that_applies_the_activation_itself_is_the_producer(memory):
    model = nn.Sequential(nn.Conv2d(3, 5, 3), BatchNormAct(5), nn.Conv2d(5, 4, 3), BatchNormAct(4))
    rows = one_step(model, torch.randn(4, 3, 9, 9))
    assert {name: (row["producer"], row["split"]) for name, row in rows.items()} == {
        "1.act": ("1", "batchnorm"),
        "3.act": ("3", "batchnorm"),
    }
    assert memory.records("1.act")[0].arrays()["bias"].tolist() == [0.0] * 5


def test_a_hook_of_the_user_that_replaces_the_output_is_named_and_not_overlooked(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    model[0].register_forward_hook(lambda _module, _inputs, output: output * 3.0 + 1.0)
    x = torch.randn(32, 6)
    rows = one_step(model, x)
    assert (rows["1"]["units"], rows["1"]["split"]) == (9, "none")
    assert "hook on 0" in rows["1"]["missing"][0]
    assert memory.records("1")[0].n_examples == 32


def test_a_hook_of_the_user_that_returns_the_same_output_changes_nothing(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    model[0].register_forward_hook(lambda _module, _inputs, output: output)
    assert one_step(model, torch.randn(32, 6))["1"]["split"] == "linear"


class Noise(nn.Module):
    """A parametrization whose every reading draws random numbers, and counts."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    def forward(self, weight):
        self.reads += 1
        return weight + 0.01 * torch.randn_like(weight)


class Counting(nn.Linear):
    """A weight that is a property with a side effect."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.raw = nn.Parameter(self._parameters.pop("weight").detach())
        self.reads = 0

    @property
    def weight(self):
        self.reads += 1
        return self.raw * (1.0 + 1e-4 * self.reads)

    @weight.setter
    def weight(self, value):
        self.raw = value


class FakeQuantized(nn.Linear):
    """Quantization-aware: the observer of the weights moves with each forward."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.quantize = torch.ao.quantization.FakeQuantize.with_args(
            observer=torch.ao.quantization.MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8
        )()

    def forward(self, x):
        return functional.linear(x, self.quantize(self.weight), self.bias)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 6), nn.Linear(6, 6)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return torch.relu(self.decoder(torch.relu(self.encoder(x))))


def noisy():
    layer = nn.Linear(6, 6)
    parametrize.register_parametrization(layer, "weight", Noise())
    return layer


def lazily_built():
    return nn.Sequential(nn.LazyLinear(6), nn.LazyBatchNorm1d())


LAYERS = {
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 6)),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 6)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6)),
    "a random parametrization": noisy,
    "weight_norm of the old style": lambda: nn.utils.weight_norm(nn.Linear(6, 6)),
    "spectral_norm of the old style": lambda: nn.utils.spectral_norm(nn.Linear(6, 6)),
    "a property": lambda: Counting(6, 6),
    "quantization-aware": lambda: FakeQuantized(6, 6),
    "lazy": lazily_built,
    "tied": Tied,
    "a bias that is computed": lambda: parametrizations.weight_norm(nn.Linear(6, 6), "bias", dim=0),
}


def train(layer, *, watch, memory=None):
    torch.manual_seed(3)
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(6, 2))
    model(torch.randn(4, 6))  # a lazy layer is built
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    with relumine.watch(model, optimizer, every=1, strict=True, mode=None if watch else "disabled") as monitor:
        for _ in range(STEPS):
            loss = model(torch.randn(16, 6)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        rows = monitor.coverage()
    return losses, {key: value.clone() for key, value in model.state_dict().items()}, torch.get_rng_state(), rows


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_a_watched_training_is_bit_identical_whatever_computes_the_weights(name, memory):
    torch.manual_seed(0)
    layer = LAYERS[name]()
    torch.manual_seed(0)
    watched_layer = LAYERS[name]()
    losses, state, random_state, _ = train(layer, watch=False)
    watched_losses, watched_state, watched_random_state, rows = train(watched_layer, watch=True)
    assert watched_losses == losses
    assert state.keys() == watched_state.keys()
    assert all(torch.equal(state[key], watched_state[key]) for key in state)
    assert torch.equal(random_state, watched_random_state)
    reads = [getattr(module, "reads", 0) for module in layer.modules()]
    assert reads == [getattr(module, "reads", 0) for module in watched_layer.modules()]
    main = rows["1"]
    assert main["units"] == 6
    assert len(memory.records("1")) == STEPS
    if name not in {"lazy", "tied", "a bias that is computed"}:
        assert main["split"] == "none"
        assert "computed" in main["missing"][0]
        assert memory.records("1")[-1].learning_rate == 0.05


def test_parameters_given_from_outside_have_their_split_from_what_the_forward_used(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2))
    parameters = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD(list(parameters.values()), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(4):
            torch.func.functional_call(model, parameters, (torch.randn(32, 6),)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert monitor.coverage()["1"]["split"] == "linear"
    for record, before in zip(memory.records("1")[1:], memory.records("1"), strict=False):
        arrays, earlier = record.arrays(), before.arrays()
        shift = arrays["shift_weight"] + arrays["shift_input"] + arrays["shift_bias"]
        assert shift == pytest.approx(arrays["mean"] - earlier["mean"], abs=1e-5)
        assert abs(arrays["shift_weight"]).max() > 0
