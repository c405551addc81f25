"""``remedies.apply``: a handler for ``on_alert`` that applies what alerts propose, within a budget, and logs it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from relumine._runtime.log import logger
from relumine._torch.distributed import is_distributed
from relumine._torch.forward import Inputs
from relumine._torch.optimizers import unwrap_optimizer
from relumine.alert_actions import RETRY_LATER, RemedyResult, RetryLater
from relumine.remedies._learning_rate import Schedulers
from relumine.remedies._on_alert.actions import ACTIONS, CustomActions, RemedyActions, wrap_custom
from relumine.schemas.alert import Alert, Remedy

DISTRIBUTED = "the training is distributed: call the remedy in every process instead"
ROLLED_BACK = (
    "the alert is about steps that were rolled back, and most of the layer is active again; retried if that changes"
)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One decision about an alert: the remedy that was applied, or the reason why none was.

    ``step`` counts the optimizer's steps since ``apply``.
    """

    step: int
    alert_id: str
    layer: str | None
    action: str | None
    result: RemedyResult | None
    text: str


class RemedyHandler:
    """A function for ``on_alert``. ``log`` holds one entry per alert and decision, ``budget`` the remedies left."""

    def __init__(
        self,
        remedies: RemedyActions,
        custom_actions: CustomActions,
        *,
        allow: Collection[str],
        budget: int,
        cooldown_steps: int,
    ) -> None:
        self.log: list[LogEntry] = []
        self.budget = budget
        self._cooldown_steps = cooldown_steps
        self._allow = {*allow, *custom_actions}
        self._remedies = remedies
        self._actions = remedies.actions() | wrap_custom(custom_actions)
        self._step = 0
        self._ready_at = 0
        self._tried: set[tuple[str | None, str]] = set()
        self._postponed: set[str] = set()
        self._received_at: dict[tuple[str, bool], int] = {}
        self._rolled_back_until = -1  # alerts received up to this step may be about steps that were rolled back
        self._recovered_until: dict[str, int] = {}  # step until which such an alert's layer needs no further check
        self._handles = remedies.register_hooks(self._on_optimizer_step)

    def __call__(self, alert: Alert) -> RemedyResult | RetryLater | None:
        """Apply the first of the alert's remedies that can be applied; return None where none can, and log why.

        Return ``RETRY_LATER`` during the cooldown after a remedy: the monitor then calls again while the alert fires.
        """
        self._received_at.setdefault(_occurrence(alert), self._step)
        reason = self._reason_to_ignore(alert)
        if reason is not None:
            self._record(alert, reason)
            return None
        reason = self._reason_to_postpone(alert)
        if reason is not None:
            return self._postpone(alert, reason)
        self._postponed.discard(alert.id)
        failures: list[str] = []
        for remedy in self._untried_first(alert):
            result = self._try(alert, remedy, failures)
            if result is not None:
                self._tried.add((alert.layer, remedy.action))
                return self._complete(alert, result)
        self._record(alert, "; ".join(failures) or "the alert proposes no remedy")
        return None

    def stop(self) -> None:
        """Remove the hooks from the model and the optimizer."""
        for handle in self._handles:
            handle.remove()

    def _reason_to_ignore(self, alert: Alert) -> str | None:
        if not alert.is_open:
            return f"the alert is {alert.state}"
        if alert.severity == "info":
            return "alerts of severity info are not acted on"
        if self.budget <= 0:
            return "the budget is spent"
        if is_distributed():
            return DISTRIBUTED
        return None

    def _reason_to_postpone(self, alert: Alert) -> str | None:
        if self._step < self._ready_at:
            return f"a remedy was applied less than {self._cooldown_steps} steps ago; retried if the alert still fires"
        if self._is_rolled_back(alert):
            return ROLLED_BACK
        return None

    def _is_rolled_back(self, alert: Alert) -> bool:
        """Return True if the alert is about steps that were rolled back, and its layer has recovered.

        The layer is checked once per cooldown.
        """
        if self._received_at[_occurrence(alert)] > self._rolled_back_until:
            return False
        if self._step >= self._recovered_until.get(alert.id, 0):
            if not self._remedies.has_recovered(alert):
                return False
            self._recovered_until[alert.id] = self._step + self._cooldown_steps
        return True

    def _postpone(self, alert: Alert, reason: str) -> RetryLater:
        if alert.id not in self._postponed:
            self._postponed.add(alert.id)
            self._remedies.note_postponed(alert)
            self._record(alert, reason)
        return RETRY_LATER

    def _untried_first(self, alert: Alert) -> list[Remedy]:
        """Return the alert's remedies; those that were applied to its layer before, and did not last, come last."""
        return sorted(alert.remedies, key=lambda remedy: (alert.layer, remedy.action) in self._tried)

    def _try(self, alert: Alert, remedy: Remedy, failures: list[str]) -> RemedyResult | None:
        """Apply one remedy; add to ``failures`` why nothing was changed."""
        if remedy.action not in self._allow:
            failures.append(f"{remedy.action} is not in `allow`")
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the result's notes contain them
                result = self._actions[remedy.action](alert, remedy)
        except ValueError as error:
            failures.append(f"{remedy.action}: {error}")
            return None
        if not result.changes:
            failures.append(f"{remedy.action}: {'; '.join(result.notes) or result.text}")
            return None
        return result

    def _complete(self, alert: Alert, result: RemedyResult) -> RemedyResult:
        """Follow the remedy up, begin the cooldown, and log what was done."""
        redraw = "revive_" in self._allow and any(remedy.action == "revive_" for remedy in alert.remedies)
        result, is_restored = self._remedies.follow_up(
            alert,
            result,
            step=self._step,
            received_at=self._received_at[_occurrence(alert)],
            cooldown_steps=self._cooldown_steps,
            redraw=redraw,
        )
        self.budget -= 1
        self._ready_at = self._step + self._cooldown_steps
        if is_restored:
            self._rolled_back_until = self._ready_at
        self._record(alert, result.text, result)
        treated = alert.layer_label or "the run"
        logger.info("remedy for %s: %s (%d left in the budget)", treated, result.text, self.budget)
        return result

    def _on_optimizer_step(self, *_: Any) -> None:
        self._step += 1
        # While an alert waits for its remedy, a checkpoint would contain its problem.
        is_waiting = bool(self._postponed) and self._step <= self._ready_at
        if not is_waiting and not is_distributed():
            self._remedies.save_checkpoint_if_due(self._step)

    def _record(self, alert: Alert, text: str, result: RemedyResult | None = None) -> None:
        entry = LogEntry(
            step=self._step,
            alert_id=alert.id,
            layer=alert.layer,
            action=None if result is None else result.action,
            result=result,
            text=text,
        )
        self.log.append(entry)


def apply(  # noqa: PLR0913 - a model, an optimizer, and options by name
    model: nn.Module,
    optimizer: Optimizer,
    *,
    inputs: Inputs | None = None,
    schedulers: Schedulers = (),
    budget: int = 3,
    cooldown_steps: int = 50,
    allow: Collection[str] = ACTIONS,
    custom_actions: CustomActions | None = None,
    checkpoint_every: int | None = None,
) -> RemedyHandler:
    """Return a handler for ``on_alert`` that applies the first applicable remedy of an alert, in the training thread.

    It applies at most ``budget`` remedies, at least ``cooldown_steps`` apart, of the actions in ``allow``; alerts of
    severity info are ignored. Each remedy is logged in one line. In a distributed training it does nothing, because
    only the first process receives alerts.

    Args:
        model: the module that is watched.
        optimizer: its optimizer.
        inputs: inputs for remedies that examine units; by default those of the model's last eight training forwards.
        schedulers: the schedulers of the optimizer.
        budget: number of remedies that may be applied in all.
        cooldown_steps: optimizer steps between two of them.
        allow: ``lower_learning_rate``, ``lower_weight_decay``, ``reset_bias_``, ``revive_``,
            ``replace_relu_``.
        custom_actions: your own functions by action, such as ``{"normalize_input": fix_inputs}`` for an input that
            changed, or ``check_loss`` for a term of the loss that pushes units down. Each is called with the alert and
            the remedy. What it returns is logged; with ``False`` the next remedy is tried.
        checkpoint_every: steps between copies of parameters, buffers and optimizer state on the host. Eight are kept,
            the older the farther apart. After a remedy that brings no dead unit back, such as a lower learning rate or
            repaired inputs, the training then continues from one of them. None: no copies.

    Raises:
        ValueError: ``allow`` names another action, or ``checkpoint_every`` is not positive.

    Example:
        >>> import torch, relumine
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> handler = relumine.remedies.apply(model, optimizer, budget=1)
        >>> # relumine.watch(model, optimizer, on_alert=handler); afterwards handler.log lists what was done
    """
    unknown = set(allow) - set(ACTIONS)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: only {', '.join(ACTIONS)} can be applied")
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"checkpoint_every is {checkpoint_every}: it must be at least 1 step")
    remedies = RemedyActions(
        model,
        unwrap_optimizer(optimizer),
        inputs=copy.copy(inputs) if isinstance(inputs, list) else inputs,
        schedulers=schedulers,
        checkpoint_every=checkpoint_every,
    )
    return RemedyHandler(
        remedies, dict(custom_actions or {}), allow=allow, budget=budget, cooldown_steps=cooldown_steps
    )


def _occurrence(alert: Alert) -> tuple[str, bool]:
    """Return the key of one occurrence of an alert: one that fires again after it was resolved is another."""
    return alert.id, alert.state == "regressed"
