"""Doing what alerts propose, for ``on_alert``: opt-in, one remedy at a time, within a budget, with a log."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from relumine._applied import LATER, Applied, Later
from relumine._clock import unwrapped
from relumine._guard import say
from relumine.remedies._bias import reset_bias_
from relumine.remedies._memory import Copies, Memory, before
from relumine.remedies._owner import Do, Own, by_owner
from relumine.remedies._rates import Schedulers, lower_learning_rate
from relumine.remedies._replace import replace_relu_
from relumine.remedies._revive import revive_
from relumine.remedies._survey import Inputs
from relumine.views import Alert, Remedy

ACTIONS = ("lower_learning_rate", "reset_bias", "reinitialize", "replace_relu")
"""What alerts propose and this can do."""
COLLAPSED = ("dead", "born_dead", "constant_output")
"""Kinds of alerts that speak of the loss of a whole layer, or of the model."""
SAVING = ("lower_learning_rate", "normalize_input")
"""What saves those who live, and brings nobody back."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What was done about one alert, or why nothing was. ``step`` counts the optimizer's steps since ``apply``."""

    step: int
    alert_id: str
    layer: str | None
    action: str | None
    applied: Applied | None
    text: str


class Apply:
    """Give it to ``on_alert``; ``log`` holds what was done about each alert, in their order."""

    def __init__(  # noqa: PLR0913 - what ``apply`` takes
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        inputs: Inputs | None,
        schedulers: Schedulers,
        budget: int,
        cooldown_steps: int,
        allow: Collection[str],
        own: Own,
        keep_every: int | None,
    ) -> None:
        self.log: list[LogEntry] = []
        self.budget = budget
        self._model, self._optimizer, self._inputs = model, optimizer, inputs
        self._schedulers, self._cooldown, self._own = schedulers, cooldown_steps, by_owner(own)
        self._allow = {*allow, *own}
        self._copies = None if keep_every is None else Copies(model, optimizer, keep_every)
        self._step, self._ready_at = 0, 0
        self._memory = Memory()
        self._tried: set[tuple[str | None, str]] = set()
        self._part, self._since = 1.0, 1.0  # of the rates as they would be: by now, and since the alert was heard
        self._undone = -1  # changes of the rate up to this step of the monitor are undone
        self._waiting: dict[str, float] = {}  # alerts that were put off, with the part when they were heard
        self._heard: dict[str, int] = {}  # the step at which each alert was heard first
        self._handles = [optimizer.register_step_post_hook(self._count)]
        if inputs is None:
            self._handles.append(model.register_forward_pre_hook(self._memory, with_kwargs=True))

    def __call__(self, alert: Alert) -> Applied | Later | None:
        """Apply the first of the alert's remedies that can be; None where none was, and the log says why.

        ``LATER`` while the last remedy has its time to work: the monitor tells the alert again as long as it fires.
        """
        self._heard.setdefault(alert.id, self._step)
        why = self._why_not(alert)
        if why is not None:
            self._note(alert, None, None, why)
            return None
        if self._step < self._ready_at:
            return self._later(alert)
        self._since = self._part / self._waiting.pop(alert.id, self._part)
        reasons: list[str] = []
        for remedy in self._in_order(alert):
            done = self._try(alert, remedy, reasons)
            if done is not None:
                self._tried.add((alert.layer, remedy.action))
                return self._did(alert, self._with_the_lost(alert, done))
        self._note(alert, None, None, "; ".join(reasons) or "the alert proposes nothing")
        return None

    def _later(self, alert: Alert) -> Later:
        if alert.id not in self._waiting:
            self._waiting[alert.id] = self._part
            why = f"a remedy was applied less than {self._cooldown} steps ago; then, if it still fires"
            self._note(alert, None, None, why)
        return LATER

    def _in_order(self, alert: Alert) -> list[Remedy]:
        """What was done for this layer already, and did not last, comes after what was not tried yet."""
        return sorted(alert.remedies, key=lambda remedy: (alert.layer, remedy.action) in self._tried)

    def _with_the_lost(self, alert: Alert, done: Applied) -> Applied:
        """A lower rate saves who lives. Those that are lost already, in any layer, are fetched back or drawn anew."""
        if done.action not in SAVING:
            return done
        heard = self._heard.get(alert.id, self._step)
        back = self._copies.go_back(before(alert, heard, self._cooldown)) if self._copies else None
        if back is not None:
            step, changes = back
            text = f"{done.text}; weights and moments are those of {self._step - step} steps ago"
            return replace(done, text=text, changes=(*done.changes, *changes))
        return self._with_revival(alert, done)

    def _with_revival(self, alert: Alert, done: Applied) -> Applied:
        if "reinitialize" not in self._proposed(alert):
            return done
        try:
            revived = self._revive(alert, None)
        except ValueError as error:
            return replace(done, notes=(*done.notes, str(error)))
        if not revived.changes:
            return done
        text, changes = f"{done.text}; {revived.text}", (*done.changes, *revived.changes)
        return replace(done, text=text, changes=changes, notes=(*done.notes, *revived.notes))

    def _proposed(self, alert: Alert) -> set[str]:
        return {remedy.action for remedy in alert.remedies if remedy.action in self._allow}

    def _did(self, alert: Alert, done: Applied) -> Applied:
        self.budget -= 1
        self._ready_at = self._step + self._cooldown
        self._note(alert, done.action, done, done.text)
        say(f"{alert.layer or 'the run'}: {done.text} ({self.budget} left)")
        return done

    def stop(self) -> None:
        """Take its hooks off the model and the optimizer."""
        for handle in self._handles:
            handle.remove()

    def _why_not(self, alert: Alert) -> str | None:
        if alert.state == "resolved":
            return "the alert is over"
        if alert.severity == "info":
            return "an alert of severity info asks for nothing"
        if self.budget <= 0:
            return "the budget is spent"
        if _are_several():
            return (
                "several processes train this model, and each would have to do the same: call the remedy in all of them"
            )
        return None

    def _try(self, alert: Alert, remedy: Remedy, reasons: list[str]) -> Applied | None:
        if remedy.action not in self._allow:
            reasons.append(f"{remedy.action} is not done by itself")
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they are in the notes too
                done = (self._does() | self._own)[remedy.action](alert, remedy)
        except ValueError as error:
            reasons.append(f"{remedy.action}: {error}")
            return None
        if not done.changes:
            reasons.append(f"{remedy.action}: {'; '.join(done.notes) or done.text}")
            return None
        return done

    def _does(self) -> dict[str, Do]:
        model, optimizer = self._model, self._optimizer
        return {
            "lower_learning_rate": self._lower,
            "reset_bias": lambda alert, _: reset_bias_(model, self._batches(), optimizer, layers=_layer(alert)),
            "reinitialize": lambda alert, _: self._redraw(alert),
            "replace_relu": lambda alert, remedy: replace_relu_(
                model, layers=_layer(alert), negative_slope=0.01 if remedy.value is None else remedy.value
            ),
        }

    def _lower(self, alert: Alert, remedy: Remedy) -> Applied:
        """By the part that the alert's own rate is to be lowered by: it may be that of one group of several."""
        rate = alert.evidence.get("learning_rate") or {}
        now, changed_at = rate.get("now"), rate.get("changed_at_step")
        if remedy.value is None or not now:
            raise ValueError("the alert holds no rate")
        factor = remedy.value / now / self._since
        if factor >= 1 or (changed_at is not None and changed_at <= self._undone):
            raise ValueError("the rate was lowered as far since")
        done = lower_learning_rate(self._optimizer, factor=factor, schedulers=self._schedulers)
        self._part *= factor
        self._undone = alert.opened_step
        return done

    def _revive(self, alert: Alert, layers: list[str] | None) -> Applied:
        """Silent units; where most of a layer is lost there is no function left to preserve, only a way back."""
        units, silent = alert.evidence.get("units") or 0, alert.evidence.get("units_silent") or 0
        lost = alert.kind in COLLAPSED or 0 < units <= 2 * silent
        return revive_(self._model, self._batches(), self._optimizer, layers=layers, preserve=not lost)

    def _redraw(self, alert: Alert) -> Applied:
        """The layer's units; of a layer that collapsed, the model's: what comes after it starves, and goes with it."""
        return self._revive(alert, None if alert.kind in ("dead", "constant_output") else _layer(alert))

    def _batches(self) -> Inputs:
        inputs = self._memory.batches(self._model) if self._inputs is None else self._inputs
        if not isinstance(inputs, torch.Tensor) and not inputs:
            raise ValueError("no training forward of this model was seen, and no inputs were given")
        return inputs

    def _count(self, *_: Any) -> None:
        self._step += 1
        waits = self._waiting and self._step <= self._ready_at  # what waits for its remedy is not worth keeping
        if self._copies is not None and not waits and not _are_several():
            self._copies.keep(self._step)

    def _note(self, alert: Alert, action: str | None, applied: Applied | None, text: str) -> None:
        self.log.append(LogEntry(self._step, alert.id, alert.layer, action, applied, text))


def apply(  # noqa: PLR0913 - a model, an optimizer, and options by name
    model: nn.Module,
    optimizer: Optimizer,
    *,
    inputs: Inputs | None = None,
    schedulers: Schedulers = (),
    budget: int = 3,
    cooldown_steps: int = 50,
    allow: Collection[str] = ACTIONS,
    own: Own | None = None,
    keep_every: int | None = None,
) -> Apply:
    """Make an ``on_alert`` that does the first remedy of an alert that it can do, in the training thread.

    Only what was asked for happens: at most ``budget`` remedies, at least ``cooldown_steps`` apart, of the actions in
    ``allow``; alerts of severity info are left alone. Each is said in one line and logged. Where several processes
    train one model nothing is done: the alert is heard by the first of them alone.

    Args:
        model: the module that is watched.
        optimizer: its optimizer.
        inputs: for remedies that look at units; by default what the model's last eight training forwards took.
        schedulers: those of the optimizer.
        budget: how many remedies may be applied in all.
        cooldown_steps: optimizer steps between two of them.
        allow: ``lower_learning_rate``, ``reset_bias``, ``reinitialize`` (``revive_``), ``replace_relu``.
        own: by action what you do yourself, such as ``{"normalize_input": mend}`` for an input that changed. Called
            with the alert and the remedy; what it returns is logged, and with ``False`` it was not done.
        keep_every: steps between copies of parameters, buffers and optimizer state on the host, of which the last
            four are kept. With a lower rate or a mended input the training then goes back to one; None: never.

    Raises:
        ValueError: ``allow`` names something else, or ``keep_every`` is not positive.

    Example:
        >>> import torch, relumine
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> treat = relumine.remedies.apply(model, optimizer, budget=1)
        >>> # relumine.watch(model, optimizer, on_alert=treat); afterwards treat.log says what was done
    """
    unknown = set(allow) - set(ACTIONS)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: only {', '.join(ACTIONS)} can be applied")
    if keep_every is not None and keep_every < 1:
        raise ValueError(f"keep_every is {keep_every}: it counts steps")
    return Apply(
        model,
        unwrapped(optimizer),
        inputs=copy.copy(inputs) if isinstance(inputs, list) else inputs,
        schedulers=schedulers,
        budget=budget,
        cooldown_steps=cooldown_steps,
        allow=frozenset(allow),
        own=dict(own or {}),
        keep_every=keep_every,
    )


def _are_several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _layer(alert: Alert) -> list[str]:
    if alert.layer is None:
        raise ValueError("the alert speaks of no layer")
    return [alert.layer]
