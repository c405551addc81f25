"""Units that cannot be revived without touching what others read are left alone, and that is said."""

from __future__ import annotations

import copy

import pytest
import torch
from dying_models import kill
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from relumine.remedies import revive_


class Returned(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = functional.relu(self.first(x))
        return {"out": self.last(h), "features": h}


class Elsewhere(Returned):
    """The activation goes elsewhere too: where, ``how`` says."""

    def __init__(self, how):
        super().__init__()
        self.how, self.norm, self.buffer = how, nn.BatchNorm1d(8), torch.zeros(64, 16)

    def forward(self, x):
        h = functional.relu(self.first(x))
        return self.last(self.how(self, h))


def _into_buffer(model, h):
    kept = model.buffer.clone()
    kept[:, :8] = h
    return kept[:, :8]


WAYS = {
    "a normalisation": (lambda model, h: model.norm(h), "batch_norm"),
    "a sum": (lambda model, h: h + h.roll(1, 1), "add"),
    "a mixing of units": (lambda model, h: h.reshape(2, -1, 8).transpose(0, 1).reshape(8, -1).T, "get"),
    "an assignment": (_into_buffer, "setitem"),
    "a change in place": (lambda model, h: h.add_(1.0), "add"),
    "a join": (lambda model, h: torch.cat([h[:, :4], h[:, 4:]], 1), "cat"),
    "a number": (lambda model, h: h * float(h.max().item() > 0), "max"),
}


@pytest.mark.parametrize("way", WAYS)
def test_where_units_are_read_by_something_else_they_are_left_alone_and_that_is_said(way):
    how, what = WAYS[way]
    torch.manual_seed(1)
    model, x = Elsewhere(how), torch.randn(64, 6)
    kill(model.first, 3)
    before = copy.deepcopy(model.state_dict())
    done = revive_(model, x)
    assert done.changes == ()
    assert done.notes[0].startswith("relu: 1 unit left alone: it is read by")
    assert what in done.notes[0]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert revive_(model, x, preserve=False).units == {"relu": (3,)}


def test_an_activation_that_the_model_returns_is_left_alone():
    model = Returned()
    kill(model.first, 3)
    assert "what the model returns" in revive_(model, torch.randn(64, 6)).notes[0]


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
    "a sum before it": (Skipping, "not known which layer"),
    "tied weights": (lambda: Summed(_tie), "used elsewhere too"),
    "frozen weights": (lambda: Summed(_freeze), "frozen"),
    "weights that are computed": (lambda: Summed(lambda m: parametrizations.weight_norm(m.first)), "not known which"),
    "a pre-activation with two uses": (Twofold, "read by tanh too"),
}


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("preserve", [True, False])
def test_where_the_layer_cannot_be_changed_for_its_units_alone_it_is_left_alone(case, preserve):
    build, why = UNFIT[case]
    model = build()
    kill(model.first, 3)
    x = torch.randn(64, 8) if case != "a sum before it" else torch.rand(64, 8)
    done = revive_(model, x, preserve=preserve)
    assert done.changes == ()
    assert why in done.notes[0]


class Hidden(torch.autograd.Function):
    """What is not called through torch's functions is heard by no mode: a kernel of one's own."""

    @staticmethod
    def forward(_context, h):
        with torch._C.DisableTorchFunction():
            return h.sum(1, keepdim=True)

    @staticmethod
    def backward(_context, gradient):
        return gradient.expand(-1, 8)


def test_a_reader_that_nobody_can_see_is_noticed_by_the_output():
    class Model(Returned):
        def forward(self, x):
            h = functional.relu(self.first(x))
            return self.last(h) + Hidden.apply(h)

    model = Model()
    kill(model.first, 3)
    with pytest.warns(UserWarning, match="could not be seen: the output changed"):
        done = revive_(model, torch.randn(64, 6))
    assert done.output_change > 0.01
