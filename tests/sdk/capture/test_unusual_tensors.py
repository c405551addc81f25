"""Transforms of torch.func, sparse and nested tensors, subclasses, other inputs: counted or named, never an error."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from tests.helpers.small_nets import Net, batches, hidden, watch_steps


def test_per_example_gradients_under_vmap_are_counted_exactly(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    x = torch.randn(16, 6)

    def loss(values, example):
        return torch.func.functional_call(model, values, (example.unsqueeze(0),)).square().sum()

    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
        model(x).sum().backward()
        optimizer.step()
        assert [row["units"] for row in monitor.coverage().values()] == [9]
    record = memory.records("1")[0]
    assert record.n_examples == 32
    assert record.arrays()["active"].tolist() == (2 * (model[0](x) > 0).sum(0)).tolist()


def test_an_ensemble_under_vmap_is_named_as_not_observed_and_is_no_error(memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1))
    members = [nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1)) for _ in range(3)]
    parameters, _ = torch.func.stack_module_state(members)
    optimizer = torch.optim.SGD(list(parameters.values()), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(5):
            outputs = torch.func.vmap(
                lambda values, x: torch.func.functional_call(model, values, (x,)), in_dims=(0, None)
            )(parameters, torch.randn(16, 6))
            outputs.square().mean().backward()
            optimizer.step()
        rows = monitor.coverage()
        assert monitor.sdk_stats()["errors"] == 0
    assert list(rows) == ["1"]
    assert "vmap over weights" in rows["1"]["missing"][0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised by torch itself when it loads its decompositions
@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev, torch.func.hessian])
def test_transforms_of_torch_func_cause_no_error(transform, memory):
    model = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9, track_running_stats=False), nn.ReLU(), nn.Linear(9, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(3):
            transform(lambda x: model(x).sum())(torch.randn(4, 6))
            model(torch.randn(4, 6)).sum().backward()
            optimizer.step()
        assert [row["units"] for row in monitor.coverage().values()] == [9]


class GraphNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 9))
        self.fc = nn.Linear(9, 2)

    def forward(self, x, adjacency):
        return self.fc(functional.relu(torch.sparse.mm(adjacency, torch.sparse.mm(x, self.weight))))


def test_sparse_inputs_cause_no_error_and_hide_no_layer(memory):
    x, adjacency = torch.randn(8, 6).relu().to_sparse(), torch.eye(8).to_sparse()
    rows = watch_steps(GraphNet(), [(x, adjacency)] * 12)
    assert [row["units"] for row in rows.values()] == [9]
    assert len(memory.records("relu")) == 12


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_are_named_as_not_observed(layout, memory):
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 9)

        def forward(self, x):
            return torch.relu(self.fc(x))

    model = Nested()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(2):
            x = torch.nested.nested_tensor([torch.randn(3, 6), torch.randn(5, 6)], layout=layout)
            torch.nested.to_padded_tensor(model(x), 0.0).sum().backward()
            optimizer.step()
        rows = monitor.coverage()
    assert "nested" in rows["relu"]["missing"][0]


class Tagged(torch.Tensor):
    """A subclass with a word of its own, as those of fastai, MONAI and torchvision."""


class Loud(torch.Tensor):
    """A subclass that must not notice any call but the model's own."""

    calls: list[str]

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        LOUD.append(getattr(func, "__name__", "?"))
        return super().__torch_function__(func, types, args, kwargs or {})


LOUD: list[str] = []


def test_tensor_subclasses_are_measured_and_see_no_call_of_ours(memory):
    def calls(watch):
        LOUD.clear()
        model = Net(hidden)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with relumine.watch(model, optimizer, every=1, strict=True, mode=None if watch else "disabled"):
            for _ in range(3):
                model(torch.ones(8, 6).as_subclass(Loud)).sum().backward()
                optimizer.step()
        return list(LOUD)

    bare = calls(watch=False)
    assert calls(watch=True) == bare
    assert len(memory.records("relu")) == 3
    rows = watch_steps(Net(hidden), [(torch.randn(8, 6).as_subclass(Tagged),)] * 3)
    assert [row["units"] for row in rows.values()] == [9]


class Batch:
    """An input that is no tensor and no container."""

    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize(
    "batch", [Batch(torch.randn(8, 6)), {"x": torch.randn(8, 6)}, [torch.randn(8, 6), "words", None, 3]]
)
def test_inputs_that_are_no_tensors_cause_no_error(batch, memory):
    def run(m, given):
        x = given.x if isinstance(given, Batch) else given["x"] if isinstance(given, dict) else given[0]
        return hidden(m, x)

    rows = watch_steps(Net(run), [(batch,)] * 2)
    assert [row["units"] for row in rows.values()] == [9]


def test_tensors_of_inference_mode_in_a_training_forward_cause_no_error(memory):
    def run(m, x):
        with torch.inference_mode():
            target = functional.relu(m.fc(x))
        return hidden(m, x) - target.clone()

    rows = watch_steps(Net(run), batches(8, 8))
    assert rows["relu"]["units"] == 9


def test_no_warning_of_the_user_is_shown_twice(memory):
    """Changing the filters makes Python forget which warnings it has shown."""
    model = Net(hidden)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compiled = torch.compile(model, backend="eager")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        compiled(torch.randn(8, 6)).sum().backward()  # dynamo changes the filters itself while it compiles
        with relumine.watch(compiled, optimizer, every=2, strict=True):
            for _ in range(8):
                warnings.warn("the user's", UserWarning, stacklevel=1)
                compiled(torch.randn(8, 6)).sum().backward()
                optimizer.step()
        filters = list(warnings.filters)
    assert len([item for item in shown if str(item.message) == "the user's"]) == 1
    assert not [item for item in shown if "global hooks" in str(item.message)]
    assert not [item for item in filters if "global hooks" in str(item[1])]
