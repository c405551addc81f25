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
from torch import nn
from torch.optim import Optimizer

from relumine._buffer import Buffer
from relumine._cost import Cost
from relumine._guard import Guard, say
from relumine._hooks import Hooks
from relumine._records import Logged, Number, Sample
from relumine._sender import Sender
from relumine._site import Site
from relumine.errors import TrainingStopped
from relumine.schedule import Schedule
from relumine.views import Accepted, Alert
from relumine.wire import LayerInfo

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
        self.cost = cost
        self.alerts: dict[str, Alert] = {}
        self.off = False
        self._optimizers = optimizers
        self._on_alert = on_alert
        self._fresh: deque[Alert] = deque()
        self._loss: Number | None = None
        self._began = time.perf_counter()
        self._pid = os.getpid()
        self._known = 0
        self._groups: dict[int, tuple[Optimizer | None, int]] = {}
        self._opened: Callable[[Iterable[Site]], None] = lambda _sites: None
        self._handles = [optimizers[0].register_step_post_hook(self._after_step)] if optimizers else []

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that began to watch: a forked child has the objects, but not the thread."""
        return os.getpid() == self._pid

    def begin(self, sender: Sender, opened: Callable[[Iterable[Site]], None]) -> None:
        """Start sending and look at the first step; ``opened`` is told the layers that were found in it."""
        self.sender, self._opened = sender, opened
        sender.start()
        if self.schedule.is_due(1, spent_s=0.0, elapsed_s=0.0):
            self.hooks.arm()

    def _after_step(self, _optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        self.after_step()

    def after_step(self) -> None:
        """An optimizer step is over: harvest if it was sampled, decide about the next, pass on what came back."""
        if self.off or not self.is_ours:
            return
        with self.guard.inside("optimizer step"):
            began = time.perf_counter()
            self.step += 1
            rates = self._rates()
            self.schedule.see_rate(self.step, max(rates, default=None))
            if self.hooks.armed:
                self._harvest(rates)
            if self.schedule.is_due(self.step + 1, spent_s=self.cost.spent_s, elapsed_s=began - self._began):
                self.hooks.arm()
            self.cost.spent_s += time.perf_counter() - began
        if self._fresh:
            self._tell()

    def _harvest(self, rates: tuple[float, ...]) -> None:
        """Take the sums of the step that just ended off the model, and its hooks with them."""
        self.hooks.disarm()
        with torch.no_grad():
            taken = [site.snapshot(self.step, self._rate_of(site)) for site in self.hooks.sites.values()]
            seen = self.hooks.sentinels.take()
        layers = tuple(snapshot for snapshot in taken if snapshot is not None)
        self._describe_new()
        if layers or seen.expected:
            self.cost.samples += 1
            self.buffer.put(Sample(self.step, layers, seen, rates, self._loss))

    def _describe_new(self) -> None:
        sites = list(self.hooks.sites.values())
        if len(sites) > self._known and self.sender is not None:
            self.sender.describe([describe(site) for site in sites[self._known :]])
            if not self._known:
                self._opened(sites)
                self.buffer.wake.set()  # the first chart shall not wait
            self._known = len(sites)

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

    def metrics(self) -> dict[str, float]:
        """The latest look at every layer as flat numbers."""
        shares = self.sender.ledger.shares() if self.sender is not None else {}
        names = {site.layer_id: site.name for site in self.hooks.sites.values()}
        return {f"relumine/{names[i]}/{what}": value for i, one in shares.items() for what, value in one.items()}

    def answered(self, answer: Accepted) -> None:
        """Called by the sender's thread with every answer."""
        if answer.every is not None:
            self.schedule.thinned = max(1, min(answer.every, 1000))
        for alert in answer.alerts:
            before = self.alerts.get(alert.id)
            self.alerts[alert.id] = alert
            news = before is None or (before.state, before.severity) != (alert.state, alert.severity)
            if news and alert.state in OPEN:
                say(f"{alert.message} {alert.url}")
                self._fresh.append(alert)

    def _tell(self) -> None:
        """Call the user's ``on_alert`` in the training thread, holding no lock."""
        while self._fresh:
            alert = self._fresh.popleft()
            if self._on_alert is not None:
                try:
                    self._on_alert(alert)
                except TrainingStopped:
                    raise  # on purpose
                except Exception as error:  # noqa: BLE001 - the user's callback; shown, and it ends nothing
                    say(f"on_alert failed, training goes on ({type(error).__name__}: {error})")

    def switch_off(self) -> None:
        """Leave the model and the optimizer as they were found."""
        self.off = True
        self.hooks.leave_soon()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _readable(rates: Iterable[Any]) -> tuple[float, ...]:
    """Learning rates as numbers; one held on an accelerator is left out, reading it would wait for the device."""
    return tuple(float(r) for r in rates if not isinstance(r, torch.Tensor) or r.device.type == "cpu")


def describe(site: Site) -> LayerInfo:
    """How a layer is observed, for the wire."""
    fan_in = None
    weight = getattr(site.producer, "weight", None)
    if isinstance(site.producer, nn.Module) and isinstance(weight, torch.Tensor) and weight.dim() > 1:
        fan_in = weight[0].numel()
    return LayerInfo(
        layer_id=site.layer_id,
        name=site.name,
        units=site.units,
        activation=site.activation,
        can_die=site.can_die,
        unit_kind="channels" if site.channels_first and site.has_positions else "features",
        n_unit="positions" if site.flattened else "examples",
        split=site.split,
        producer=site.producer_name,
        fan_in=fan_in,
        observed="function mode",
        missing=[] if site.producer is not None or not site.can_die else ["producer"],
    )
