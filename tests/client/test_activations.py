"""Every ReLU is seen, however it is spelled and wherever it acts; its counts are exact."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import relumine


class Net(nn.Module):
    """One Linear or convolution, an activation given as a function, and what comes behind."""

    def __init__(self, act, producer=None, after=None):
        super().__init__()
        self.fc, self.act, self.after = producer or nn.Linear(6, 9), act, after or nn.Identity()

    def forward(self, x):
        return self.after(self.act(self.fc(x)))


SPELLINGS = {
    "F.relu": functional.relu,
    "F.relu in place": lambda z: functional.relu(z, inplace=True),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda z: z.relu(),
    "Tensor.relu_": lambda z: z.relu_(),
    "Tensor.clamp": lambda z: z.clamp(min=0),
    "torch.clamp": lambda z: torch.clamp(z, 0),
    "Tensor.clamp_": lambda z: z.clamp_(min=0.0),
    "Tensor.clamp_min": lambda z: z.clamp_min(0),
    "F.threshold": lambda z: functional.threshold(z, 0.0, 0.0),
    "F.relu6": functional.relu6,
    "squared": lambda z: functional.relu(z).square(),
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "nn.ReLU6": nn.ReLU6(),
    "nn.Threshold": nn.Threshold(0.0, 0.0),
    "nn.Hardtanh": nn.Hardtanh(0.0, 6.0),
}


def one_step(model, x, memory):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        model(x).square().mean().backward()
        optimizer.step()
        found = monitor.coverage()
    return found, {name: memory.records(name) for name in found}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_seen_with_exact_counts_and_its_split(name, memory):
    torch.manual_seed(1)
    model = Net(SPELLINGS[name])
    x = torch.randn(40, 6)
    found, records = one_step(model, x, memory)
    ((layer, one),) = found.items()
    ((record,),) = records.values()
    z = model.fc(x).detach().double()
    arrays = record.arrays()
    assert (one["units"], one["split"], one["producer"], one["can_die"]) == (9, "linear", "fc", True)
    assert layer in ("act", "relu", "relu6")
    assert arrays["active"].tolist() == (z > 0).sum(0).tolist()
    assert arrays["mean"] == pytest.approx(z.mean(0).numpy(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "act",
    [
        nn.LeakyReLU(),
        nn.PReLU(),
        nn.ELU(),
        nn.GELU(),
        nn.SiLU(),
        nn.SELU(),
        nn.Mish(),
        functional.gelu,
        functional.silu,
    ],
)
def test_what_cannot_die_is_listed_and_sends_nothing(act, memory):
    found, records = one_step(Net(act), torch.randn(8, 6), memory)
    assert [one["can_die"] for one in found.values()] == [False]
    assert list(records.values()) == [[]]


NO_RELU = [torch.tanh, torch.sigmoid, lambda z: z.clamp(min=-1), lambda z: z.clamp(0.5), nn.Hardtanh()]


@pytest.mark.parametrize("act", NO_RELU)
def test_what_is_no_relu_is_not_taken_for_one(act, memory):
    assert one_step(Net(act), torch.randn(8, 6), memory)[0] == {}


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.na, self.nb = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x):
        return functional.relu(self.nb(self.b(functional.relu(self.na(self.a(x))))) + x)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 12), nn.Linear(12, 10), nn.Linear(10, 2)

    def forward(self, x):
        return self.c(functional.relu(self.b(functional.relu(self.a(x)))))


def resnet():
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    return nn.Sequential(stem, Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)), (4, 3, 8, 8)


def transformer():
    layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), (4, 7, 16)


MODELS = {"resnet": resnet, "transformer": transformer, "functional mlp": lambda: (Mlp(), (32, 6))}
EXPECTED = {
    "resnet": {
        "0.2": "batchnorm",
        "1.relu": "batchnorm",
        "1.relu#2": "residual",
        "2.relu": "batchnorm",
        "2.relu#2": "residual",
    },
    "transformer": {f"layers.{i}.relu": "linear" for i in range(3)},
    "functional mlp": {"relu": "linear", "relu#2": "linear"},
}


@pytest.mark.parametrize("name", MODELS)
def test_in_whole_models_every_relu_is_seen_and_its_split_named(name, memory):
    torch.manual_seed(1)
    model, shape = MODELS[name]()
    counts = []
    original = torch.relu

    class Count(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if getattr(func, "__name__", "") in ("relu", "relu_"):
                counts.append(int((args[0] > 0).sum()))
            return func(*args, **(kwargs or {}))

    torch.manual_seed(2)
    with Count():
        model(torch.ones(*shape))
    torch.manual_seed(2)
    found, records = one_step(model, torch.ones(*shape), memory)
    assert original is torch.relu
    assert {layer: one["split"] for layer, one in found.items()} == EXPECTED[name]
    columns = [record.arrays() for (record,) in records.values()]
    seen = [int(c.get("active_positions", c["active"]).sum()) for c in columns]
    assert seen == counts


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_activations_are_counted_once(reentrant, memory):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(6, 9), nn.ReLU()), nn.Linear(9, 2)

        def forward(self, x):
            return self.head(checkpoint(self.body, x, use_reentrant=reentrant))

    x = torch.randn(16, 6, requires_grad=True)
    _, records = one_step(Model(), x, memory)
    assert [record.n_examples for record in records["body.1"]] == [16]


def test_submodules_called_without_their_root_are_seen(memory):
    model = nn.ModuleDict({"encoder": Net(functional.relu), "decoder": nn.Sequential(nn.Linear(9, 6), nn.ReLU())})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        model["decoder"](model["encoder"](torch.randn(8, 6))).sum().backward()
        optimizer.step()
        assert set(monitor.coverage()) == {"encoder.relu", "decoder.1"}


def test_a_forward_that_raises_leaves_no_mode_behind(mlp, memory):
    model = nn.Sequential(mlp(), nn.Linear(3, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(3):
            with pytest.raises(RuntimeError, match="shapes"):
                model(torch.randn(4, 6))
        assert torch.overrides._get_current_function_mode() is None


def test_flattened_tokens_count_positions_and_say_so(memory):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(5, 7)

        def forward(self, x):
            return torch.relu(self.fc(x.reshape(-1, 5)))

    found, records = one_step(Tokens(), torch.randn(4, 6, 5), memory)
    assert found["relu"]["n_unit"] == "positions"
    assert records["relu"][0].n_examples == 24


def test_half_precision_is_summed_in_float32(memory):
    torch.manual_seed(1)
    model = Net(functional.relu)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(512, 6) + 3
    with relumine.watch(model, optimizer, every=1, strict=True), torch.autocast("cpu", torch.bfloat16):
        z = model.fc(x).detach()
        model(x).float().sum().backward()
        optimizer.step()
    assert z.dtype == torch.bfloat16
    assert memory.records("relu")[0].arrays()["mean"] == pytest.approx(z.double().mean(0).numpy(), rel=1e-5, abs=1e-6)


def test_include_and_exclude_choose_by_name(memory):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for options, names in (({"include": ["3"]}, {"3"}), ({"exclude": ["3"]}, {"1"})):
        with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor:
            model(torch.randn(4, 4)).sum().backward()
            optimizer.step()
            assert set(monitor.coverage()) == names


def dropped_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Flatten(), nn.Linear(216, 2)
    ), (4, 3, 8, 8)


@pytest.mark.parametrize("build", [dropped_cnn, resnet, transformer], ids=lambda build: build.__name__)
def test_training_is_bit_identical_with_dropout_and_batch_normalisation(build, memory):
    def run(**options):
        torch.manual_seed(4)
        model, shape = build()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        losses = []
        with relumine.watch(model, optimizer, strict=True, **options):
            for _ in range(8):
                loss = model(torch.randn(*shape)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return losses

    assert run(every=1) == run(mode="disabled")
    assert len(memory.uploads) > 0
