"""Units that cannot be revived on their own, because something else depends on them, are left unchanged with a note."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from relumine.remedies._revive import revive_
from tests.helpers.dying_models import kill


class Returned(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = functional.relu(self.first(x))
        return {"out": self.last(h), "features": h}


class OtherUse(Returned):
    """The activation passes through ``use`` before the last layer."""

    def __init__(self, use):
        super().__init__()
        self.use, self.norm, self.buffer = use, nn.BatchNorm1d(8), torch.zeros(64, 16)

    def forward(self, x):
        h = functional.relu(self.first(x))
        return self.last(self.use(self, h))


def _into_buffer(model, h):
    buffer = model.buffer.clone()
    buffer[:, :8] = h
    return buffer[:, :8]


USES = {
    "a normalization": (lambda model, h: model.norm(h), "batch_norm"),
    "a sum": (lambda model, h: h + h.roll(1, 1), "add"),
    "a mixing of units": (lambda model, h: h.reshape(2, -1, 8).transpose(0, 1).reshape(8, -1).T, "get"),
    "an assignment": (_into_buffer, "setitem"),
    "a change in place": (lambda model, h: h.add_(1.0), "add"),
    "a join": (lambda model, h: torch.cat([h[:, :4], h[:, 4:]], 1), "cat"),
    "a number": (lambda model, h: h * float(h.max().item() > 0), "max"),
}


@pytest.mark.parametrize("name", USES)
def test_units_with_another_use_are_left_unchanged_with_a_note(name):
    use, call_name = USES[name]
    torch.manual_seed(1)
    model, x = OtherUse(use), torch.randn(64, 6)
    kill(model.first, 3)
    initial_state = copy.deepcopy(model.state_dict())
    result = revive_(model, x)
    assert result.changes == ()
    assert result.notes[0].startswith("relu: 1 unit left unchanged: it is read by")
    assert call_name in result.notes[0]
    assert all(torch.equal(value, initial_state[key]) for key, value in model.state_dict().items())
    assert revive_(model, x, preserve=False).units == {"relu": (3,)}


def test_an_activation_that_the_model_returns_is_left_unchanged():
    model = Returned()
    kill(model.first, 3)
    assert "the model's output" in revive_(model, torch.randn(64, 6)).notes[0]


class Summed(nn.Module):
    def __init__(self, change=lambda model: None):
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        change(self)

    def forward(self, x):
        return self.last(functional.relu(self.first(x)))


def _tie(model):
    model.last.weight = model.first.weight


def _freeze(model):
    model.first.requires_grad_(requires_grad=False)


class Skipping(Summed):
    def forward(self, x):
        return self.last(functional.relu(self.first(x) + x))


class Twofold(Summed):
    def forward(self, x):
        z = self.first(x)
        return self.last(functional.relu(z)) + self.last.bias * z.tanh()


UNFIT = {
    "a sum before it": (Skipping, "layer that computes its pre-activation is not known"),
    "tied weights": (lambda: Summed(_tie), "used elsewhere too"),
    "frozen weights": (lambda: Summed(_freeze), "frozen"),
    "weights that are computed": (
        lambda: Summed(lambda m: parametrizations.weight_norm(m.first)),
        "pre-activation is not known",
    ),
    "a pre-activation with two uses": (Twofold, "also read by tanh"),
}


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("preserve", [True, False])
def test_a_layer_whose_weights_something_else_depends_on_is_left_unchanged(case, preserve):
    build, reason = UNFIT[case]
    model = build()
    kill(model.first, 3)
    x = torch.randn(64, 8) if case != "a sum before it" else torch.rand(64, 8)
    result = revive_(model, x, preserve=preserve)
    assert result.changes == ()
    assert reason in result.notes[0]


class Hidden(torch.autograd.Function):
    """A call that bypasses torch function modes, as custom kernels do."""

    @staticmethod
    def forward(_context, h):
        with torch._C.DisableTorchFunction():
            return h.sum(1, keepdim=True)

    @staticmethod
    def backward(_context, gradient):
        return gradient.expand(-1, 8)


def test_an_untraceable_consumer_is_noticed_by_the_changed_output():
    class Model(Returned):
        def forward(self, x):
            h = functional.relu(self.first(x))
            return self.last(h) + Hidden.apply(h)

    model = Model()
    kill(model.first, 3)
    with pytest.warns(UserWarning, match="could not be traced: the output changed"):
        result = revive_(model, torch.randn(64, 6))
    assert result.output_change > 0.01
