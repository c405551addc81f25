"""The remedies that alerts propose, and what follows a remedy: a restored checkpoint or revived units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from relumine._torch.forward import Inputs
from relumine.alert_actions import Change, RemedyResult
from relumine.remedies._bias import reset_bias_
from relumine.remedies._initialization import has_oversized, redraw_oversized_
from relumine.remedies._learning_rate import Schedulers
from relumine.remedies._on_alert import alert_evidence
from relumine.remedies._on_alert.alert_evidence import affected_layers, is_mostly_lost, layer_of, restores_lr
from relumine.remedies._on_alert.checkpoints import CheckpointHistory
from relumine.remedies._on_alert.lr_ceiling import LearningRateCeiling
from relumine.remedies._on_alert.param_groups import outlier_groups
from relumine.remedies._on_alert.recent_inputs import RecentInputs
from relumine.remedies._replace_relu import replace_relu_
from relumine.remedies._revive import revive_
from relumine.remedies._weight_decay import lower_weight_decay
from relumine.schemas.alert import Alert, Remedy

Action: TypeAlias = Callable[[Alert, Remedy], RemedyResult]
CustomActions: TypeAlias = Mapping[str, Callable[[Alert, Remedy], object]]
"""The user's own remedies, such as for the data, by the action that alerts propose."""

ACTIONS = ("lower_learning_rate", "lower_weight_decay", "reset_bias_", "revive_", "replace_relu_")
"""Actions that alerts propose and that are built in: each is the function of its name."""
STABILIZING = ("lower_learning_rate", "lower_weight_decay", "normalize_input", "check_loss")
"""Actions that keep active units active, and bring no dead unit back."""
FORWARD_ERRORS = (ValueError, TypeError, RuntimeError)
"""Errors of a forward on recent inputs: there are none, or the model no longer accepts them."""
DEFAULT_SLOPE = 0.01


def wrap_custom(custom_actions: CustomActions) -> dict[str, Action]:
    """Return the user's actions as functions that return a ``RemedyResult``."""
    return {action: partial(_run_custom, function) for action, function in custom_actions.items()}


def _run_custom(function: Callable[[Alert, Remedy], object], alert: Alert, remedy: Remedy) -> RemedyResult:
    outcome = function(alert, remedy)
    if outcome is False:
        return RemedyResult(remedy.action, remedy.value, "the custom action returned False", ())
    text = f"{remedy.action} by a custom action"
    if outcome is not None and outcome is not True:
        text += f": {outcome}"
    change = Change(alert.layer or "the run", remedy.action, None, None, remedy.value)
    return RemedyResult(remedy.action, remedy.value, text, (change,))


class RemedyActions:
    """The built-in actions on one training, with its recent inputs, its checkpoints and its learning rate ceiling."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        inputs: Inputs | None,
        schedulers: Schedulers,
        checkpoint_every: int | None,
    ) -> None:
        self.recent_inputs = RecentInputs()
        self.lr_ceiling = LearningRateCeiling(optimizer, schedulers)
        self._model = model
        self._optimizer = optimizer
        self._inputs = inputs
        self._checkpoints: CheckpointHistory | None = None
        if checkpoint_every is not None:
            self._checkpoints = CheckpointHistory(model, optimizer, checkpoint_every)
        self._lr_lowered_at = -1  # the alert's step, in the monitor's count, at the last reduction
        self._scale_when_postponed: dict[str, float] = {}

    def register_hooks(self, on_step: Callable[..., None]) -> list[RemovableHandle]:
        """Register ``on_step`` after each optimizer step, the ceiling before it, and the record of recent inputs."""
        handles = [
            self._optimizer.register_step_pre_hook(self.lr_ceiling),
            self._optimizer.register_step_post_hook(on_step),
        ]
        if self._inputs is None:
            handles.append(self._model.register_forward_pre_hook(self.recent_inputs, with_kwargs=True))
        return handles

    def actions(self) -> dict[str, Action]:
        """Return the built-in actions. Each raises ValueError if it cannot be applied, and has changed nothing then."""
        return {
            "lower_learning_rate": self._lower_learning_rate,
            "lower_weight_decay": self._lower_weight_decay,
            "reset_bias_": self._reset_bias,
            "revive_": self._revive_or_redraw,
            "replace_relu_": self._replace_relu,
        }

    def note_postponed(self, alert: Alert) -> None:
        """Remember the scale of the learning rates that the alert's number refers to."""
        self._scale_when_postponed.setdefault(alert.id, self.lr_ceiling.scale)

    def save_checkpoint_if_due(self, step: int) -> None:
        """Save a checkpoint of this step, if checkpoints are kept and the interval has passed."""
        if self._checkpoints is not None:
            self._checkpoints.save_if_due(step)

    def has_recovered(self, alert: Alert) -> bool:
        """Return True if most of the alert's layer is active on the recent inputs."""
        try:
            return alert_evidence.has_recovered(self._model, self._batches(), alert)
        except FORWARD_ERRORS:
            return False

    def follow_up(
        self, alert: Alert, result: RemedyResult, *, step: int, received_at: int, cooldown_steps: int, redraw: bool
    ) -> tuple[RemedyResult, bool]:
        """Bring back the units, of any layer, that a stabilizing remedy cannot.

        A checkpoint from before the problem is restored or, where there is none and ``redraw`` allows it, lost units
        are revived. After any other remedy all older checkpoints are dropped, since they would undo it.

        Returns:
            The result with the further changes, and whether a checkpoint was restored.
        """
        self._scale_when_postponed.pop(alert.id, None)
        if result.action not in STABILIZING:
            if self._checkpoints is not None:
                self._checkpoints.restart(step)
            return result, False
        restored = self._restore(alert, result, received_at, cooldown_steps)
        if restored is not None:
            restored_step, changes = restored
            text = f"{result.text}; restored weights and moments from {step - restored_step} steps ago"
            return replace(result, text=text, changes=(*result.changes, *changes)), True
        if redraw:
            result = self._with_revival(alert, result)
        return result, False

    def _restore(
        self, alert: Alert, result: RemedyResult, received_at: int, cooldown_steps: int
    ) -> tuple[int, list[Change]] | None:
        """Restore a checkpoint made at a safe learning rate, if one is known; else one from before the problem."""
        if self._checkpoints is None:
            return None
        if result.action == "lower_learning_rate" and restores_lr(alert):
            restored = self._checkpoints.restore(received_at, lr_limit=self.lr_ceiling.safe_lr)
            if restored is not None:
                return restored
        return self._checkpoints.restore(alert_evidence.last_good_step(alert, received_at, cooldown_steps))

    def _with_revival(self, alert: Alert, result: RemedyResult) -> RemedyResult:
        try:
            revival = self._revive(alert, layers=None)
        except ValueError as error:
            return replace(result, notes=(*result.notes, str(error)))
        if not revival.changes:
            return result
        return replace(
            result,
            text=f"{result.text}; {revival.text}",
            changes=(*result.changes, *revival.changes),
            notes=(*result.notes, *revival.notes),
        )

    def _lower_learning_rate(self, alert: Alert, remedy: Remedy) -> RemedyResult:
        """Lower by the factor that the alert proposes for its own learning rate, which may be that of one group."""
        evidence = alert.evidence.get("learning_rate") or {}
        current = evidence.get("now")
        changed_at = evidence.get("changed_at_step")
        if remedy.value is None or not current:
            raise ValueError("the alert has no learning rate")
        scale_of_alert = self._scale_when_postponed.get(alert.id, self.lr_ceiling.scale)
        factor = remedy.value / current * scale_of_alert / self.lr_ceiling.scale
        if factor >= 1 or (changed_at is not None and changed_at <= self._lr_lowered_at):
            raise ValueError("the learning rate has been lowered that far already")
        holds = restores_lr(alert)
        outliers = None if holds or alert.layer is None else self._outlier_groups(alert.layer)
        if outliers is None:
            result = self.lr_ceiling.lower(factor, hold=holds)
        else:
            result = self.lr_ceiling.lower_groups(*outliers)
        self._lr_lowered_at = alert.opened_step
        return result

    def _outlier_groups(self, layer: str) -> tuple[list[int], float] | None:
        if len(self._optimizer.param_groups) == 1:
            return None
        try:
            return outlier_groups(self._model, self._batches(), self._optimizer, layer)
        except FORWARD_ERRORS:  # a learning rate can be lowered without a forward
            return None

    def _lower_weight_decay(self, _alert: Alert, remedy: Remedy) -> RemedyResult:
        return lower_weight_decay(self._optimizer, remedy.value or 0.0)

    def _reset_bias(self, alert: Alert, _remedy: Remedy) -> RemedyResult:
        return reset_bias_(self._model, self._batches(), self._optimizer, layers=affected_layers(alert))

    def _replace_relu(self, alert: Alert, remedy: Remedy) -> RemedyResult:
        slope = DEFAULT_SLOPE if remedy.value is None else remedy.value
        return replace_relu_(self._model, layers=layer_of(alert), negative_slope=slope)

    def _revive_or_redraw(self, alert: Alert, _remedy: Remedy) -> RemedyResult:
        """Reinitialize layers that were far too large from the start, and all else from there; else revive units."""
        started_badly = alert.cause == "bad_initialization" and alert.kind != "born_dead"
        if started_badly and has_oversized(self._model, self._batches()):
            restored = self._checkpoints.restore(0) if self._checkpoints is not None else None
            result = redraw_oversized_(self._model, self._batches(), self._optimizer)
            if restored is not None:
                result = replace(result, text=f"{result.text}; restored everything else from the start")
            return result
        return self._revive(alert, layers=affected_layers(alert))

    def _revive(self, alert: Alert, *, layers: list[str] | None) -> RemedyResult:
        """Revive dead units; of a layer that is mostly lost there is no output left that would be worth preserving."""
        preserve = not is_mostly_lost(alert)
        return revive_(self._model, self._batches(), self._optimizer, layers=layers, preserve=preserve)

    def _batches(self) -> Inputs:
        inputs = self.recent_inputs.batches(self._model) if self._inputs is None else self._inputs
        if not isinstance(inputs, torch.Tensor) and not inputs:
            raise ValueError("no training forward of this model was recorded, and no inputs were given")
        return inputs
