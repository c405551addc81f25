"""Doing what alerts propose, for ``on_alert``: opt-in, one remedy at a time, within a budget, with a log."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections import deque
from collections.abc import Callable, Collection, Mapping
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
from relumine.remedies._rates import Schedulers, lower_learning_rate
from relumine.remedies._replace import replace_relu_
from relumine.remedies._revive import revive_
from relumine.remedies._survey import Batch, Inputs
from relumine.views import Alert, Remedy

ACTIONS = ("lower_learning_rate", "reset_bias", "reinitialize", "replace_relu")
"""What alerts propose and this can do."""
COLLAPSED = ("dead", "born_dead", "constant_output")
"""Kinds of alerts that speak of the loss of a whole layer, or of the model."""
REMEMBERED = 8
"""Training forwards whose inputs are kept: of one alone, a unit that is merely rare would look dead."""


@dataclass(frozen=True, slots=True)
class Treatment:
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
    ) -> None:
        self.log: list[Treatment] = []
        self.budget = budget
        self._model, self._optimizer, self._inputs = model, optimizer, inputs
        self._schedulers, self._cooldown, self._allow = schedulers, cooldown_steps, allow
        self._step, self._ready_at = 0, 0
        self._memory = Memory()
        self._tried: set[tuple[str | None, str]] = set()
        self._part, self._since = 1.0, 1.0  # of the rates as they would be: by now, and since the alert was heard
        self._undone = -1  # changes of the rate up to this step of the monitor are undone
        self._waiting: dict[str, float] = {}  # alerts that were put off, with the part when they were heard
        self._handles = [optimizer.register_step_post_hook(self._count)]
        if inputs is None:
            self._handles.append(model.register_forward_pre_hook(self._memory, with_kwargs=True))

    def __call__(self, alert: Alert) -> Applied | Later | None:
        """Apply the first of the alert's remedies that can be; None where none was, and the log says why.

        ``LATER`` while the last remedy has its time to work: the monitor tells the alert again as long as it fires.
        """
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
                return self._did(alert, self._with_revival(alert, done))
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

    def _with_revival(self, alert: Alert, done: Applied) -> Applied:
        """A lower rate saves who lives; those that are lost already, in any layer, stay lost: they are drawn anew."""
        if done.action != "lower_learning_rate" or "reinitialize" not in self._proposed(alert):
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
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return (
                "several processes train this model, and each would have to do the same: call the remedy in all of them"
            )
        return None

    def _try(self, alert: Alert, remedy: Remedy, reasons: list[str]) -> Applied | None:
        if remedy.action not in ACTIONS or remedy.action not in self._allow:
            reasons.append(f"{remedy.action} is not done by itself")
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they are in the notes too
                done = self._does()[remedy.action](alert, remedy)
        except ValueError as error:
            reasons.append(f"{remedy.action}: {error}")
            return None
        if not done.changes:
            reasons.append(f"{remedy.action}: {'; '.join(done.notes) or done.text}")
            return None
        return done

    def _does(self) -> Mapping[str, Callable[[Alert, Remedy], Applied]]:
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

    def _note(self, alert: Alert, action: str | None, applied: Applied | None, text: str) -> None:
        self.log.append(Treatment(self._step, alert.id, alert.layer, action, applied, text))


class Memory:
    """Remembers, without copying it, what the last training forwards took. A copied or pickled model has none of it."""

    def __init__(self) -> None:
        self._last: deque[tuple[tuple[Any, ...], dict[str, Any]]] = deque(maxlen=REMEMBERED)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The hook."""
        if module.training and torch.is_grad_enabled():
            self._last.append((args, kwargs))

    def batches(self, model: nn.Module) -> list[Batch]:
        """All that are remembered, the newest last."""
        return [_as_batch(model, args, kwargs) for args, kwargs in self._last]

    def __deepcopy__(self, _memo: dict[int, Any]) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()


def _as_batch(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Batch:
    if not kwargs:
        return args
    named = inspect.signature(model.forward).bind(*args, **kwargs)
    return {**dict(named.arguments), **kwargs} if args else kwargs


def apply(  # noqa: PLR0913 - a model, an optimizer, and options by name
    model: nn.Module,
    optimizer: Optimizer,
    *,
    inputs: Inputs | None = None,
    schedulers: Schedulers = (),
    budget: int = 3,
    cooldown_steps: int = 50,
    allow: Collection[str] = ACTIONS,
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

    Raises:
        ValueError: ``allow`` names something else.

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
    return Apply(
        model,
        unwrapped(optimizer),
        inputs=copy.copy(inputs) if isinstance(inputs, list) else inputs,
        schedulers=schedulers,
        budget=budget,
        cooldown_steps=cooldown_steps,
        allow=frozenset(allow),
    )


def _layer(alert: Alert) -> list[str]:
    if alert.layer is None:
        raise ValueError("the alert speaks of no layer")
    return [alert.layer]
