"""Doing what alerts propose, for ``on_alert``: opt-in, one remedy at a time, within a budget, with a log."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from relumine._applied import Applied
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
        self._handles = [optimizer.register_step_post_hook(self._count)]
        if inputs is None:
            self._handles.append(model.register_forward_pre_hook(self._memory, with_kwargs=True))

    def __call__(self, alert: Alert) -> Applied | None:
        """Apply the first of the alert's remedies that can be; None where none was, and the log says why."""
        why = self._why_not(alert)
        if why is not None:
            self._note(alert, None, None, why)
            return None
        reasons: list[str] = []
        for remedy in alert.remedies:
            done = self._try(alert, remedy, reasons)
            if done is not None:
                self.budget -= 1
                self._ready_at = self._step + self._cooldown
                self._note(alert, remedy.action, done, done.text)
                say(f"{alert.layer or 'the run'}: {done.text} ({self.budget} left)")
                return done
        self._note(alert, None, None, "; ".join(reasons) or "the alert proposes nothing")
        return None

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
        if self._step < self._ready_at:
            return f"a remedy was applied less than {self._cooldown} steps ago"
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
            "reinitialize": lambda alert, _: revive_(model, self._batches(), optimizer, layers=_layer(alert)),
            "replace_relu": lambda alert, remedy: replace_relu_(
                model, layers=_layer(alert), negative_slope=0.01 if remedy.value is None else remedy.value
            ),
        }

    def _lower(self, alert: Alert, remedy: Remedy) -> Applied:
        """By the part that the alert's own rate is to be lowered by: it may be that of one group of several."""
        now = (alert.evidence.get("learning_rate") or {}).get("now")
        if remedy.value is None or not now:
            raise ValueError("the alert holds no rate")
        return lower_learning_rate(self._optimizer, factor=remedy.value / now, schedulers=self._schedulers)

    def _batches(self) -> Inputs:
        inputs = self._memory.batch(self._model) if self._inputs is None else self._inputs
        if inputs is None:
            raise ValueError("no training forward of this model was seen, and no inputs were given")
        return inputs

    def _count(self, *_: Any) -> None:
        self._step += 1

    def _note(self, alert: Alert, action: str | None, applied: Applied | None, text: str) -> None:
        self.log.append(Treatment(self._step, alert.id, alert.layer, action, applied, text))


class Memory:
    """Remembers, without copying it, what the last training forward took. A copied or pickled model has none of it."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The hook."""
        if module.training and torch.is_grad_enabled():
            self._last = (args, kwargs)

    def batch(self, model: nn.Module) -> Batch | None:
        """The last one; None where there was none."""
        if self._last is None:
            return None
        args, kwargs = self._last
        if not kwargs:
            return args
        named = inspect.signature(model.forward).bind(*args, **kwargs)
        return {**dict(named.arguments), **kwargs} if args else kwargs

    def __deepcopy__(self, _memo: dict[int, Any]) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()


def apply(  # noqa: PLR0913 - a model, an optimizer, and options by name
    model: nn.Module,
    optimizer: Optimizer,
    *,
    inputs: Inputs | None = None,
    schedulers: Schedulers = (),
    budget: int = 3,
    cooldown_steps: int = 200,
    allow: Collection[str] = ACTIONS,
) -> Apply:
    """Make an ``on_alert`` that does the first remedy of an alert that it can do, in the training thread.

    Only what was asked for happens: at most ``budget`` remedies, at least ``cooldown_steps`` apart, of the actions in
    ``allow``; alerts of severity info are left alone. Each is said in one line and logged. Where several processes
    train one model nothing is done: the alert is heard by the first of them alone.

    Args:
        model: the module that is watched.
        optimizer: its optimizer.
        inputs: for remedies that look at units; by default what the model's last training forward took.
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
