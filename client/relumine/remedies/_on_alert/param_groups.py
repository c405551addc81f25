"""Parameter groups of a layer whose learning rate is far above that of the other groups."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from relumine._analysis.survey import ReluSurvey
from relumine._torch.forward import Inputs
from relumine._torch.optimizers import find_param_group

OUTLIER_FACTOR = 4.0
"""How many times the lowest learning rate makes a group an outlier."""


def outlier_groups(
    model: nn.Module, inputs: Inputs, optimizer: Optimizer, layer: str
) -> tuple[list[int], float] | None:
    """Return the groups that train the layer at a far higher learning rate, and the factor that makes it the lowest.

    Return None if the layer's learning rates are about those of the others, or its parameters are not known.
    """
    lrs = [float(group["lr"]) for group in optimizer.param_groups]
    lowest = min(lrs)
    if len(lrs) == 1 or lowest <= 0:
        return None
    groups = _groups_of_layer(model, inputs, optimizer, layer)
    outliers = [index for index in groups if lrs[index] >= OUTLIER_FACTOR * lowest]
    if not outliers:
        return None
    return outliers, lowest / max(lrs[index] for index in outliers)


def _groups_of_layer(model: nn.Module, inputs: Inputs, optimizer: Optimizer, layer: str) -> list[int]:
    """Return the indices of the groups that train the layer; none if its parameters are not known."""
    relus, _ = ReluSurvey(model, inputs).run()
    relu = relus.get(layer)
    if relu is None or relu.path is None:
        return []
    locations = [find_param_group([optimizer], parameter) for parameter in relu.path.parameters]
    return sorted({location[1] for location in locations if location is not None})
