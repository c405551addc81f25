"""A layer that one forward uses many times is one layer with positions; different layers stay different."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import relumine
from tests.helpers.recurrent import check_states, train

STEPS = 20


class Cell(nn.Module):
    """A recurrent cell with a ReLU, as a function or as a module."""

    def __init__(self, act):
        super().__init__()
        self.of_input, self.of_state = nn.Linear(3, 5), nn.Linear(5, 5)
        self.act = act

    def forward(self, x, state):
        return self.act(self.of_input(x) + self.of_state(state))


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        state = x.new_zeros(len(x), 5)
        self.states = []
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
            self.states.append(state)
        return self.out(state)


class InOneForward(Recurrent):
    """The same loop without a module of its own for the cell."""

    def forward(self, x):
        state = x.new_zeros(len(x), 5)
        self.states = []
        for step in range(x.shape[1]):
            state = functional.relu(self.cell.of_input(x[:, step]) + state @ self.cell.of_state.weight.t())
            self.states.append(state)
        return self.out(state)


class OfTheInput(Recurrent):
    """The producer returns the pre-activation itself: the split is known."""

    def forward(self, x):
        self.states = [functional.relu(self.cell.of_input(x[:, step])) for step in range(x.shape[1])]
        return self.out(torch.stack(self.states).mean(0))


MODELS = {
    "a cell with F.relu": lambda: Recurrent(Cell(functional.relu)),
    "a cell with nn.ReLU": lambda: Recurrent(Cell(nn.ReLU())),
    "a cell with nn.ReLU in place": lambda: Recurrent(Cell(nn.ReLU(inplace=True))),
    "nn.RNNCell": lambda: Recurrent(nn.RNNCell(3, 5, nonlinearity="relu")),
    "a loop in the forward": lambda: InOneForward(Cell(functional.relu)),
    "one producer at each step": lambda: OfTheInput(Cell(functional.relu)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_cell_over_time_is_one_layer_with_positions(name, memory):
    torch.manual_seed(0)
    model = MODELS[name]()
    rows = train(model, torch.randn(8, STEPS, 3))
    assert len(rows) == 1
    ((layer, row),) = rows.items()
    assert (row["units"], row["n_unit"]) == (5, "examples")
    records = memory.records(layer)
    assert len(records) == 3
    check_states(records[-1], torch.stack(model.states, 1).detach())


def test_the_mean_over_time_and_its_split_are_exact(memory):
    torch.manual_seed(0)
    model = OfTheInput(Cell(functional.relu))
    x = torch.randn(8, STEPS, 3)
    rows = train(model, x, steps=12)
    assert [row["split"] for row in rows.values()] == ["linear"]
    for record, before in zip(memory.records("relu")[1:], memory.records("relu"), strict=False):
        arrays, earlier = record.arrays(), before.arrays()
        shift = arrays["shift_weight"] + arrays["shift_input"] + arrays["shift_bias"]
        assert shift == pytest.approx(arrays["mean"] - earlier["mean"], abs=1e-5)
        assert abs(arrays["shift_input"]).max() < 1e-5


def test_a_hundred_time_steps_are_not_a_hundred_layers_nor_a_hundred_reductions(memory):
    from relumine._capture import unit_sums

    model = Recurrent(Cell(functional.relu))
    calls = []
    original = unit_sums.accumulate
    unit_sums.accumulate = lambda *args, **kwargs: (calls.append(1), original(*args, **kwargs))
    try:
        rows = train(model, torch.randn(4, 100, 3))
    finally:
        unit_sums.accumulate = original
    assert list(rows) == ["cell.relu"]
    assert len(calls) < 30


class Block(nn.Module):
    """A residual block with one ReLU for both of its activations."""

    def __init__(self, relu):
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(6, 6), nn.Linear(6, 6), relu

    def forward(self, x):
        y = self.second(self.relu(self.first(x)))
        y += x
        return self.relu(y)


class Loop(nn.Module):
    """Residual sums of different blocks, added in one line of a loop."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        for block in self.blocks:
            x = functional.relu(block(x) + x)
        return x


class Weights(nn.Module):
    """Layers without modules: their weights are a list."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(6, 6)) for _ in range(3))

    def forward(self, x):
        for weight in self.weights:
            x = torch.relu(x @ weight)
        return x


class Mirrored(nn.Module):
    """Two activations of one layer, in two places of the code."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x):
        h = self.fc(x)
        return functional.relu(h + 0.1) - functional.relu(-h + 0.1)


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (lambda: Block(nn.ReLU()), 2),
        (lambda: nn.Sequential(Block(act := nn.ReLU(inplace=True)), Block(act)), 4),
        (Loop, 4),
        (Weights, 3),
        (Mirrored, 2),
    ],
)
def test_different_layers_stay_different_though_they_share_a_relu_or_a_line(build, layers, memory):
    rows = train(build(), torch.randn(8, 6))
    assert len(rows) == layers
    for name in rows:
        assert [record.n_examples for record in memory.records(name)] == [8, 8, 8]
        assert [record.n_positions for record in memory.records(name)] == [8, 8, 8]


def test_a_head_shared_by_levels_of_different_size_is_one_layer(memory):
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())

        def forward(self, x):
            levels = [functional.avg_pool2d(x, size) for size in (1, 2, 4)]
            self.outputs = [self.head(level) for level in levels]
            return torch.stack([output.mean() for output in self.outputs])

    model = Pyramid()
    rows = train(model, torch.randn(4, 3, 8, 8))
    assert list(rows) == ["head.1"]
    record = memory.records("head.1")[-1]
    states = torch.cat([output.flatten(2) for output in model.outputs], 2).transpose(1, 2).detach()
    check_states(record, states)


def test_micro_batches_of_a_recurrent_layer_add_their_examples(memory):
    model = Recurrent(Cell(functional.relu))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with relumine.watch(model, optimizer, every=1, strict=True):
        for _ in range(3):
            for _ in range(2):
                model(torch.randn(4, 7, 3)).sum().backward()
            optimizer.step()
    assert [record.n_examples for record in memory.records("cell.relu")] == [8, 8, 8]
    assert [record.n_positions for record in memory.records("cell.relu")] == [56, 56, 56]
