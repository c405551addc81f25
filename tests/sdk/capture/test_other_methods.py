"""A forward through another method of a watched model is observed, and leaves no mode behind."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

import relumine


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.code = nn.Linear(6, 9), nn.Linear(9, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 6), nn.ReLU())

    def encode(self, x):
        return self.code(functional.relu(self.first(x)))

    def decode(self, code):
        return self.decoder(code)

    def features(self, x):
        """The last call is the activation itself."""
        return functional.relu(self.first(x)).clone()

    def forward(self, x):
        return self.decode(self.encode(x))


class Counting(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def steps(model, forward, count=3, enter=None):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True) as monitor:
        for _ in range(count):
            loss = forward(model, torch.randn(8, 6)).square().mean()
            loss.backward()
            optimizer.step()
            assert torch.overrides._get_current_function_mode() is enter
        return monitor.coverage()


@pytest.mark.parametrize("way", ["forward", "methods", "features"])
def test_the_layers_and_counts_are_those_of_the_forward(way, memory):
    ways = {
        "forward": lambda m, x: m(x),
        "methods": lambda m, x: m.decode(m.encode(x)),
        "features": lambda m, x: m.features(x),
    }
    torch.manual_seed(1)
    model = Autoencoder()
    rows = steps(model, ways[way])
    assert set(rows) >= {"relu"}
    assert rows["relu"]["split"] == "linear"
    torch.manual_seed(0)
    for record in memory.records("relu"):
        z = model.first(torch.randn(8, 6))
        assert record.n_examples == 8
        assert record.arrays()["active"].tolist() == (z > 0).sum(0).tolist()


def test_losses_in_the_users_own_code_are_no_layers_of_the_model(memory):
    def forward(model, x):
        reconstruction = model.decode(model.encode(x))
        return functional.relu((reconstruction - x).square() - 0.1)

    rows = steps(Autoencoder(), forward)
    assert set(rows) == {"relu", "decoder.1"}


def test_a_relu_of_the_users_own_code_on_what_a_method_returned_is_named(memory):
    rows = steps(Autoencoder(), lambda m, x: functional.relu(m.encode(x)))
    assert "outside" in rows["relu (outside)"]["missing"][0]


def test_modes_that_the_user_enters_meanwhile_stay_in_their_order(memory):
    model = Autoencoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    outer, inner = Counting(), Counting()
    with relumine.watch(model, optimizer, every=1, strict=True):
        code = model.encode(torch.randn(8, 6))
        with outer, inner:
            model.decode(code).sum().backward()
            optimizer.step()
            assert torch.overrides._get_current_function_mode_stack() == [outer, inner]
            torch.zeros(1)
        assert torch.overrides._get_current_function_mode() is None
    assert outer.calls
    assert inner.calls


def test_the_mode_of_the_user_around_it_ends_with_its_block(memory):
    model = Autoencoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    mode = Counting()
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(3):
            with mode:
                loss = model.decode(model.encode(torch.randn(8, 6))).sum()
            assert mode not in torch.overrides._get_current_function_mode_stack()
            loss.backward()
            optimizer.step()
            assert torch.overrides._get_current_function_mode() is None


def test_closing_in_the_middle_of_such_a_forward_leaves_no_mode(memory):
    model = Autoencoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = relumine.watch(model, optimizer, every=1, strict=True)
    model.encode(torch.randn(8, 6))
    monitor.close()
    assert torch.overrides._get_current_function_mode() is None


CALLS = {
    "by position": lambda m, x: m(x),
    "by keyword": lambda m, x: m(x=x),
    "by a method": lambda m, x: m.decode(m.encode(x)),
}


@pytest.mark.parametrize("way", CALLS)
def test_watching_keeps_no_tensor_of_the_users_code_alive(way, memory):
    model = Autoencoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(2):
            x = torch.randn(8, 6)
            output = CALLS[way](model, x)
            output.sum().backward()
            optimizer.step()
            references = [weakref.ref(x), weakref.ref(output)]
            del x, output
            assert [reference() for reference in references] == [None, None]
