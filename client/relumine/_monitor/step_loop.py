"""The step loop: counts optimizer steps, samples the due ones, and queues what they recorded.

It runs in the training thread between two steps and must be quick; what can wait is left to the sender thread.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch.optim import Optimizer

from relumine._capture.forward_hooks import ForwardHooks
from relumine._capture.host_copy import to_host
from relumine._capture.layer_recorder import LayerRecorder, share_buffers
from relumine._capture.step_stats import LayerStats, Number, StepStats
from relumine._export.queue import SampleQueue
from relumine._monitor.alert_dispatcher import AlertDispatcher
from relumine._monitor.sampling import SamplingSchedule
from relumine._monitor.training_account import TrainingAccount
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.log import logger
from relumine._runtime.overhead import Overhead
from relumine._torch.modules import trained_weight
from relumine._torch.optimizers import completed_steps, find_param_group, highest_readable_lr, readable_lrs
from relumine._torch.step_counter import StepCounter
from relumine._torch.step_hook import StepCount

# Forwards on one sampled step between two checks that steps are not missed. Accumulating gradients takes many, too.
FORWARDS_PER_CHECK = 16

# Sampled steps in a row that have to miss a layer, although its module ran, before it is reported.
MISSING_AFTER_STEPS = 5


@dataclass(eq=False, kw_only=True)
class StepLoop:
    """Connects hooks, schedule and queue to the steps of the optimizers.

    Attributes:
        start_step: the optimizer steps made before. None: what the optimizers remember at the first step, when a
            resumed training has loaded their state.
        on_new_layers: called when a sampled step has found layers, and when the first that ran the model found none.
        closed: True if nothing is watched any more.
        loss: the loss that was logged last; it travels with the next sampled step.
        marks: the marks since the latest sampled step.
    """

    hooks: ForwardHooks
    optimizers: Sequence[Optimizer]
    schedule: SamplingSchedule
    queue: SampleQueue
    dispatcher: AlertDispatcher
    account: TrainingAccount
    guard: ErrorGuard
    overhead: Overhead
    start_step: int | None
    on_new_layers: Callable[[], None] | None = field(default=None, init=False)
    closed: bool = field(default=False, init=False)
    loss: Number | None = field(default=None, init=False)
    marks: int = field(default=0, init=False)
    _count: StepCount = field(init=False)
    _known_layers: int = field(default=-1, init=False)
    _has_run: bool = field(default=False, init=False)
    _groups: dict[int, tuple[Optimizer, int] | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._count = StepCount(step=self.start_step or 0, recent_lrs=self.schedule.recent_lrs)
        self._started = time.perf_counter()
        self._pid = os.getpid()
        self.step_counter = StepCounter(
            self.optimizers,
            self.on_optimizer_step,
            count=self._count,
            watched_parameters=self.hooks.names.parameter_ids,
            on_replaced=self._on_optimizer_replaced,
            on_uncounted=self._add_uncounted_steps,
        )
        self.optimizers = self.step_counter.optimizers
        self.hooks.on_forward = self._on_forward
        self.dispatcher.on_new = self._call_at_next_step

    @property
    def step(self) -> int:
        """The optimizer steps so far."""
        return self._count.step

    @property
    def in_owner_process(self) -> bool:
        """True in the process that called ``watch``. A forked child has the objects, but not the sender thread."""
        return os.getpid() == self._pid

    @property
    def elapsed_s(self) -> float:
        """The seconds since watching began."""
        return time.perf_counter() - self._started

    def start(self) -> None:
        """Sample the first step."""
        self.account.start(self.step)
        self.schedule.origin = self.step
        if self.schedule.is_due(self.step + 1, spent_s=0.0, elapsed_s=0.0):
            self.hooks.attach(self.step + 1)

    def stop(self) -> None:
        """Stop watching: leave model and optimizers as they were found."""
        self.closed = True
        self.hooks.detach_after_forward()
        self.step_counter.stop()

    def stop_in_child(self) -> None:
        """Stop watching in a forked child. Takes no lock: the thread that held it stayed with the parent."""
        self.closed = True
        self.hooks.detach()
        self.step_counter.stop()

    def on_optimizer_step(self) -> None:
        """Collect the step that just ended, pass on alerts, and prepare the next step."""
        if self.closed or not self.in_owner_process:
            return
        try:
            self._count_step()
            if self.hooks.attached:
                self._collect_stats()
        except Exception as error:  # noqa: BLE001 - an error of the SDK must not end the training
            self.guard.handle("optimizer step", error)
        # Alerts come between the two parts, where no hook is attached: a forward that ``on_alert`` runs, to revive
        # units or to find inactive ones, is not a part of the training. Its time is the user's and not our overhead.
        # It also runs outside of the error guard, since it may end the training on purpose.
        if self.dispatcher.has_alerts:
            self.dispatcher.dispatch(self.step)
        if self.step + 1 >= self.schedule.next_step:
            self._schedule_next()
        self._rest()

    def count_step(self) -> None:
        """Count a step of a training without an optimizer to hook."""
        if self.step + 1 < self._count.next_call:
            self._count.step += 1
        else:
            self.on_optimizer_step()

    def _rest(self) -> None:
        """Let the hook count alone until the step before the next one that may be sampled."""
        if self.hooks.attached or self.closed:
            self._call_at_next_step()
            return
        if self._count.recent_lrs:
            self._count.lr = self._count.recent_lrs[-1]
        self.step_counter.rest_until(self.schedule.next_step - 1)
        if self.dispatcher.has_alerts:  # received meanwhile, in another thread
            self._call_at_next_step()

    def _call_at_next_step(self) -> None:
        self._count.next_call = 0

    def _on_optimizer_replaced(self, optimizer: Optimizer, uncounted_steps: int) -> None:
        """Go on with an optimizer that the training made later; its first steps were not counted."""
        self._count.step += uncounted_steps
        self._groups.clear()
        name = type(optimizer).__name__
        logger.info("the training replaced its optimizer: from step %d on the steps of a new %s count", self.step, name)

    def _add_uncounted_steps(self, steps: int) -> None:
        self._count.step += steps

    def _count_step(self) -> None:
        self._count.step += 1
        if self.start_step is None:
            self._count.step = max(self.step, completed_steps(self.optimizers))
            self.start_step = self.schedule.origin = self.step - 1
        self.schedule.observe_lr(self.step, highest_readable_lr(self.optimizers))

    def _schedule_next(self) -> None:
        """Attach the hooks for the next step, if it is due."""
        if self.closed:  # by ``on_alert``, or after too many errors
            return
        started = time.perf_counter()
        try:
            elapsed_s = started - self._started
            if self.schedule.is_due(self.step + 1, spent_s=self.overhead.spent_s, elapsed_s=elapsed_s):
                self.hooks.attach(self.step + 1)
                self.overhead.training_s += time.perf_counter() - started
        except Exception as error:  # noqa: BLE001 - as above
            self.guard.handle("optimizer step", error)
        except BaseException:
            self.hooks.discard_step()
            raise

    def _on_forward(self, count: int) -> None:
        """Stop sampling a step that never ends: the optimizer steps, but the step is not counted."""
        if count % FORWARDS_PER_CHECK == 0 and self.account.misses_steps(self.step, count):
            self.hooks.detach()

    def _collect_stats(self) -> None:
        """Detach the hooks, and queue what they recorded; its time counts as overhead."""
        started = time.perf_counter()
        grad_enabled = torch.is_grad_enabled()
        try:
            self._account_for_step()
            self._queue_stats()
        except BaseException as error:
            torch.set_grad_enabled(grad_enabled)  # an interrupt within ``no_grad().__enter__`` skips its exit
            if not isinstance(error, Exception):
                self.hooks.discard_step()
            raise
        finally:
            self.overhead.training_s += time.perf_counter() - started

    def _account_for_step(self) -> None:
        forwards = self.hooks.forwards()
        self._has_run = self._has_run or bool(forwards.forwards) or forwards.evaluated
        if self.account.add_sampled_step(self.step, forwards):
            self.schedule.sample_next(self.step)

    def _queue_stats(self) -> None:
        learning_rates = readable_lrs(group for optimizer in self.optimizers for group in optimizer.param_groups)
        missing_layers = self._newly_missing_layers()
        self.hooks.detach()
        layers: list[LayerStats] = []
        with torch.no_grad():
            for layer in self.hooks.layers.values():
                layer_stats = layer.collect(self.step, self._learning_rate_of(layer))
                if layer_stats is not None:
                    layers.append(layer_stats)
            model_io = self.hooks.model_io.collect()
        self._note_new_layers()
        if not layers and not missing_layers and not model_io.measurement_count:
            return
        self.overhead.sampled_steps += 1
        stats = StepStats(
            step=self.step,
            layers=tuple(layers),
            model_io=model_io,
            learning_rates=learning_rates,
            loss=self.loss,
            missing_layers=missing_layers,
            marks=self.marks,
        )
        self.marks = 0
        self.queue.put(to_host(stats))
        if self.schedule.is_burst(self.step):
            self.queue.hurry()  # units may die within a few steps: an alert should not wait for the next tick

    def _note_new_layers(self) -> None:
        count = len(self.hooks.layers)
        if count != self._known_layers and (count or self._has_run):
            self._known_layers = count
            share_buffers(self.hooks.layers.values())
            if self.on_new_layers is not None:
                self.on_new_layers()

    def _newly_missing_layers(self) -> tuple[int, ...]:
        """Return the layers that were missed on just as many sampled steps in a row as it takes to report them."""
        newly_missing = []
        for layer in self.hooks.missing_layers():
            layer.steps_missing += 1
            if layer.steps_missing == MISSING_AFTER_STEPS:
                newly_missing.append(layer.layer_id)
        return tuple(newly_missing)

    def _learning_rate_of(self, layer: LayerRecorder) -> float | None:
        """Return the learning rate of the parameter group that holds the weight of the layer's producer."""
        if layer.layer_id not in self._groups:
            weight = None if layer.producer is None else trained_weight(layer.producer)
            self._groups[layer.layer_id] = find_param_group(self.optimizers, weight)
        group = self._groups[layer.layer_id]
        if group is None:
            return None
        optimizer, index = group
        learning_rates = readable_lrs(optimizer.param_groups[index : index + 1])
        if not learning_rates or not math.isfinite(learning_rates[0]):
            return None
        return learning_rates[0]
