"""Doing what alerts propose, for ``on_alert``: opt-in, one remedy at a time, within a budget, with a log."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from relumine._applied import LATER, Applied, Later
from relumine._clock import unwrapped
from relumine._guard import say
from relumine.remedies._doing import ACTIONS, Doing
from relumine.remedies._owner import Own, by_owner
from relumine.remedies._rates import Schedulers
from relumine.remedies._survey import Inputs
from relumine.remedies._together import are_several
from relumine.views import Alert, Remedy


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
        self._doing = Doing(model, optimizer, inputs=inputs, schedulers=schedulers, keep_every=keep_every)
        self._actions = self._doing.actions() | by_owner(own)
        self._allow, self._cooldown = {*allow, *own}, cooldown_steps
        self._step, self._ready_at = 0, 0
        self._tried: set[tuple[str | None, str]] = set()
        self._waiting: set[str] = set()  # alerts that were put off
        self._heard: dict[tuple[str, bool], int] = {}  # the step at which each alert was heard first, or anew
        self._gone_back_until = -1  # alerts heard up to this step may speak of what is undone
        self._over_until: dict[str, int] = {}  # those that do, and when to look again
        self._handles = [
            optimizer.register_step_pre_hook(self._doing.rates),
            optimizer.register_step_post_hook(self._count),
        ]
        if inputs is None:
            self._handles.append(model.register_forward_pre_hook(self._doing.memory, with_kwargs=True))

    def __call__(self, alert: Alert) -> Applied | Later | None:
        """Apply the first of the alert's remedies that can be; None where none was, and the log says why.

        ``LATER`` while the last remedy has its time to work: the monitor tells the alert again as long as it fires.
        """
        self._heard.setdefault(_key(alert), self._step)
        why = self._why_not(alert)
        if why is not None:
            self._note(alert, None, None, why)
            return None
        why = self._why_later(alert)
        if why is not None:
            return self._later(alert, why)
        self._waiting.discard(alert.id)
        reasons: list[str] = []
        for remedy in self._in_order(alert):
            done = self._try(alert, remedy, reasons)
            if done is not None:
                self._tried.add((alert.layer, remedy.action))
                return self._did(alert, done)
        self._note(alert, None, None, "; ".join(reasons) or "the alert proposes nothing")
        return None

    def _why_later(self, alert: Alert) -> str | None:
        if self._step < self._ready_at:
            return f"a remedy was applied less than {self._cooldown} steps ago; then, if it still fires"
        if self._is_over(alert):
            return "it was heard of steps that are undone, and most of the layer fires again; later, if it does not"
        return None

    def _later(self, alert: Alert, why: str) -> Later:
        if alert.id not in self._waiting:
            self._waiting.add(alert.id)
            self._doing.put_off(alert)
            self._note(alert, None, None, why)
        return LATER

    def _is_over(self, alert: Alert) -> bool:
        """Whether it tells of steps that are undone, and its units fire again though it has not heard of it yet."""
        if self._heard[_key(alert)] > self._gone_back_until:
            return False
        if self._step >= self._over_until.get(alert.id, 0):
            if not self._doing.fire_again(alert):
                return False
            self._over_until[alert.id] = self._step + self._cooldown
        return True

    def _in_order(self, alert: Alert) -> list[Remedy]:
        """What was done for this layer already, and did not last, comes after what was not tried yet."""
        return sorted(alert.remedies, key=lambda remedy: (alert.layer, remedy.action) in self._tried)

    def _did(self, alert: Alert, done: Applied) -> Applied:
        redraw = "reinitialize" in self._allow and any(one.action == "reinitialize" for one in alert.remedies)
        heard = self._heard[_key(alert)]
        done, went_back = self._doing.settle(
            alert, done, step=self._step, heard=heard, patience=self._cooldown, redraw=redraw
        )
        self.budget -= 1
        self._ready_at = self._step + self._cooldown
        if went_back:
            self._gone_back_until = self._ready_at
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
        if are_several():
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
                done = self._actions[remedy.action](alert, remedy)
        except ValueError as error:
            reasons.append(f"{remedy.action}: {error}")
            return None
        if not done.changes:
            reasons.append(f"{remedy.action}: {'; '.join(done.notes) or done.text}")
            return None
        return done

    def _count(self, *_: Any) -> None:
        self._step += 1
        waits = self._waiting and self._step <= self._ready_at  # what waits for its remedy is not worth keeping
        if not waits and not are_several():
            self._doing.keep(self._step)

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
        allow: ``lower_learning_rate``, ``lower_weight_decay``, ``reset_bias``, ``reinitialize`` (``revive_``),
            ``replace_relu``.
        own: by action what you do yourself, such as ``{"normalize_input": mend}`` for an input that changed, or
            ``check_loss`` for a term of the loss that pushes units down. Called with the alert and the remedy; what it
            returns is logged, and with ``False`` it was not done.
        keep_every: steps between copies of parameters, buffers and optimizer state on the host, of which eight are
            kept, the older the farther apart. With a remedy that saves and brings nobody back, such as a lower rate
            or a mended input, the training then goes back to one; None: never.

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


def _key(alert: Alert) -> tuple[str, bool]:
    """An alert that came again speaks of something new."""
    return alert.id, alert.state == "regressed"
