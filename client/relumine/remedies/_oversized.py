"""Layers that began with weights far beyond any usual initialization: they are drawn anew as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine import _shift
from relumine._applied import Applied, Change, listed, plural
from relumine.remedies._moments import forget
from relumine.remedies._survey import Found, Inputs, Survey, difference, linear_layers
from relumine.remedies._work import root_mean_square

OVERSIZED = 1.8
"""Times the size that He's initialization gives (normal, variance 2/fan_in: He et al. 2015)."""


def redraw_oversized_(
    model: nn.Module, inputs: Inputs, optimizer: Optimizer | None = None, *, generator: torch.Generator | None = None
) -> Applied:
    """Draw all weights of linear layers and convolutions anew whose size is far beyond He's, with biases 0, in place.

    Layers behind which a normalization takes the size out, frozen and sharded ones stay. The optimizer's moments of
    what was drawn are reset; the output changes. No changes where no layer is oversized.

    Args:
        model: the module; it may be wrapped by torch.compile.
        inputs: what its forward takes, as for ``revive_``.
        optimizer: whose moments are reset.
        generator: for the draws; by default torch's own.
    """
    survey = Survey(model, inputs)
    found, before = survey.look()
    masks: dict[nn.Parameter, Tensor] = {}
    changes: list[Change] = []
    names = []
    for name, layer in _oversized(survey.model, found):
        names.append(name)
        for label, parameter in layer.named_parameters(recurse=False):
            changes.append(_draw(name, label, parameter, generator))
            masks[parameter] = torch.ones_like(parameter, dtype=torch.bool)
    if not names:
        return Applied("reinitialize", 0.0, "no layer is oversized", ())
    told, notes = forget(optimizer, masks, survey.labels) if optimizer is not None else ([], [])
    torch.clear_autocast_cache()
    _, after = survey.look()
    text = f"drew all weights of {plural(len(names), 'layer')} anew: {listed(names)}"
    return Applied("reinitialize", float(len(names)), text, (*changes, *told), tuple(notes), difference(before, after))


def has_oversized(model: nn.Module, inputs: Inputs) -> bool:
    """Whether there is a layer to draw anew."""
    survey = Survey(model, inputs)
    return any(True for _ in _oversized(survey.model, survey.look()[0]))


def _oversized(root: nn.Module, found: Mapping[str, Found]) -> Iterator[tuple[str, nn.Module]]:
    normalized = {id(one.path.weight) for one in found.values() if one.path is not None and one.path.norm is not None}
    for name, module in linear_layers(root):
        weight = module.weight
        if not isinstance(weight, nn.Parameter) or not _shift.is_plain(weight) or not weight.requires_grad:
            continue
        if id(weight) not in normalized and root_mean_square(weight) > OVERSIZED * _usual(weight):
            yield name, module


def _draw(name: str, label: str, parameter: nn.Parameter, generator: torch.Generator | None) -> Change:
    before = root_mean_square(parameter)
    with torch.no_grad():
        if parameter.dim() > 1:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * _usual(parameter))
        else:
            parameter.zero_()
    return Change(name, label, None, before, root_mean_square(parameter))


def _usual(weight: Tensor) -> float:
    return math.sqrt(2 / weight[0].numel())
