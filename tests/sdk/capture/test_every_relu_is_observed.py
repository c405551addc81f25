"""Every execution of a ReLU is a layer, its counts are exact, and what is not known of it is named."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import relumine
from tests.helpers.relu_reference import Executions, compare


class FunctionalModel(nn.Module):
    """A module whose forward is given as a function of the module and its input."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self._run = forward

    def forward(self, x):
        return self._run(self, x)


def dense(act):
    return lambda: (FunctionalModel(lambda m, x: act(m.fc(x)), fc=nn.Linear(6, 9)), torch.randn(32, 6))


def chain(*modules, x):
    return lambda: (nn.Sequential(*(module() for module in modules)), torch.randn(*x))


class LoraLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, self.a, self.b = nn.Linear(6, 9), nn.Linear(6, 2, bias=False), nn.Linear(2, 9, bias=False)
        self.base.requires_grad_(requires_grad=False)

    def forward(self, x):
        return self.base(x) + self.b(self.a(x))


class LoraInherited(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 2.0


def frozen():
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5), nn.ReLU())
    model[0].requires_grad_(requires_grad=False)
    return model, torch.randn(32, 6)


def shared():
    def forward(m, x):
        return m.act(m.b(m.act(m.a(x))))

    model = FunctionalModel(forward, a=nn.Linear(6, 9), b=nn.Linear(9, 5), act=nn.ReLU())
    return model, torch.randn(8, 6)


def residual():
    def forward(m, x):
        return torch.relu(m.b(torch.relu(m.a(x))) + x)

    return FunctionalModel(forward, a=nn.Linear(6, 9), b=nn.Linear(9, 6)), torch.randn(8, 6)


def encoder():
    layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), torch.randn(4, 7, 16)


def tokens():
    return FunctionalModel(lambda m, x: torch.relu(m.fc(x.reshape(-1, 5))), fc=nn.Linear(5, 7)), torch.randn(4, 6, 5)


def checkpointed(*, reentrant):
    def run(m, x):
        return m.head(checkpoint(m.body, x, use_reentrant=reentrant))

    def build():
        body = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
        return FunctionalModel(run, body=body, head=nn.Linear(9, 2)), torch.randn(16, 6, requires_grad=True)

    return build


def wide_cnn():
    """Enough positions to reduce along them first, and more elements than one block holds."""
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()), torch.randn(40, 3, 24, 24)


def channels_last():
    model, x = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 9, 3), nn.ReLU()), torch.randn(4, 3, 9, 9)
    return model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)


CASES = {
    "nn.ReLU": (chain(lambda: nn.Linear(6, 9), nn.ReLU, x=(32, 6)), ["linear"]),
    "nn.ReLU in place": (chain(lambda: nn.Linear(6, 9), lambda: nn.ReLU(inplace=True), x=(32, 6)), ["linear"]),
    "nn.ReLU shared": (shared, ["linear", "linear"]),
    "nn.ReLU6": (chain(lambda: nn.Linear(6, 9), nn.ReLU6, x=(32, 6)), ["linear"]),
    "F.relu": (dense(functional.relu), ["linear"]),
    "torch.relu": (dense(torch.relu), ["linear"]),
    "Tensor.relu": (dense(lambda z: z.relu()), ["linear"]),
    "Tensor.relu_": (dense(lambda z: z.relu_()), ["linear"]),
    "clamp(min=0)": (dense(lambda z: z.clamp(min=0)), ["linear"]),
    "F.threshold": (dense(lambda z: functional.threshold(z, 0.0, 0.0)), ["linear"]),
    "squared ReLU": (dense(lambda z: functional.relu(z).square()), ["linear"]),
    "TransformerEncoderLayer": (encoder, ["linear"] * 3),
    "BatchNorm before": (chain(lambda: nn.Linear(6, 9), lambda: nn.BatchNorm1d(9), nn.ReLU, x=(32, 6)), ["batchnorm"]),
    "LayerNorm before": (chain(lambda: nn.Linear(6, 9), lambda: nn.LayerNorm(9), nn.ReLU, x=(32, 6)), ["none"]),
    "residual sum into it": (residual, ["linear", "residual"]),
    "Conv1d": (chain(lambda: nn.Conv1d(4, 6, 3), nn.ReLU, x=(8, 4, 17)), ["linear"]),
    "Conv2d": (chain(lambda: nn.Conv2d(3, 6, 3), nn.ReLU, x=(8, 3, 9, 9)), ["linear"]),
    "Conv2d, few positions": (chain(lambda: nn.Conv2d(3, 6, 3), nn.ReLU, x=(8, 3, 4, 4)), ["linear"]),
    "Conv2d, many positions": (wide_cnn, ["linear"]),
    "Conv3d": (chain(lambda: nn.Conv3d(2, 4, 3), nn.ReLU, x=(4, 2, 5, 5, 5)), ["linear"]),
    "ConvTranspose1d": (chain(lambda: nn.ConvTranspose1d(4, 6, 3), nn.ReLU, x=(8, 4, 17)), ["none"]),
    "sequences": (chain(lambda: nn.Linear(5, 7), nn.ReLU, x=(6, 11, 5)), ["linear"]),
    "flattened tokens": (tokens, ["linear"]),
    "channels_last": (channels_last, ["linear", "linear"]),
    "checkpointing, reentrant": (checkpointed(reentrant=True), ["linear"]),
    "checkpointing, not reentrant": (checkpointed(reentrant=False), ["linear"]),
    "frozen layer": (frozen, ["linear", "linear"]),
    "LoRA-like wrapper": (lambda: (nn.Sequential(LoraLinear(), nn.ReLU()), torch.randn(32, 6)), ["none"]),
    "LoRA by inheritance": (lambda: (nn.Sequential(LoraInherited(6, 9), nn.ReLU()), torch.randn(32, 6)), ["none"]),
    "one example": (lambda: (nn.Sequential(nn.Linear(6, 9), nn.ReLU()), torch.randn(6)), ["linear"]),
}
MISSING = {"batchnorm": "normalised", "residual": "sum", "none": "producer"}


def one_step(model, x, memory, *, prepare=lambda model: None, forward=lambda model, x: model(x), **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True, **options) as monitor, Executions() as executions:
        prepare(model)
        executions.preactivations.clear()
        forward(model, x).float().square().mean().backward()
        optimizer.step()
        rows = monitor.coverage()
    return executions.preactivations, rows


@pytest.mark.parametrize("name", CASES)
def test_every_execution_is_a_layer_with_exact_counts_and_names_what_is_missing(name, memory):
    build, splits = CASES[name]
    torch.manual_seed(1)
    model, x = build()
    executions, rows = one_step(model, x, memory)
    assert len(executions) == len(rows) == len(splits)
    compare([z.unsqueeze(0) if z.dim() == 1 else z for z in executions], rows, memory)
    assert [row["split"] for row in rows.values()] == splits
    for row in rows.values():
        missing = " ".join(row["missing"])
        assert (missing == "") == (row["split"] == "linear")
        assert MISSING.get(row["split"], "") in missing
        assert row["sampled_share"] == 1.0
    assert {row["n_unit"] for row in rows.values()} == {"positions" if name == "flattened tokens" else "examples"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_under_autocast_are_taken_in_float32(dtype, memory):
    torch.manual_seed(1)

    def forward(model, x):
        with torch.autocast("cpu", dtype):
            return model(x)

    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5), nn.ReLU())
    executions, rows = one_step(model, torch.randn(512, 6) + 3, memory, forward=forward)
    assert [row["split"] for row in rows.values()] == ["linear", "linear"]
    compare(executions, rows, memory)


def test_evaluation_and_forwards_without_gradients_are_not_counted(memory):
    def prepare(model):
        model.eval()(torch.randn(64, 6))
        with torch.no_grad():
            model.train()(torch.randn(64, 6))
        with torch.inference_mode():
            model(torch.randn(64, 6))

    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU())
    executions, rows = one_step(model, torch.randn(32, 6), memory, prepare=prepare)
    compare(executions, rows, memory)
    assert memory.records("1")[0].n_examples == 32


def test_micro_batches_of_one_optimizer_step_are_one_sampled_step(memory):
    def forward(model, x):
        for micro_batch in x.split(8)[:-1]:
            model(micro_batch).square().mean().backward()
        return model(x.split(8)[-1])

    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4), nn.ReLU())
    executions, rows = one_step(model, torch.randn(32, 6), memory, forward=forward)
    assert len(executions) == 8
    compare(executions, rows, memory)
    assert memory.records("1")[0].n_examples == 32


@pytest.mark.parametrize("act", [nn.LeakyReLU(), nn.PReLU(), nn.ELU(), nn.GELU(), nn.SiLU(), nn.Softplus()])
def test_a_model_whose_activations_cannot_die_gets_one_log_line_that_says_so(act, memory, capsys):
    _, rows = one_step(nn.Sequential(nn.Linear(6, 9), act), torch.randn(8, 6), memory)
    assert [row["can_die"] for row in rows.values()] == [False]
    assert [r for r in memory.records() if r.layer_id] == []
    assert capsys.readouterr().err.count("can die: nothing to watch") == 1


def test_relu_modules_that_no_forward_uses_are_listed(memory, capsys):
    model = FunctionalModel(lambda m, x: torch.relu(m.fc(x)), fc=nn.Linear(6, 9), spare=nn.ReLU())
    _, rows = one_step(model, torch.randn(8, 6), memory)
    assert rows["spare"]["observed"] == "never"
    assert {tuple(upload.coverage.unused) for upload in memory.uploads if upload.coverage} == {("spare",)}
    assert "1/2 ReLUs (not used: spare)" in capsys.readouterr().err


def test_layers_skipped_by_routing_alternation_or_freezing_are_not_missing(memory):
    experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.ReLU()) for _ in range(3))
    turn = itertools.count()

    def forward(m, x):
        expert = next(turn) % 3 if next(turn) < 60 else 0
        return m.experts[expert](x)

    model = FunctionalModel(forward, experts=experts)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for step in range(40):
            model.experts[1].train(mode=step < 20)
            model(torch.randn(8, 6)).sum().backward()
            optimizer.step()
    assert all(record.n_examples or not record.layer_id for record in memory.records())


def test_a_layer_that_is_no_longer_observed_is_reported_once_and_recorded_again_later(memory):
    state = {"act": torch.relu}
    model = FunctionalModel(lambda m, x: state["act"](m.fc(x)), fc=nn.Linear(6, 9))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for step in range(30):
            state["act"] = torch.tanh if 10 <= step < 20 else torch.relu
            model(torch.randn(8, 6)).sum().backward()
            optimizer.step()
            if step == 19:
                assert "no longer observed" in monitor.coverage()["relu"]["missing"][0]
    empty = [record.step for record in memory.records("relu") if not record.n_examples]
    assert empty == [15]
    assert memory.records("relu")[-1].step == 30
