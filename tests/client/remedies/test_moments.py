"""An optimizer forgets the entries that were touched, and remembers all others bit by bit."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from dying_models import dead_model, kill
from torch import nn, optim
from torch.nn import functional

from relumine.remedies import reset_bias_, revive_

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "AdamW amsgrad": lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
    "Adam capturable": lambda p: optim.Adam(p, lr=torch.tensor(0.01), foreach=False),
    "RMSprop centered": lambda p: optim.RMSprop(p, lr=0.001, momentum=0.9, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.01, initial_accumulator_value=0.1),
    "Adadelta": optim.Adadelta,
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "RAdam": lambda p: optim.RAdam(p, lr=0.01),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01),
    "Rprop": lambda p: optim.Rprop(p, lr=0.01),
}
FIRST = {"momentum_buffer", "exp_avg", "grad_avg", "prev"}


def trained(name, case="perceptron"):
    """A model whose units died after some steps, so that moments of theirs are left."""
    model, x, dead = dead_model(case)
    optimizer = OPTIMIZERS[name](model.parameters())
    alive = [(layer, layer.bias.detach().clone()) for layer in (model[0], model[2])]
    with torch.no_grad():
        for layer, _ in alive:
            layer.bias.fill_(0.1)
    for _ in range(5):
        optimizer.zero_grad()
        functional.mse_loss(model(x), x[..., :2]).backward()
        optimizer.step()
    kill(model[0], *dead["1"])
    kill(model[2], *dead["3"])
    return model, x, optimizer


def masks():
    """The entries of each parameter that belong to the dead units, written out by hand."""
    found = {key: torch.zeros(shape, dtype=torch.bool) for key, shape in SHAPES.items()}
    found["0.weight"][[1, 5]] = found["0.bias"][[1, 5]] = True
    found["2.weight"][:, [1, 5]] = found["2.weight"][[0, 3]] = found["2.bias"][[0, 3]] = True
    found["4.weight"][:, [0, 3]] = True
    return found


SHAPES = {"0.weight": (16, 6), "0.bias": (16,), "2.weight": (8, 16), "2.bias": (8,), "4.weight": (2, 8), "4.bias": (2,)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_of_the_touched_entries_are_reset_and_all_others_stay(name):
    model, x, optimizer = trained(name)
    before = {key: copy.deepcopy(optimizer.state[one]) for key, one in model.named_parameters()}
    done = revive_(model, x, optimizer)
    assert done.notes == ()
    for key, parameter in model.named_parameters():
        mask = masks()[key]
        for moment, value in optimizer.state[parameter].items():
            was = before[key][moment]
            if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
                assert value == was, (key, moment)
                continue
            assert torch.equal(value[~mask], was[~mask]), (key, moment)
            if not mask.any():
                continue
            expected = torch.zeros(()) if moment in FIRST else was[~mask].double().mean().to(value.dtype)
            assert torch.allclose(value[mask], expected.expand(mask.sum()), rtol=1e-6, atol=0), (key, moment)


def test_every_moment_that_this_torch_keeps_is_known():
    """Of each optimizer of torch that takes plain parameters."""
    kinds = [kind for _, kind in inspect.getmembers(optim, inspect.isclass) if issubclass(kind, optim.Optimizer)]
    left_out = {"Optimizer", "LBFGS", "SparseAdam", "ASGD", "Muon", "Adafactor"}
    for kind in kinds:
        if kind.__name__ in left_out:
            continue
        model, x, _ = dead_model("perceptron")
        optimizer = kind(model.parameters(), lr=0.01)
        functional.mse_loss(model(x), x[:, :2]).backward()
        optimizer.step()
        assert revive_(model, x, optimizer).notes == (), kind


def test_a_moment_that_is_not_known_is_left_and_named():
    model, x, _ = dead_model("perceptron")
    optimizer = optim.ASGD(model.parameters(), lr=0.01)
    functional.mse_loss(model(x), x[:, :2]).backward()
    optimizer.step()
    assert "0.weight: ax of ASGD was left as it is" in revive_(model, x, optimizer).notes


@pytest.mark.parametrize("name", ["Adam", "Adam capturable", "Adagrad", "Rprop"])
def test_a_tensor_touched_as_a_whole_begins_anew_with_its_step_count(name):
    model, x, optimizer = trained(name)
    kill(model[0], *range(16))
    revive_(model, x, optimizer)
    state = optimizer.state[model[0].weight]
    fresh = OPTIMIZERS[name]([nn.Parameter(torch.zeros(16, 6))])
    fresh.param_groups[0]["params"][0].grad = torch.zeros(16, 6)
    start = {"exp_avg": 0.0, "exp_avg_sq": 0.0, "sum": 0.1, "prev": 0.0, "step_size": 0.01, "step": 0.0}
    for moment, value in state.items():
        assert torch.equal(torch.as_tensor(value), torch.full_like(torch.as_tensor(value), start[moment]))
    assert float(optimizer.state[model[4].bias]["step"]) == 5


def test_a_parameter_that_the_optimizer_does_not_hold_is_named():
    model, x, _ = dead_model("perceptron")
    optimizer = optim.SGD(model[:3].parameters(), lr=0.1)
    assert revive_(model, x, optimizer).notes == ("4.weight is not in the optimizer",)


def test_a_late_adam_moves_revived_entries_no_further_than_the_others():
    model, x, optimizer = trained("Adam")
    for state in optimizer.state.values():
        state["step"].fill_(10_000)
    revive_(model, x, optimizer)
    before = model[2].weight.detach().clone()
    optimizer.zero_grad()
    functional.mse_loss(model(x), x[:, :2]).backward()
    optimizer.step()
    moved = (model[2].weight - before).abs()
    columns = torch.zeros(8, 16, dtype=torch.bool)
    columns[:, [1, 5]] = True
    assert 0 < moved[columns].max() <= 0.0317  # lr * (1 - β1) / √(1 - β2): what a moment of 0 would give at least


def test_a_reset_bias_resets_moments_of_biases_alone():
    model, x, optimizer = trained("Adam")
    before = copy.deepcopy(optimizer.state_dict()["state"])
    reset_bias_(model, x, optimizer)
    for index, state in optimizer.state_dict()["state"].items():
        same = torch.equal(state["exp_avg_sq"], before[index]["exp_avg_sq"])
        assert same == (index not in {1, 3})
