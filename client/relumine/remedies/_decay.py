"""Taking weight decay off an optimizer's groups."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch.optim import Optimizer

from relumine._applied import Applied, Change
from relumine.remedies._rates import chosen_groups


def lower_weight_decay(
    optimizer: Optimizer, weight_decay: float = 0.0, *, groups: Iterable[int] | None = None
) -> Applied:
    """Lower the weight decay of all groups that have more.

    Args:
        optimizer: whose decay.
        weight_decay: the most that is left in any group.
        groups: indices of the parameter groups to lower; by default all.

    Raises:
        ValueError: no group has more, the number is negative or not finite, or there is no such group. Nothing was
            changed then.
    """
    if not (weight_decay >= 0 and math.isfinite(weight_decay)):
        raise ValueError(f"weight_decay {weight_decay} is not a decay")
    chosen = {index: optimizer.param_groups[index] for index in chosen_groups(optimizer, groups)}
    before = {
        index: float(group["weight_decay"])
        for index, group in chosen.items()
        if group.get("weight_decay", 0.0) > weight_decay
    }
    if not before:
        raise ValueError(f"no group has a weight decay above {weight_decay:g}")
    for index in before:
        chosen[index]["weight_decay"] = weight_decay
    changes = tuple(Change(f"group {index}", "weight_decay", None, was, weight_decay) for index, was in before.items())
    text = f"weight decay {max(before.values()):.4g} → {weight_decay:.4g}"
    text += f", in {len(before)} groups" if len(before) > 1 else ""
    return Applied("lower_weight_decay", weight_decay, text, changes)
