"""A compiled model is observed, without graph breaks and without recompilation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relumine

STEPS = 60
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised by dynamo itself, in some versions


@pytest.fixture(autouse=True)
def _reset_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def count_graphs():
    graphs = []

    def backend(module, _inputs):
        graphs.append(module)
        return module.forward

    return graphs, backend


def train(model, optimizer):
    torch.manual_seed(5)
    losses = []
    for _ in range(STEPS):
        loss = model(torch.randn(16, 6)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def run(mlp, backend, order, **options):
    torch._dynamo.reset()  # a test may train twice: watched and bare
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    compiled = torch.compile(model, backend=backend, fullgraph=True) if order == "before" else None
    with relumine.watch(compiled or model, optimizer, strict=True, **options) as monitor:
        if order == "after":
            compiled = torch.compile(model, backend=backend, fullgraph=True)
        losses = train(compiled, optimizer)
        rows = monitor.coverage()
    return losses, rows


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_compiled_model_is_observed_without_graph_breaks_and_compiled_once(order, mlp, memory):
    graphs, backend = count_graphs()
    losses, rows = run(mlp, backend, order)
    assert set(rows) == {"1", "3"}
    assert len(memory.records("1")) >= 6
    assert len(graphs) == 1
    bare, _ = run(mlp, count_graphs()[1], order, mode="disabled")
    assert losses == pytest.approx(bare, rel=1e-6)


class Inner(nn.Module):
    """A module class of our own: dynamo does not compile the containers of torch by themselves."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("fullgraph", [False, True])
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_module_compiled_in_place_is_observed(order, fullgraph, mlp, memory):
    graphs, backend = count_graphs()
    model = nn.Sequential(Inner(mlp()), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    if order == "before":
        model[0].compile(backend=backend, fullgraph=fullgraph)
    with relumine.watch(model, optimizer, strict=True) as monitor:
        if order == "after":
            model[0].compile(backend=backend, fullgraph=fullgraph)
        train(model, optimizer)
        assert set(monitor.coverage()) == {"0.body.1", "0.body.3", "1"}
    assert len(graphs) == 1


def test_evaluation_between_two_steps_stays_compiled(mlp, memory):
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
