"""Evidence of an alert: the layer concerned, how much of it is lost, since when, and whether it has recovered."""

from __future__ import annotations

from torch import nn

from relumine._analysis.survey import ReluInfo, ReluSurvey
from relumine._torch.forward import Inputs
from relumine.schemas.alert import Alert

WHOLE_LAYER_KINDS = ("dead", "born_dead", "constant_output")
"""Kinds of alerts about the loss of a whole layer, or of the model."""
INPUT_CHANGE_MARGIN = 10
"""Steps by which an input may have changed before the alert's step for it, since not every step is sampled."""


def layer_of(alert: Alert) -> list[str]:
    """Return the name of the alert's layer, for ``layers=``.

    Raises:
        ValueError: the alert is about the run.
    """
    if alert.layer is None:
        raise ValueError("the alert is about no layer")
    return [alert.layer]


def affected_layers(alert: Alert) -> list[str] | None:
    """Return the layers to treat: None, which means all, where a whole layer is lost, since those after it die too."""
    return None if alert.kind in WHOLE_LAYER_KINDS else layer_of(alert)


def is_mostly_lost(alert: Alert) -> bool:
    """Return True if at least half of the layer is lost by the alert's evidence."""
    units = alert.evidence.get("units") or 0
    inactive = alert.evidence.get("units_silent") or 0
    return alert.kind in WHOLE_LAYER_KINDS or 0 < units <= 2 * inactive


def restores_lr(alert: Alert) -> bool:
    """Return True if the alert proposes the learning rate of before its change, at which the layer was healthy."""
    previous_lr = (alert.evidence.get("learning_rate") or {}).get("before")
    if previous_lr is None:
        return False
    return any(remedy.action == "lower_learning_rate" and remedy.value == previous_lr for remedy in alert.remedies)


def last_good_step(alert: Alert, received_at: int, cooldown_steps: int) -> int:
    """Return a step before the problem began, in the count of ``received_at``, the step at which the alert came.

    It lies a little before the input changed, if that is the cause and the step is known; else ``cooldown_steps``
    before the learning rate changed; else twice that before the alert. It is negative for a change before the first
    counted step.
    """
    evidence = alert.evidence
    input_changed_at = (evidence.get("input") or {}).get("changed_at_step")
    if alert.cause == "input_shift" and input_changed_at is not None:
        age = max(0, alert.opened_step - int(input_changed_at))
        return _with_margin(received_at - age, INPUT_CHANGE_MARGIN)
    lr_changed_at = (evidence.get("learning_rate") or {}).get("changed_at_step")
    if lr_changed_at is None:
        return max(0, received_at - 2 * cooldown_steps)
    age = max(0, alert.opened_step - int(lr_changed_at))
    return _with_margin(received_at - age, cooldown_steps)


def _with_margin(step: int, margin: int) -> int:
    return max(0, step - margin) if step > 0 else -1


def has_recovered(model: nn.Module, inputs: Inputs, alert: Alert) -> bool:
    """Return True if at least half of the alert's layer is active on the inputs; of the run's alert, of every layer."""
    relus, _ = ReluSurvey(model, inputs).run()
    concerned = [relu for relu in relus.values() if alert.layer in (None, relu.name)]
    return bool(concerned) and all(_is_mostly_active(relu) for relu in concerned)


def _is_mostly_active(relu: ReluInfo) -> bool:
    return relu.finite and 2 * len(relu.dead) <= len(relu.active)
