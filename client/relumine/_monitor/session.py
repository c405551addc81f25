"""The step loop of a run: attaches hooks, collects statistics, and hands them to the sender thread.

It runs in the training thread between two steps and must be quick; what can wait is left to the sender thread.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import Optimizer

from relumine._capture.coverage import coverage_of, coverage_table, layer_info
from relumine._capture.forward_hooks import ForwardHooks
from relumine._capture.host_copy import to_host
from relumine._capture.layer_recorder import LayerRecorder
from relumine._capture.step_stats import LayerStats, LoggedScalar, Number, StepStats
from relumine._export.queue import SampleQueue
from relumine._export.sender import Sender
from relumine._monitor.alert_dispatcher import AlertDispatcher
from relumine._monitor.sampling import SamplingSchedule
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.log import logger
from relumine._runtime.overhead import Overhead
from relumine._torch.optimizers import completed_steps, find_param_group, readable_lrs
from relumine._torch.step_counter import StepCounter
from relumine.schemas.alert import Alert
from relumine.schemas.upload import Coverage, FinalStatus

# Sampled steps in a row that have to miss a layer, although its module ran, before it is reported.
MISSING_AFTER_STEPS = 5


@dataclass(eq=False, kw_only=True)
class MonitorSession:
    """The session of one process: connects hooks, schedule, queue and sender to the optimizers' steps.

    Attributes:
        start_step: the optimizer steps made before. None: what the optimizers remember at the first step, when a
            resumed training has loaded their state.
        on_first_stats: called with the coverage once the first step with an activation was sampled.
        step: the optimizer steps so far.
        closed: True if nothing is watched any more.
    """

    hooks: ForwardHooks
    optimizers: Sequence[Optimizer]
    schedule: SamplingSchedule
    queue: SampleQueue
    sender: Sender
    dispatcher: AlertDispatcher
    guard: ErrorGuard
    overhead: Overhead
    start_step: int | None
    on_first_stats: Callable[[Coverage], None]
    step: int = field(init=False)
    closed: bool = field(default=False, init=False)
    _described_layers: int = field(default=0, init=False)
    _loss: Number | None = field(default=None, init=False)
    _marks: int = field(default=0, init=False)
    _groups: dict[int, tuple[Optimizer, int] | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.step = self.start_step or 0
        self._started = time.perf_counter()
        self._pid = os.getpid()
        self._step_counter = StepCounter(
            self.optimizers,
            self.on_optimizer_step,
            watched_parameters=self.hooks.names.parameter_ids,
            on_replaced=self._on_optimizer_replaced,
        )
        self.optimizers = self._step_counter.optimizers
        self.guard.on_disable(self.shutdown)

    @property
    def in_owner_process(self) -> bool:
        """True in the process that called ``watch``. A forked child has the objects, but not the sender thread."""
        return os.getpid() == self._pid

    @property
    def has_backlog(self) -> bool:
        """True if uploads are on disk."""
        return bool(self.sender.backlog)

    def start(self) -> None:
        """Start the sender thread, and sample the first step."""
        self.sender.start()
        if self.schedule.is_due(self.step + 1, spent_s=0.0, elapsed_s=0.0):
            self.hooks.attach(self.step + 1)

    def on_optimizer_step(self) -> None:
        """Collect the step that just ended, pass on alerts, and prepare the next step."""
        if self.closed or not self.in_owner_process:
            return
        # Alerts come between the two parts, where no hook is attached: a forward that ``on_alert`` runs, to revive
        # units or to find inactive ones, is not a part of the training. Its time is the user's and not our overhead.
        # It also runs outside of the error guard, since it may end the training on purpose.
        self._run_guarded(self._finish_step)
        self.dispatcher.dispatch(self.step)
        self._run_guarded(self._schedule_next)

    def _on_optimizer_replaced(self, optimizer: Optimizer, uncounted_steps: int) -> None:
        """Go on with an optimizer that the training made later; its first steps were not counted."""
        self.step += uncounted_steps
        self._groups.clear()
        name = type(optimizer).__name__
        logger.info("the training replaced its optimizer: from step %d on the steps of a new %s count", self.step, name)

    def _run_guarded(self, part: Callable[[], None]) -> None:
        started = time.perf_counter()
        try:
            part()
        except Exception as error:  # noqa: BLE001 - an error of the SDK must not end the training
            self.guard.handle("optimizer step", error)
        self.overhead.training_s += time.perf_counter() - started

    def _finish_step(self) -> None:
        """Count the step, and collect its statistics if it was sampled."""
        self.step += 1
        if self.start_step is None:
            self.step = max(self.step, completed_steps(self.optimizers))
            self.start_step = self.step - 1
        learning_rates = readable_lrs(group for optimizer in self.optimizers for group in optimizer.param_groups)
        self.schedule.observe_lr(self.step, max(learning_rates, default=None))
        if self.hooks.attached:
            self._collect_stats(learning_rates)

    def _schedule_next(self) -> None:
        """Attach the hooks for the next step, if it is due."""
        if self.closed:  # by ``on_alert``, or after too many errors
            return
        elapsed_s = time.perf_counter() - self._started
        if self.schedule.is_due(self.step + 1, spent_s=self.overhead.spent_s, elapsed_s=elapsed_s):
            self.hooks.attach(self.step + 1)

    def _collect_stats(self, learning_rates: tuple[float, ...]) -> None:
        """Detach the hooks, and queue what they recorded."""
        missing_layers = self._newly_missing_layers()
        self.hooks.detach()
        layers: list[LayerStats] = []
        with torch.no_grad():
            for layer in self.hooks.layers.values():
                layer_stats = layer.collect(self.step, self._learning_rate_of(layer))
                if layer_stats is not None:
                    layers.append(layer_stats)
            model_io = self.hooks.model_io.collect()
        self._describe_new_layers()
        if not layers and not missing_layers and not model_io.measurement_count:
            return
        self.overhead.sampled_steps += 1
        stats = StepStats(
            step=self.step,
            layers=tuple(layers),
            model_io=model_io,
            learning_rates=learning_rates,
            loss=self._loss,
            missing_layers=missing_layers,
            marks=self._marks,
        )
        self._marks = 0
        self.queue.put(to_host(stats))

    def _newly_missing_layers(self) -> tuple[int, ...]:
        """Return the layers that were missed on just as many sampled steps in a row as it takes to report them."""
        newly_missing = []
        for layer in self.hooks.missing_layers():
            layer.steps_missing += 1
            if layer.steps_missing == MISSING_AFTER_STEPS:
                newly_missing.append(layer.layer_id)
        return tuple(newly_missing)

    def _describe_new_layers(self) -> None:
        count = len(self.hooks.layers)
        if count == self._described_layers:
            return
        is_first = not self._described_layers
        self._described_layers = count
        self._describe()
        if is_first:
            self.on_first_stats(self._coverage())
            self.queue.wakeup.set()  # the first chart should not wait for the sender's next tick

    def _describe(self) -> None:
        """Describe every layer to the server, as far as it does not know the description."""
        infos = [layer_info(layer, self.step) for layer in self._layers()]
        self.sender.describe(infos, self._coverage())

    def _layers(self) -> Collection[LayerRecorder]:
        return self.hooks.layers.values()

    def _coverage(self) -> Coverage:
        return coverage_of(self._layers(), self.hooks.names, self.hooks.stance)

    def _learning_rate_of(self, layer: LayerRecorder) -> float | None:
        """Return the learning rate of the parameter group that holds the weight of the layer's producer."""
        if layer.layer_id not in self._groups:
            weight = getattr(layer.producer, "weight", None)
            self._groups[layer.layer_id] = find_param_group(self.optimizers, weight)
        group = self._groups[layer.layer_id]
        if group is None:
            return None
        optimizer, index = group
        learning_rates = readable_lrs(optimizer.param_groups[index : index + 1])
        if not learning_rates or not math.isfinite(learning_rates[0]):
            return None
        return learning_rates[0]

    def log(self, numbers: Mapping[str, Number], step: int | None) -> None:
        """Queue metrics; the one called ``loss`` also travels with the next sampled step, to judge harm by it."""
        if step is None:
            step = self.step
        for name, value in numbers.items():
            number = value.detach().clone() if isinstance(value, torch.Tensor) else float(value)
            if name == "loss":
                self._loss = number
            self.queue.put(LoggedScalar(step, name, number))

    def mark(self, name: str) -> None:
        """Make the detector start a new baseline after the present step."""
        self._marks += 1
        self.queue.put(LoggedScalar(self.step, f"mark/{name}", 1.0))

    def metrics(self) -> dict[str, float]:
        """Return the rates of every layer at the latest sampled step as flat numbers."""
        names = {layer.layer_id: layer.name for layer in self._layers()}
        counting_positions = {layer.layer_id for layer in self._layers() if layer.counts_positions}
        metrics = {}
        for layer_id, rates in self.sender.latest_rates(counting_positions).items():
            for rate, value in rates.items():
                metrics[f"relumine/{names[layer_id]}/{rate}"] = value
        return metrics

    def alerts(self) -> list[Alert]:
        """Return every alert received so far."""
        return list(self.dispatcher.alerts.values())

    def coverage_table(self) -> dict[str, dict[str, Any]]:
        """Return one row per activation: how it is observed, and what is missing."""
        return coverage_table(self._layers(), self.hooks.names, self.hooks.stance, self.step)

    def stats(self) -> dict[str, Any]:
        """Return the counts that ``Monitor.sdk_stats`` documents."""
        elapsed_s = time.perf_counter() - self._started
        return {
            "steps": self.step,
            "sampled_steps": self.overhead.sampled_steps,
            "interval": self.schedule.interval,
            "bursts": self.schedule.bursts,
            "overhead_s": self.overhead.spent_s,
            "overhead_fraction": self.overhead.spent_s / max(elapsed_s, 1e-9),
            **self.sender.stats(),
            "pending_steps": self.pending_steps(),
            "dropped_steps": self.queue.dropped_steps,
            "dropped_metrics": self.queue.dropped_metrics,
            "errors": self.guard.errors,
            "last_error": self.guard.last_error,
        }

    def pending_steps(self) -> int:
        """Return the number of sampled steps in memory: neither acknowledged nor spooled nor dropped."""
        dropped = sum(self.queue.dropped_steps.values())
        return self.overhead.sampled_steps - self.sender.acked_steps - self.sender.backlog.sampled_steps - dropped

    def flush(self, timeout_s: float) -> bool:
        """Wait until the server has responded to everything so far; return False if the time was too short."""
        return self.sender.flush(timeout_s)

    def close(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Stop watching, and send what is left together with the final status."""
        self.shutdown()
        self._describe()
        self.sender.close(final_status, timeout_s)

    def shutdown(self) -> None:
        """Stop watching: leave model and optimizers as they were found."""
        self.closed = True
        self.hooks.detach_after_forward()
        self._step_counter.stop()

    def detach_in_child(self) -> None:
        """Stop watching in a forked child. Takes no lock: the thread that held it stayed with the parent."""
        self.closed = True
        self.hooks.detach()
        self._step_counter.stop()
