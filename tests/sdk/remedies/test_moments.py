"""The optimizer state of changed entries is reset; that of all others stays, bit by bit."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from torch import nn, optim
from torch.nn import functional

from relumine.remedies._bias import reset_bias_
from relumine.remedies._revive import revive_
from tests.helpers.dying_models import dead_model, kill

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
    """Return a model whose units died after some steps, so that the optimizer holds moments of them."""
    model, x, dead = dead_model(case)
    optimizer = OPTIMIZERS[name](model.parameters())
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.bias.fill_(0.1)
    for _ in range(5):
        optimizer.zero_grad()
        functional.mse_loss(model(x), x[..., :2]).backward()
        optimizer.step()
    kill(model[0], *dead["1"])
    kill(model[2], *dead["3"])
    return model, x, optimizer


def dead_entries():
    """Return the entries of each parameter that belong to the dead units, written out by hand."""
    masks = {key: torch.zeros(shape, dtype=torch.bool) for key, shape in SHAPES.items()}
    masks["0.weight"][[1, 5]] = masks["0.bias"][[1, 5]] = True
    masks["2.weight"][:, [1, 5]] = masks["2.weight"][[0, 3]] = masks["2.bias"][[0, 3]] = True
    masks["4.weight"][:, [0, 3]] = True
    return masks


SHAPES = {"0.weight": (16, 6), "0.bias": (16,), "2.weight": (8, 16), "2.bias": (8,), "4.weight": (2, 8), "4.bias": (2,)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_of_the_changed_entries_are_reset_and_all_others_stay(name):
    model, x, optimizer = trained(name)
    initial = {key: copy.deepcopy(optimizer.state[parameter]) for key, parameter in model.named_parameters()}
    assert revive_(model, x, optimizer).notes == ()
    for key, parameter in model.named_parameters():
        mask = dead_entries()[key]
        for moment, value in optimizer.state[parameter].items():
            previous = initial[key][moment]
            if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
                assert value == previous, (key, moment)
                continue
            assert torch.equal(value[~mask], previous[~mask]), (key, moment)
            if not mask.any():
                continue
            expected = torch.zeros(()) if moment in FIRST else previous[~mask].double().mean().to(value.dtype)
            assert torch.allclose(value[mask], expected.expand(mask.sum()), rtol=1e-6, atol=0), (key, moment)


def test_every_moment_of_every_optimizer_of_this_torch_is_known():
    """Optimizers that do not accept plain parameters are left out."""
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


def test_an_unknown_moment_is_left_unchanged_and_named():
    model, x, _ = dead_model("perceptron")
    optimizer = optim.ASGD(model.parameters(), lr=0.01)
    functional.mse_loss(model(x), x[:, :2]).backward()
    optimizer.step()
    assert "0.weight: ax of ASGD was left unchanged" in revive_(model, x, optimizer).notes


@pytest.mark.parametrize("name", ["Adam", "Adam capturable", "Adagrad", "Rprop"])
def test_a_tensor_whose_entries_all_change_starts_over_with_its_step_count(name):
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


def test_a_parameter_that_is_not_in_the_optimizer_is_named():
    model, x, _ = dead_model("perceptron")
    optimizer = optim.SGD(model[:3].parameters(), lr=0.1)
    assert revive_(model, x, optimizer).notes == ("4.weight is not in the optimizer",)


def test_a_late_adam_moves_revived_entries_no_further_than_the_others():
    model, x, optimizer = trained("Adam")
    for state in optimizer.state.values():
        state["step"].fill_(10_000)
    revive_(model, x, optimizer)
    initial_weight = model[2].weight.detach().clone()
    optimizer.zero_grad()
    functional.mse_loss(model(x), x[:, :2]).backward()
    optimizer.step()
    step_size = (model[2].weight - initial_weight).abs()
    columns = torch.zeros(8, 16, dtype=torch.bool)
    columns[:, [1, 5]] = True
    assert 0 < step_size[columns].max() <= 0.0317  # lr * (1 - β1) / √(1 - β2), the least step after a moment of 0


def test_a_reset_bias_resets_the_moments_of_biases_only():
    model, x, optimizer = trained("Adam")
    initial = copy.deepcopy(optimizer.state_dict()["state"])
    reset_bias_(model, x, optimizer)
    for index, state in optimizer.state_dict()["state"].items():
        is_unchanged = torch.equal(state["exp_avg_sq"], initial[index]["exp_avg_sq"])
        assert is_unchanged == (index not in {1, 3})
