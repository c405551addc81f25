"""Which of an optimizer's groups train a layer, and whether they go far faster than the others."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from relumine.remedies._survey import Inputs, Survey

APART = 4.0
"""How many times the lowest group's rate is a rate of a layer's own."""


def rate_apart(model: nn.Module, inputs: Inputs, optimizer: Optimizer, layer: str) -> tuple[list[int], float] | None:
    """The groups that hold the layer's parameters at a rate far above the lowest of all, and that one as a part of it.

    None where the layer's rates are about those of the others, or where its parameters are not known.
    """
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    found = Survey(model, inputs).look()[0].get(layer)
    if found is None or found.path is None or len(rates) == 1 or min(rates) <= 0:
        return None
    norm = found.path.norm
    own = {id(one) for one in (found.path.weight, found.path.bias, *((norm.gamma, norm.beta) if norm else ()))}
    fast = [
        index
        for index, group in enumerate(optimizer.param_groups)
        if rates[index] >= APART * min(rates) and any(id(one) in own for one in group["params"])
    ]
    return (fast, min(rates) / max(rates[index] for index in fast)) if fast else None
