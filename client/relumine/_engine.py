"""The working part of a monitor: counts optimizer steps, arms and harvests, hands samples to the sender.

It runs in the training thread between two steps and must be quick; what can wait is done by the sender's thread.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from relumine._applied import Applied, Later
from relumine._buffer import NUMBERS, Buffer
from relumine._clock import Clock, steps_done
from relumine._cost import Cost
from relumine._coverage import as_rows, coverage_of, describe
from relumine._device import leave
from relumine._guard import Guard, say
from relumine._hooks import Hooks
from relumine._sample import Logged, Number, Sample
from relumine._sender import Sender
from relumine._site import Site
from relumine.errors import TrainingStopped
from relumine.schedule import Schedule
from relumine.views import ENDED_WITH_RUN, Accepted, Alert
from relumine.wire import Coverage

SILENT_LOOKS = 5  # samples in a row that missed a layer whose module ran
OPEN = frozenset({"firing", "regressed"})


class Engine:
    """Ties hooks, schedule and sender to the optimizers' steps."""

    def __init__(
        self,
        hooks: Hooks,
        cost: Cost,
        optimizers: Sequence[Optimizer],
        schedule: Schedule,
        guard: Guard,
        on_alert: Callable[[Alert], object] | None,
    ) -> None:
        self.hooks, self.schedule, self.guard = hooks, schedule, guard
        guard.switch_off = self.switch_off
        self.buffer = Buffer()
        self.sender: Sender | None = None
        self.step = 0
        self._resumes = False
        self.cost = cost
        self.alerts: dict[str, Alert] = {}
        self.off = False
        self._optimizers = optimizers
        self._on_alert = on_alert
        self._put_off: list[str] = []
        self._fresh: deque[Alert] = deque()
        self._loss: Number | None = None
        self._began = time.perf_counter()
        self._pid = os.getpid()
        self._known = 0
        self._marks = 0
        self._clock = Clock(optimizers, self.after_step)
        self._groups: dict[int, tuple[Optimizer | None, int]] = {}
        self._opened: Callable[[Coverage], None] = lambda _coverage: None

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that began to watch: a forked child has the objects, but not the thread."""
        return os.getpid() == self._pid

    def resume(self, start_step: int | None) -> None:
        """Go on counting at a step; None: at the one that the optimizers remember, once they have their state back."""
        self.step, self._resumes = start_step or 0, start_step is None

    def begin(self, sender: Sender, opened: Callable[[Coverage], None]) -> None:
        """Start sending and look at the first step; ``opened`` is told what was found in it."""
        self.sender, self._opened = sender, opened
        sender.start()
        if self.schedule.is_due(self.step + 1, spent_s=0.0, elapsed_s=0.0):
            self.hooks.arm(self.step + 1)

    def after_step(self) -> None:
        """An optimizer step is over: harvest if it was sampled, decide about the next, pass on what came back."""
        if self.off or not self.is_ours:
            return
        began = time.perf_counter()
        self._guarded(self._look)
        self.cost.spent_s += time.perf_counter() - began
        if self._fresh or self._put_off:
            self._tell()  # before hooks go on again: what a callback runs is no training
        began = time.perf_counter()
        self._guarded(self._prepare)
        self.cost.spent_s += time.perf_counter() - began

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - the training must go on
            self.guard.caught("optimizer step", error)

    def _look(self) -> None:
        """Count the step, and take what was seen of it."""
        self.step += 1
        if self._resumes:
            self._resumes, self.step = False, max(self.step, steps_done(self._optimizers))
        rates = self._rates()
        self.schedule.see_rate(self.step, max(rates, default=None))
        if self.hooks.armed:
            self._harvest(rates)

    def _prepare(self) -> None:
        """Look at the next step, if that is due."""
        elapsed_s = time.perf_counter() - self._began
        if self.schedule.is_due(self.step + 1, spent_s=self.cost.spent_s, elapsed_s=elapsed_s):
            self.hooks.arm(self.step + 1)

    def _harvest(self, rates: tuple[float, ...]) -> None:
        """Take the sums of the step that just ended off the model, and the hooks with them."""
        silent = self._fallen_silent()
        self.hooks.disarm()
        with torch.no_grad():
            taken = [site.snapshot(self.step, self._rate_of(site)) for site in self.hooks.sites.values()]
            seen = self.hooks.sentinels.take()
        layers = tuple(snapshot for snapshot in taken if snapshot is not None)
        self._describe_new()
        if layers or silent or seen.expected:
            self.cost.samples += 1
            sample = Sample(self.step, layers, seen, rates, self._loss, silent, self._marks)
            self._marks = 0
            self.buffer.put(leave(sample))

    def _fallen_silent(self) -> tuple[int, ...]:
        """Layers that were missed on just as many samples in a row as make it certain."""
        silent = self.hooks.silent()
        for site in self.hooks.sites.values():
            if site.seen:
                site.absent = 0
        for site in silent:
            site.absent += 1
        return tuple(site.layer_id for site in silent if site.absent == SILENT_LOOKS)

    def _describe_new(self) -> None:
        if len(self.hooks.sites) > self._known:
            first, self._known = not self._known, len(self.hooks.sites)
            self.describe()
            if first:
                self._opened(self.coverage())
                self.buffer.wake.set()  # the first chart shall not wait

    def coverage(self) -> Coverage:
        """How much of the model is seen."""
        return coverage_of(self.hooks.sites.values(), self.hooks.names, self.hooks.stance)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The same, layer by layer."""
        return as_rows(self.hooks.sites.values(), self.hooks.names, self.hooks.stance, self.step)

    def waiting(self) -> int:
        """Looks that were neither sent nor kept nor dropped."""
        if self.sender is None:
            return 0
        lost = sum(count for reason, count in self.buffer.dropped.items() if reason != NUMBERS)
        return self.cost.samples - self.sender.sent - self.sender.backlog.looks - lost

    def overhead(self) -> float:
        """The share of the elapsed time that watching took."""
        return self.cost.spent_s / max(time.perf_counter() - self._began, 1e-9)

    def describe(self) -> None:
        """Tell the server how each layer is seen, as far as that is news."""
        if self.sender is not None:
            infos = [describe(site, self.step) for site in self.hooks.sites.values()]
            self.sender.uploads.describe(infos, self.coverage())

    def _rates(self) -> tuple[float, ...]:
        return _readable(group["lr"] for optimizer in self._optimizers for group in optimizer.param_groups)

    def _rate_of(self, site: Site) -> float | None:
        """The rate of the parameter group that holds the weights of the layer's producer."""
        place = self._groups.get(site.layer_id)
        if place is None:
            place = self._groups[site.layer_id] = self._find_group(getattr(site.producer, "weight", None))
        optimizer, group = place
        if optimizer is None or group >= len(optimizer.param_groups):
            return None
        rates = _readable([optimizer.param_groups[group]["lr"]])
        return rates[0] if rates and math.isfinite(rates[0]) else None

    def _find_group(self, weight: object) -> tuple[Optimizer | None, int]:
        for optimizer in self._optimizers:
            for index, group in enumerate(optimizer.param_groups):
                if any(parameter is weight for parameter in group["params"]):
                    return optimizer, index
        return None, 0

    def log(self, numbers: Mapping[str, Number], step: int | None) -> None:
        """Put named numbers beside the statistics; the one called ``loss`` also tells the detector about harm."""
        at = self.step if step is None else step
        for name, value in numbers.items():
            kept = value.detach().clone() if isinstance(value, torch.Tensor) else float(value)
            if name == "loss":
                self._loss = kept
            self.buffer.put(Logged(at, name, kept))

    def mark(self, name: str) -> None:
        """What comes after the present step is another training: the detector begins a new baseline."""
        self._marks += 1
        self.buffer.put(Logged(self.step, f"mark/{name}", 1.0))

    def metrics(self) -> dict[str, float]:
        """The latest look at every layer as flat numbers."""
        shares = self.sender.uploads.ledger.shares() if self.sender is not None else {}
        names = {site.layer_id: site.name for site in self.hooks.sites.values()}
        return {f"relumine/{names[i]}/{what}": value for i, one in shares.items() for what, value in one.items()}

    def answered(self, answer: Accepted) -> None:
        """Called by the sender's thread with every answer."""
        if answer.every is not None:
            self.schedule.at_least = max(1, min(answer.every, 1000))
        for alert in answer.alerts:
            before = self.alerts.get(alert.id)
            self.alerts[alert.id] = alert
            if _is_news(alert, before):
                say(f"{alert.message} {alert.url}")
                self._fresh.append(alert)

    def _tell(self) -> None:
        """Call the user's ``on_alert`` in the training thread, holding no lock."""
        again, self._put_off = self._put_off, []
        for alert_id in again:
            if self.alerts[alert_id].state != "resolved":
                self._tell_of(self.alerts[alert_id])
        while self._fresh:
            self._tell_of(self._fresh.popleft())

    def _tell_of(self, alert: Alert) -> None:
        if self._on_alert is None:
            return
        try:
            done = self._on_alert(alert)
            if isinstance(done, Applied):  # what relumine.remedies.apply returns
                self.buffer.put(Logged(self.step, f"remedy/{alert.id}/{done.action}", done.value or 0.0))
            elif isinstance(done, Later) and alert.id not in self._put_off:
                self._put_off.append(alert.id)
        except TrainingStopped:
            raise  # on purpose
        except Exception as error:  # noqa: BLE001 - the user's callback; shown, and it ends nothing
            say(f"on_alert failed, training goes on ({type(error).__name__}: {error})")

    def disown(self) -> None:
        """In a forked child: leave no hook, hold nothing; the thread and its locks stayed with the parent."""
        self.off = True
        self.hooks.disarm()
        self._clock.stop()

    def switch_off(self) -> None:
        """Leave the model and the optimizer as they were found."""
        self.off = True
        self.hooks.leave_soon()
        self._clock.stop()


def _is_news(alert: Alert, before: Alert | None) -> bool:
    """Whether the training is to hear of it: it fires, for the first time, anew, or for the worse."""
    if alert.muted_by or alert.silenced_by:
        return False
    if before is None:  # also where it was raised with the last upload, and closed with the run
        return alert.state in OPEN or alert.resolved_reason in ENDED_WITH_RUN
    was_quiet = bool(before.muted_by or before.silenced_by)
    moved = (before.state, before.severity) != (alert.state, alert.severity) or was_quiet
    return moved and alert.state in OPEN


def _readable(rates: Iterable[Any]) -> tuple[float, ...]:
    """Learning rates as numbers; one held on an accelerator is left out, reading it would wait for the device."""
    return tuple(float(r) for r in rates if not isinstance(r, torch.Tensor) or r.device.type == "cpu")
