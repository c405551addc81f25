"""Setting the biases of silent units, and nothing else, so that they fire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from relumine._applied import Applied, Change, listed, plural
from relumine.remedies._survey import Found, Inputs, Survey, difference
from relumine.remedies._together import Together
from relumine.remedies._work import Work, balance_, chosen_of, numbers


def reset_bias_(
    model: nn.Module,
    inputs: Inputs,
    optimizer: Optimizer | None = None,
    *,
    layers: str | Iterable[str] | None = None,
    units: Mapping[str, Iterable[int]] | None = None,
    rate: float = 0.5,
) -> Applied:
    """Set the bias (behind a BatchNorm β) of dead units so that each fires on the share ``rate`` of outputs, in place.

    Weights stay, so this helps where the bias alone keeps units silent; the model's output changes. The optimizer's
    moments of exactly these biases are reset. Layers are treated in order of use, each on what the ones before it
    give by then. The model runs in the modes it is in. Under DistributedDataParallel every process must call this.

    Args:
        model: the module; it may be wrapped by DistributedDataParallel or torch.compile.
        inputs: what its forward takes (a tensor, a tuple of arguments or a mapping of keyword arguments), or a finite
            iterable of those.
        optimizer: whose moments are reset.
        layers: glob patterns of ReLU names, as ``watch`` and ``check`` give them; by default all.
        units: the units to treat, by layer, instead of all that are active on no input.
        rate: between 0 and 1.

    Raises:
        ValueError: ``rate`` is not between 0 and 1, the inputs hold no batch, or a given layer or unit does not exist.
        TypeError: a batch is none of the three.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate {rate} is not between 0 and 1")
    work = Work(Survey(model, inputs), Together(model), None)
    found, before = work.survey.look()
    for one in found.values():
        one.active = work.together.total(one.active)
    done: dict[str, Tensor] = {}
    for one, at in chosen_of(found, layers, units, silent_only=False):
        if len(at) and _set(work, one, at, rate):
            done[one.name] = at
    work.settle(optimizer)
    return _applied(work, found, done, before, rate)


def _set(work: Work, one: Found, units: Tensor, rate: float) -> bool:
    """Whether it could be done; if not, why is noted."""
    path = one.path
    why = "; ".join(sorted(one.faults))
    if path is not None and path.norm is None and path.bias is None:
        why = why or "it has no bias"
    if path is None or why:
        work.notes.append(f"{one.name}: {plural(len(units), 'unit')} left alone: {why}")
        return False
    balance_(work, path, one.name, units, rate, renewed=False)
    return True


def _applied(
    work: Work, found: Mapping[str, Found], done: Mapping[str, Tensor], before: list[Tensor], rate: float
) -> Applied:
    if not done:
        return Applied("reset_bias", rate, "no bias to reset", (), tuple(work.notes))
    again, after = work.survey.look()
    for name, at in done.items():
        work.changes.append(Change(name, "active_rate", numbers(at), found[name].rate(at), again[name].rate(at)))
    count = sum(len(at) for at in done.values())
    text = f"reset the bias of {plural(count, 'unit')} of {listed(list(done))} so that each fires on {100 * rate:.3g} %"
    return Applied("reset_bias", rate, text, tuple(work.changes), tuple(work.notes), difference(before, after))
