"""A compiled model is never silently empty, breaks no graph, and is not compiled again and again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relumine

STEPS = 60


def count_graphs():
    graphs = []

    def backend(module, _inputs):
        graphs.append(module)
        return module.forward

    return graphs, backend


def train(model, optimizer, loss_of):
    torch.manual_seed(5)
    losses = []
    for _ in range(STEPS):
        loss = loss_of(model(torch.randn(16, 6)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def run(mlp, backend, order, **options):
    torch._dynamo.reset()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    compiled = torch.compile(model, backend=backend, fullgraph=True) if order == "before" else None
    with relumine.watch(compiled or model, optimizer, strict=True, **options) as monitor:
        if order == "after":
            compiled = torch.compile(model, backend=backend, fullgraph=True)
        losses = train(compiled, optimizer, lambda y: y.square().mean())
        found = monitor.coverage()
    torch._dynamo.reset()
    return losses, found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # dynamo's own, on some versions
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_compiled_model_is_seen_without_a_break_and_compiled_once(order, mlp, memory):
    graphs, backend = count_graphs()
    losses, found = run(mlp, backend, order)
    assert set(found) == {"1", "3"}
    assert len(memory.records("1")) >= 6
    assert len(graphs) == 1
    bare, _ = run(mlp, count_graphs()[1], order, mode="disabled")
    assert losses == pytest.approx(bare, rel=1e-6)


class Inner(nn.Module):
    """Dynamo leaves the containers of torch alone, so the compiled module is one of our own."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_module_compiled_in_place_is_seen(mlp, memory):
    torch._dynamo.reset()
    graphs, backend = count_graphs()
    model = nn.Sequential(Inner(mlp()), nn.ReLU())
    model[0].compile(backend=backend)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with relumine.watch(model, optimizer, strict=True) as monitor:
        train(model, optimizer, lambda y: y.square().mean())
        assert set(monitor.coverage()) == {"0.body.1", "0.body.3", "1"}
    assert len(graphs) == 1
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_module_compiled_in_place_after_watch_is_seen(mlp, memory):
    torch._dynamo.reset()
    graphs, backend = count_graphs()
    model = nn.Sequential(Inner(mlp()), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with relumine.watch(model, optimizer, strict=True) as monitor:
        model[0].compile(backend=backend, fullgraph=True)
        train(model, optimizer, lambda y: y.square().mean())
        assert set(monitor.coverage()) == {"0.body.1", "0.body.3", "1"}
    assert len(graphs) == 1
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_evaluation_between_two_steps_stays_compiled(mlp, memory):
    torch._dynamo.reset()
    runs = []

    def backend(module, _inputs):
        def run(*args):
            runs.append(torch.is_grad_enabled())
            return module.forward(*args)

        return run

    model = mlp()
    compiled = torch.compile(model, backend=backend)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(5):
            compiled(torch.randn(16, 6)).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                compiled(torch.randn(16, 6))
    assert runs == [False] * 5
    assert len(memory.records("1")) == 5
    torch._dynamo.reset()
