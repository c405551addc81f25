"""Every ReLU is observed, however it is spelled and wherever it is called; its counts are exact."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine


class Net(nn.Module):
    """A Linear and an activation, which may be a function or a module."""

    def __init__(self, act):
        super().__init__()
        self.fc = nn.Linear(6, 9)
        self.act = act

    def forward(self, x):
        return self.act(self.fc(x))


class OwnRelu(torch.autograd.Function):
    """The example of torch's own tutorial."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * (z > 0)


def assign_zero(z):
    z[z < 0] = 0
    return z


ZERO = torch.zeros(1)
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
    "F.leaky_relu with a slope of 0": lambda z: functional.leaky_relu(z, 0.0),
    "F.rrelu with slopes of 0": lambda z: functional.rrelu(z, 0.0, 0.0, training=True),
    "F.relu6": functional.relu6,
    "squared": lambda z: functional.relu(z).square(),
    "torch.ops.aten.relu": torch.ops.aten.relu,
    "torch.ops.aten.relu.default": torch.ops.aten.relu.default,
    "torch.ops.aten.clamp_min": lambda z: torch.ops.aten.clamp_min(z, 0),
    "torch.maximum with new zeros": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "torch.maximum, zeros first": lambda z: torch.maximum(z.new_zeros(1), z),
    "Tensor.maximum": lambda z: z.maximum(torch.tensor(0.0)),
    "torch.max with a constant from outside": lambda z: torch.max(z, ZERO),
    "torch.max with a cast zero": lambda z: torch.max(z, torch.zeros(1).to(z.dtype).expand_as(z)),
    "torch.fmax": lambda z: torch.fmax(z, torch.full((1,), 0.0)),
    "torch.where": lambda z: torch.where(z > 0, z, 0.0),
    "torch.where with zeros": lambda z: torch.where(z.gt(0), z, torch.zeros_like(z)),
    "torch.where, the other way": lambda z: torch.where(z <= 0, torch.zeros_like(z), z),
    "torch.where, reflected": lambda z: torch.where(0 < z, z, torch.tensor(0.0)),  # noqa: SIM300 - the spelling at issue
    "Tensor.where": lambda z: z.where(z > 0, torch.tensor(0.0)),
    "times its mask": lambda z: z * (z > 0),
    "times its mask, the mask first": lambda z: (z > 0) * z,
    "times its mask as floats": lambda z: z * (z >= 0).float(),
    "times its mask as its own type": lambda z: torch.mul(z, torch.gt(z, 0).to(z.dtype)),
    "times its mask as integers": lambda z: z * (z > 0).int(),
    "times the mask of what is detached": lambda z: z * (z.detach() > 0),
    "torch.where, detached": lambda z: torch.where(z.detach() > 0, z, torch.zeros_like(z).detach()),
    "times its negated mask": lambda z: z * ~(z <= 0),
    "masked_fill": lambda z: z.masked_fill(z < 0, 0.0),
    "masked_fill_": lambda z: z.masked_fill_(z < 0, 0.0),
    "an assignment under its mask": assign_zero,
    "plus its absolute value": lambda z: (z + z.abs()) / 2,
    "minus its negative part": lambda z: z - z.clamp(max=0),
    "minus its negative part, clamp_max": lambda z: torch.sub(z, torch.clamp_max(z, 0.0)),
    "minus its negative part, minimum": lambda z: z - torch.minimum(z, torch.zeros_like(z)),
    "the opposite of a minimum": lambda z: -torch.minimum(-z, torch.zeros(1)),
    "the opposite of a clamp": lambda z: -(-z).clamp(max=0),
    "the opposite of clamp_max": lambda z: torch.neg(z.neg().clamp_max(0)),
    "times the mask of its data": lambda z: z * (z.data > 0),
    "torch.where with zero times it": lambda z: torch.where(z > 0, z, 0 * z),
    "torch.where with it times zero": lambda z: torch.where(z < 0, z * 0.0, z),
    "clamp(min=tensor)": lambda z: z.clamp(min=torch.tensor(0.0)),
    "torch.clip with a tensor": lambda z: torch.clip(z, torch.zeros(9)),
    "an autograd function": OwnRelu.apply,
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "nn.LeakyReLU with a slope of 0": nn.LeakyReLU(0.0),
    "nn.ReLU6": nn.ReLU6(),
    "nn.Threshold": nn.Threshold(0.0, 0.0),
    "nn.Hardtanh": nn.Hardtanh(0.0, 6.0),
}


def one_step(model, x, memory):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        model(x).square().mean().backward()
        optimizer.step()
        rows = monitor.coverage()
    return rows, {name: memory.records(name) for name in rows}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_observed_with_exact_counts_and_its_split(name, memory):
    torch.manual_seed(1)
    model = Net(SPELLINGS[name])
    x = torch.randn(40, 6)
    rows, records = one_step(model, x, memory)
    ((layer, row),) = rows.items()
    ((record,),) = records.values()
    z = model.fc(x).detach().double()
    arrays = record.arrays()
    assert (row["units"], row["split"], row["producer"], row["can_die"]) == (9, "linear", "fc", True)
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
def test_activations_that_cannot_die_are_listed_and_send_no_records(act, memory):
    rows, records = one_step(Net(act), torch.randn(8, 6), memory)
    assert [row["can_die"] for row in rows.values()] == [False]
    assert list(records.values()) == [[]]


NO_RELU = [
    torch.tanh,
    torch.sigmoid,
    lambda z: z.clamp(min=-1),
    lambda z: z.clamp(0.5),
    nn.Hardtanh(),
    lambda z: torch.maximum(z, torch.ones(1)),
    lambda z: torch.maximum(z, 0.1 * z),
    lambda z: torch.maximum(z, z.roll(1, 0)),
    lambda z: torch.max(z, dim=1, keepdim=True)[0] * z,
    lambda z: torch.where(z > 0, z, 0.1 * z),
    lambda z: torch.where(z > 0, z * 2, torch.zeros_like(z)),
    lambda z: torch.where(z < 0, z, torch.zeros_like(z)),
    lambda z: torch.where(z.roll(1, 0) > 0, z, torch.zeros_like(z)),
    lambda z: z * (z.detach().roll(1, 0) > 0),
    lambda z: z * (z < 0),
    lambda z: z * (z.detach().int() > 0),
    lambda z: z * ~(z > 0).int(),
    lambda z: z + z.abs().int(),
    lambda z: z * torch.zeros_like(z),
    lambda z: z.masked_fill(z > 0, 0.0),
    lambda z: z + z.roll(1, 0).abs(),
    lambda z: z.clamp(min=torch.tensor(0.5)),
    lambda z: z - z.clamp(max=1),
    lambda z: z - (2 * z).clamp(max=0),
    lambda z: z - z.clamp(min=-1, max=0),
    lambda z: torch.sub(z, z.clamp(max=0), alpha=2),
    lambda z: z.clamp(max=0) - z,
    lambda z: z - z.min(),
    lambda z: z - z.min(dim=1, keepdim=True)[0],
    lambda z: torch.minimum(-z, torch.ones(1)),
    lambda z: torch.minimum(z, torch.zeros(1)),
    lambda z: torch.where(z > 0, z, 0.5 * z),
    lambda z: z * (z.data.roll(1, 0) > 0),
]


@pytest.mark.parametrize("act", NO_RELU)
def test_other_functions_are_not_mistaken_for_a_relu(act, memory):
    assert one_step(Net(act), torch.randn(8, 6), memory)[0] == {}


def test_a_mask_of_what_the_tensor_was_before_a_change_in_place_makes_no_relu(memory):
    def act(z):
        mask = z > 0
        return z.add_(1.0) * mask

    assert one_step(Net(act), torch.randn(8, 6), memory)[0] == {}


def test_a_mask_of_what_was_detached_before_a_change_in_place_makes_no_relu(memory):
    def act(z):
        unchanged = z.detach().double()
        return z.add_(1.0) * (unchanged > 0)

    assert one_step(Net(act), torch.randn(8, 6), memory)[0] == {}


@pytest.mark.parametrize("threshold", [0.3, torch.tensor(0.3), nn.Parameter(torch.tensor(0.3))])
def test_a_jump_relu_is_named_as_not_observed(threshold, memory):
    rows, _ = one_step(Net(lambda z: z * (z > threshold)), torch.randn(8, 6), memory)
    assert list(rows) == ["thresholded"]
    assert "JumpReLU" in rows["thresholded"]["missing"][0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch deprecates TorchScript
@pytest.mark.parametrize("compile_module", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 9))])
def test_a_scripted_or_traced_module_with_a_relu_is_named_as_not_observed(compile_module, memory):
    inner = compile_module(nn.Sequential(nn.Linear(9, 9), nn.ReLU()))
    plain = compile_module(nn.Sequential(nn.Linear(9, 9), nn.Tanh()))
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), inner, plain)
    rows, _ = one_step(model, torch.randn(8, 6), memory)
    assert list(rows) == ["1", "2"]
    assert "scripted" in rows["2"]["missing"][0]
    coverage = [upload.coverage for upload in memory.uploads if upload.coverage][-1]
    assert list(coverage.unseen) == ["2"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch deprecates TorchScript
def test_tracing_a_model_on_a_sampled_step_records_nothing_of_the_sdk(memory):
    model = Net(functional.relu)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(8, 6)
    bare = [node.kind() for node in torch.jit.trace(model, x).graph.nodes()]
    with relumine.watch(model, optimizer, every=1, strict=True):
        traced = torch.jit.trace(model, x)
        assert [node.kind() for node in traced.graph.nodes()] == bare


def test_submodules_called_without_their_root_are_observed(memory):
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


def test_include_and_exclude_filter_layers_by_name(memory):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for options, names in (({"include": ["3"]}, {"3"}), ({"exclude": ["3"]}, {"1"})):
        with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor:
            model(torch.randn(4, 4)).sum().backward()
            optimizer.step()
            assert set(monitor.coverage()) == names
