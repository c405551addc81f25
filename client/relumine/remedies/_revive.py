"""Bringing dead units back: new incoming weights, a bias at which they fire, and an output that does not change."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._applied import Applied, Change, listed, plural
from relumine.remedies._survey import Found, Inputs, Survey, difference, size
from relumine.remedies._together import Together
from relumine.remedies._work import Work, balance_, chosen_of, numbers, rows_of

RATE = 0.5
"""Share of the outputs on which a unit is made to fire: what the variance 2/fan_in supposes (He et al. 2015)."""
NOTHING = 1e-4
"""A change of the output, as a part of its size, that rounding explains (float32; coarser types are not judged)."""
HIDDEN = "something reads these units that could not be seen: the output changed"
NO_BIAS = "has no bias: how often its units fire was left to the draw"


def revive_(  # noqa: PLR0913 - a model, inputs, an optimizer, and options by name
    model: nn.Module,
    inputs: Inputs,
    optimizer: Optimizer | None = None,
    *,
    layers: str | Iterable[str] | None = None,
    units: Mapping[str, Iterable[int]] | None = None,
    preserve: bool = True,
    generator: torch.Generator | None = None,
) -> Applied:
    """Give units that are active on no input another start, in place; nothing else of the model is touched.

    Their incoming weights are drawn anew (normal, variance 2/fan_in), their bias is set so that half of the outputs on
    these inputs are above 0, and their outgoing weights become 0: the model's output stays what it is on every input
    on which they were silent. Behind a BatchNorm γ becomes 1, β does what the bias would, and the running statistics
    of these units are those of the inputs. The optimizer's moments of exactly these entries are reset.

    The model runs in the modes it is in, a few times. Under DistributedDataParallel every process must call this; a
    unit is dead then where it is on the inputs of all, and all take over what the first one drew.

    Args:
        model: the module; it may be wrapped by DistributedDataParallel or torch.compile.
        inputs: what its forward takes (a tensor, a tuple of arguments or a mapping of keyword arguments), or a finite
            iterable of those. The more there are, the surer it is that a unit is dead.
        optimizer: whose moments are reset.
        layers: glob patterns of ReLU names, as ``watch`` and ``check`` give them; by default all.
        units: the units to revive, by layer, instead of all that are dead.
        preserve: True revives only units of which all readers are known, so that the output stays; False draws the
            outgoing weights anew too, as far as the layers that read them are known.
        generator: for the draws; by default torch's own.

    Raises:
        ValueError: the inputs hold no batch, a given layer or unit does not exist, or a given unit fires on these
            inputs and ``preserve`` is True. Nothing was changed then.
        TypeError: a batch is none of the three.
    """
    work = Work(Survey(model, inputs), Together(model), generator)
    found, before = work.survey.look()
    for one in found.values():
        one.active = work.together.total(one.active)
    chosen = chosen_of(found, layers, units, silent_only=preserve)
    done = {one.name: at for one, at in chosen if len(at) and _may(one, at, work, preserve=preserve)}
    for name, at in done.items():
        _renew(work, found[name], at, preserve=preserve)
    work.settle(optimizer)
    return _applied(work, found, done, before, preserve=preserve)


def _may(one: Found, units: Tensor, work: Work, *, preserve: bool) -> bool:
    """Whether they can be revived; if not, why is noted."""
    why = "; ".join(sorted(one.faults))
    if not one.faults and preserve and one.unknown:
        why = f"it is read by {', '.join(sorted(one.unknown))}, so the output might change (preserve=False)"
    if why:
        work.notes.append(f"{one.name}: {plural(len(units), 'unit')} left alone: {why}")
    return not why


def _renew(work: Work, one: Found, units: Tensor, *, preserve: bool) -> None:
    """One layer: the way in, the level, the way out."""
    path = one.path
    if path is None:
        return
    weight = path.weight
    rows = rows_of(weight, units)
    work.write(one.name, units, weight, rows, work.draw(int(rows.sum()), math.sqrt(2 / weight[0].numel())))
    if path.norm is not None:
        work.write(one.name, units, path.norm.gamma, rows_of(path.norm.gamma, units), torch.ones(len(units)))
    elif path.bias is None:
        work.notes.append(f"{one.name} {NO_BIAS}")
    balance_(work, path, one.name, units, RATE, renewed=True)
    for reader in one.readers.values():
        entries = reader.entries(units)
        spread = 0.0 if preserve else math.sqrt(2 / reader.weight[0].numel())
        work.write(one.name, units, reader.weight, entries, work.draw(int(entries.sum()), spread))
    if one.unknown and not preserve:
        work.notes.append(f"{one.name} is read by {', '.join(sorted(one.unknown))}: not drawn anew there")


def _applied(
    work: Work, found: Mapping[str, Found], done: Mapping[str, Tensor], before: list[Tensor], *, preserve: bool
) -> Applied:
    if not done:
        return Applied("revive", 0.0, "no unit was revived", (), tuple(work.notes))
    again, after = work.survey.look()
    changed = difference(before, after)
    for name, at in done.items():
        work.changes.append(Change(name, "active_rate", numbers(at), found[name].rate(at), again[name].rate(at)))
    if preserve and changed is not None and changed > NOTHING * max(1.0, size(before)):
        warnings.warn(f"{HIDDEN} by {changed:.3g}", stacklevel=3)
        work.notes.append(f"{HIDDEN} by {changed:.3g}")
    count = sum(len(at) for at in done.values())
    text = f"revived {plural(count, 'unit')} of {listed(list(done))}"
    text += f"; the output changed by at most {changed:.2g}" if changed is not None else ""
    return Applied("revive", float(count), text, tuple(work.changes), tuple(work.notes), changed)
