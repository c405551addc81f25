"""What an alert tells of: which layer, how much of it is lost, since when, and whether it is so still."""

from __future__ import annotations

from torch import nn

from relumine.remedies._survey import Found, Inputs, Survey
from relumine.views import Alert

COLLAPSED = ("dead", "born_dead", "constant_output")
"""Kinds of alerts that speak of the loss of a whole layer, or of the model."""
A_LITTLE = 10
"""Steps before an input is seen to change in which it may have changed already: not each step is looked at."""


def layer_of(alert: Alert) -> list[str]:
    """The layer's name, for ``layers=``.

    Raises:
        ValueError: the alert speaks of the run.
    """
    if alert.layer is None:
        raise ValueError("the alert speaks of no layer")
    return [alert.layer]


def mostly_lost(alert: Alert) -> bool:
    """Whether at least half of the layer is gone, as the alert has it."""
    units, silent = alert.evidence.get("units") or 0, alert.evidence.get("units_silent") or 0
    return alert.kind in COLLAPSED or 0 < units <= 2 * silent


def returns_to(alert: Alert) -> bool:
    """Whether its lower rate is the one at which the layer was alive."""
    sound = (alert.evidence.get("learning_rate") or {}).get("before")
    return sound is not None and any(
        (one.action, one.value) == ("lower_learning_rate", sound) for one in alert.remedies
    )


def before(alert: Alert, heard: int, patience: int) -> int:
    """A step that lies before the trouble, counted like ``heard``, the one after which the alert was heard.

    A little before the input changed, where that is the cause and known; a patience before the rate changed; or two
    before the alert. Below 0 where it changed before anything was counted.
    """
    evidence = alert.evidence
    fed_at = (evidence.get("input") or {}).get("changed_at_step")
    if alert.cause == "input_shift" and fed_at is not None:
        return _some_before(heard - max(0, alert.opened_step - int(fed_at)), A_LITTLE)
    changed_at = (evidence.get("learning_rate") or {}).get("changed_at_step")
    if changed_at is None:
        return max(0, heard - 2 * patience)
    return _some_before(heard - max(0, alert.opened_step - int(changed_at)), patience)


def _some_before(step: int, margin: int) -> int:
    return max(0, step - margin) if step > 0 else -1


def fire_again(model: nn.Module, inputs: Inputs, alert: Alert) -> bool:
    """Whether at least half of the alert's layer fires on these inputs; of the run, at least half of every layer."""
    found, _ = Survey(model, inputs).look()
    told = [one for one in found.values() if alert.layer in (None, one.name)]
    return bool(told) and all(_mostly_fires(one) for one in told)


def _mostly_fires(found: Found) -> bool:
    return found.finite and 2 * len(found.dead) <= len(found.active)
