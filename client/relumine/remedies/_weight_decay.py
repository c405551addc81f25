"""A lower weight decay in an optimizer's parameter groups."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch.optim import Optimizer

from relumine._torch.optimizers import chosen_groups, unwrap_optimizer
from relumine.alert_actions import Change, RemedyResult


def lower_weight_decay(
    optimizer: Optimizer, weight_decay: float = 0.0, *, groups: Iterable[int] | None = None
) -> RemedyResult:
    """Lower the weight decay of all groups that have more.

    Args:
        optimizer: the optimizer whose groups are changed.
        weight_decay: the highest decay that remains in any group.
        groups: indices of the parameter groups to lower; by default all.

    Raises:
        ValueError: no group has more, the number is negative or not finite, or there is no such group. Nothing was
            changed then.
    """
    if not (weight_decay >= 0 and math.isfinite(weight_decay)):
        raise ValueError(f"weight_decay {weight_decay} is not a finite number of at least 0")
    optimizer = unwrap_optimizer(optimizer)
    previous: dict[int, float] = {}
    for index in chosen_groups(optimizer, groups):
        decay = optimizer.param_groups[index].get("weight_decay", 0.0)
        if decay > weight_decay:
            previous[index] = float(decay)
    if not previous:
        raise ValueError(f"no group has a weight decay above {weight_decay:g}")
    for index in previous:
        optimizer.param_groups[index]["weight_decay"] = weight_decay
    changes = [Change(f"group {index}", "weight_decay", None, decay, weight_decay) for index, decay in previous.items()]
    text = f"weight decay {max(previous.values()):.4g} → {weight_decay:.4g}"
    if len(previous) > 1:
        text += f", in {len(previous)} groups"
    return RemedyResult("lower_weight_decay", weight_decay, text, tuple(changes))
