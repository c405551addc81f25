"""Doing one remedy that an alert proposes, and bringing back those that it cannot save."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.optim import Optimizer

from relumine._applied import Applied, Change
from relumine.remedies._bias import reset_bias_
from relumine.remedies._copies import Copies
from relumine.remedies._decay import lower_weight_decay
from relumine.remedies._groups import rate_apart
from relumine.remedies._held import Rates
from relumine.remedies._memory import Memory
from relumine.remedies._oversized import has_oversized, redraw_oversized_
from relumine.remedies._owner import Do
from relumine.remedies._rates import Schedulers
from relumine.remedies._replace import replace_relu_
from relumine.remedies._revive import revive_
from relumine.remedies._survey import Inputs
from relumine.remedies._told import COLLAPSED, before, fire_again, layer_of, mostly_lost, returns_to
from relumine.views import Alert, Remedy

ACTIONS = ("lower_learning_rate", "lower_weight_decay", "reset_bias", "reinitialize", "replace_relu")
"""What alerts propose and this can do."""
SAVING = ("lower_learning_rate", "lower_weight_decay", "normalize_input", "check_loss")
"""What saves those who live, and brings nobody back."""
UNSEEN = (ValueError, TypeError, RuntimeError)
"""What running a model on remembered inputs may raise: there are none, or it does not take them any more."""


class Doing:
    """A training that is treated: its model and optimizer, the inputs it took, its copies and its rates."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        inputs: Inputs | None,
        schedulers: Schedulers,
        keep_every: int | None,
    ) -> None:
        self.memory, self.rates = Memory(), Rates(optimizer, schedulers)
        self._model, self._optimizer, self._inputs = model, optimizer, inputs
        self._copies = None if keep_every is None else Copies(model, optimizer, keep_every)
        self._undone = -1  # changes of the rate up to this step of the monitor are undone
        self._parts: dict[str, float] = {}  # of the rates, when an alert was put off

    def actions(self) -> dict[str, Do]:
        """What does each action. All raise ValueError where they cannot, having changed nothing."""
        model, optimizer = self._model, self._optimizer
        return {
            "lower_learning_rate": self._lower,
            "lower_weight_decay": lambda _, remedy: lower_weight_decay(optimizer, remedy.value or 0.0),
            "reset_bias": lambda alert, _: reset_bias_(model, self._batches(), optimizer, layers=_layers(alert)),
            "reinitialize": lambda alert, _: self._redraw(alert),
            "replace_relu": lambda alert, remedy: replace_relu_(
                model, layers=layer_of(alert), negative_slope=0.01 if remedy.value is None else remedy.value
            ),
        }

    def put_off(self, alert: Alert) -> None:
        """Its number is of the rates as they are now."""
        self._parts.setdefault(alert.id, self.rates.part)

    def settle(
        self, alert: Alert, done: Applied, *, step: int, heard: int, patience: int, redraw: bool
    ) -> tuple[Applied, bool]:
        """What comes with what was done: with a saving remedy those that are lost already, in any layer, come back.

        They are fetched from a copy of before the trouble, or drawn anew where there is none and ``redraw`` allows it.
        No copy of before a repair is kept: it would undo it. Returns what was done, and whether the training went back.
        """
        self._parts.pop(alert.id, None)
        if done.action not in SAVING:
            if self._copies is not None:
                self._copies.begin_anew(step)
            return done, False
        back = self._go_back(alert, done, heard, patience)
        if back is not None:
            text = f"{done.text}; weights and moments are those of {step - back[0]} steps ago"
            return replace(done, text=text, changes=(*done.changes, *back[1])), True
        return (self._with_revival(alert, done) if redraw else done), False

    def keep(self, step: int) -> None:
        """A copy of this step, if copies are kept and its turn has come."""
        if self._copies is not None:
            self._copies.keep(step)

    def fire_again(self, alert: Alert) -> bool:
        """Whether most of the alert's layer fires on the last inputs."""
        try:
            return fire_again(self._model, self._batches(), alert)
        except UNSEEN:
            return False

    def _go_back(self, alert: Alert, done: Applied, heard: int, patience: int) -> tuple[int, list[Change]] | None:
        if self._copies is None:
            return None
        if done.action == "lower_learning_rate" and returns_to(alert):
            sound = self._copies.go_back(heard, rate=self.rates.sound)
            if sound is not None:
                return sound
        return self._copies.go_back(before(alert, heard, patience))

    def _with_revival(self, alert: Alert, done: Applied) -> Applied:
        try:
            revived = self._revive(alert, None)
        except ValueError as error:
            return replace(done, notes=(*done.notes, str(error)))
        if not revived.changes:
            return done
        text, changes = f"{done.text}; {revived.text}", (*done.changes, *revived.changes)
        return replace(done, text=text, changes=changes, notes=(*done.notes, *revived.notes))

    def _lower(self, alert: Alert, remedy: Remedy) -> Applied:
        """By the part that the alert's own rate is to be lowered by: it may be that of one group of several."""
        rate = alert.evidence.get("learning_rate") or {}
        now, changed_at = rate.get("now"), rate.get("changed_at_step")
        if remedy.value is None or not now:
            raise ValueError("the alert holds no rate")
        factor = remedy.value / now * self._parts.get(alert.id, self.rates.part) / self.rates.part
        if factor >= 1 or (changed_at is not None and changed_at <= self._undone):
            raise ValueError("the rate was lowered as far since")
        back = returns_to(alert)
        apart = None if back or alert.layer is None else self._apart(alert.layer)
        done = self.rates.lower(factor, hold=back) if apart is None else self.rates.lower_groups(*apart)
        self._undone = alert.opened_step
        return done

    def _apart(self, layer: str) -> tuple[list[int], float] | None:
        if len(self._optimizer.param_groups) == 1:
            return None
        try:
            return rate_apart(self._model, self._batches(), self._optimizer, layer)
        except UNSEEN:  # a rate can be lowered without a look
            return None

    def _revive(self, alert: Alert, layers: list[str] | None) -> Applied:
        """Silent units; where most of a layer is lost there is no function left to preserve, only a way back."""
        return revive_(self._model, self._batches(), self._optimizer, layers=layers, preserve=not mostly_lost(alert))

    def _redraw(self, alert: Alert) -> Applied:
        """Layers that began far too large as a whole, from the start; else the units that are lost."""
        early = alert.cause == "bad_initialization" and alert.kind != "born_dead"
        if early and has_oversized(self._model, self._batches()):
            back = self._copies.go_back(0) if self._copies is not None else None
            done = redraw_oversized_(self._model, self._batches(), self._optimizer)
            return done if back is None else replace(done, text=f"{done.text}; all else is as it was at the start")
        return self._revive(alert, _layers(alert))

    def _batches(self) -> Inputs:
        inputs = self.memory.batches(self._model) if self._inputs is None else self._inputs
        if not isinstance(inputs, torch.Tensor) and not inputs:
            raise ValueError("no training forward of this model was seen, and no inputs were given")
        return inputs


def _layers(alert: Alert) -> list[str] | None:
    """All where a whole one is lost: what comes after it starves, and goes with it."""
    return None if alert.kind in COLLAPSED else layer_of(alert)
