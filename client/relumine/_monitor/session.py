"""The session of a run in one process: connects the step loop with the sender thread, and answers the monitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from relumine._capture.coverage import coverage_of, coverage_table, layer_info
from relumine._capture.step_stats import LoggedScalar, Number
from relumine._export.sender import Sender
from relumine._monitor.server_run import ServerRun
from relumine._monitor.step_loop import StepLoop
from relumine._runtime.guard import ErrorGuard
from relumine._runtime.log import server_lines
from relumine.schemas.alert import Alert
from relumine.schemas.upload import Coverage, FinalStatus, UploadResponse
from relumine.schemas.watching import Watching


@dataclass(eq=False, kw_only=True)
class MonitorSession:
    """The session of one process: what the step loop records goes to the sender, what the server answers comes back.

    Attributes:
        server_run: what the server says of the run as a whole.
        on_first_stats: called with the coverage once the first step with an activation was sampled.
        on_watching: called when the training is no longer being watched, and when it is again.
        owner: the monitor, which lives as long as its session.
    """

    loop: StepLoop
    sender: Sender
    server_run: ServerRun
    on_first_stats: Callable[[Coverage], None]
    on_watching: Callable[[Watching], None]
    owner: object = field(default=None, init=False)
    _has_described: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.hooks = self.loop.hooks
        self.schedule = self.loop.schedule
        self.queue = self.loop.queue
        self.dispatcher = self.loop.dispatcher
        self.account = self.loop.account
        self.overhead = self.loop.overhead
        self.loop.on_new_layers = self._on_new_layers
        self.account.watching.on_change = self._on_watching
        self.sender.delivery.observe(self)
        self.sender.set_watching(self.account.watching.current)
        self.guard.on_disable(self._on_disable)

    @property
    def guard(self) -> ErrorGuard:
        """The guard that counts internal errors."""
        return self.loop.guard

    @property
    def in_owner_process(self) -> bool:
        """True in the process that called ``watch``."""
        return self.loop.in_owner_process

    @property
    def has_backlog(self) -> bool:
        """True if uploads are on disk."""
        backlog = self.sender.delivery.backlog
        return bool(backlog or backlog.large_uploads)

    def start(self) -> None:
        """Start the sender thread, and sample the first step."""
        self.sender.start()
        self.loop.start()

    def _on_watching(self, watching: Watching) -> None:
        """Say at once, here and to the server, whether the training is being watched. Called in any thread."""
        self.on_watching(watching)
        self.sender.set_watching(watching)
        self.queue.hurry()

    def on_response(self, response: UploadResponse) -> None:
        """Apply the server's response. Called in the sender thread, like the next three."""
        self.account.note_response(response)
        self.server_run.note_response(response)
        self.sender.note_response(response)
        if response.sample_every is not None:
            self.schedule.request_interval(response.sample_every)
        self.dispatcher.receive(response.alerts)

    def on_rejected(self) -> None:
        """Note that the server has refused an upload for good."""
        self.account.note_rejected()

    def on_failed(self) -> None:
        """Note that an upload could not be delivered so far."""
        self.account.note_failed()

    def on_tick(self) -> None:
        """Decide about once per second what the training thread cannot know."""
        server_lines.report()
        if self.loop.closed:
            return
        hooks = self.hooks
        waits_for_step = self.account.tick(self.loop.step, self.sender.steps_without_gradient, hooks.forward_count)
        hooks.count_forwards(waits_for_step and not hooks.stance.was_needed(hooks.names.modules()))
        self.sender.set_watching(self.account.watching.current)
        if self.sender.take_input_jump():
            self.schedule.request_burst()

    def _on_disable(self) -> None:
        self.shutdown()
        self.account.disable()

    def _on_new_layers(self) -> None:
        self._describe()
        if not self._has_described:
            self._has_described = bool(self.hooks.layers)
            self.on_first_stats(self._coverage())
            self.queue.hurry()  # the first chart should not wait for the sender's next tick

    def _describe(self) -> None:
        """Describe every layer to the server, as far as it does not know the description."""
        infos = [layer_info(layer, self.loop.step) for layer in self.hooks.layers.values()]
        self.sender.describe(infos, self._coverage())

    def _coverage(self) -> Coverage:
        return coverage_of(self.hooks.sites, self.hooks.stance)

    def log(self, numbers: Mapping[str, Number], step: int | None) -> None:
        """Queue metrics; the one called ``loss`` also travels with the next sampled step, to judge harm by it."""
        if step is None:
            step = self.loop.step
        for name, value in numbers.items():
            number = value.detach().clone() if isinstance(value, torch.Tensor) else float(value)
            if name == "loss":
                self.loop.loss = number
            self.queue.put(LoggedScalar(step, name, number))

    def mark(self, name: str) -> None:
        """Make the detector start a new baseline after the present step."""
        self.loop.marks += 1
        self.queue.put(LoggedScalar(self.loop.step, f"mark/{name}", 1.0))

    def metrics(self) -> dict[str, float]:
        """Return the rates of every layer at the latest sampled step as flat numbers."""
        names = {layer.layer_id: layer.name for layer in self.hooks.layers.values()}
        counting_positions = {layer.layer_id for layer in self.hooks.layers.values() if layer.counts_positions}
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
        return coverage_table(self.hooks.sites, self.hooks.stance, self.loop.step)

    def stats(self) -> dict[str, Any]:
        """Return the counts that ``Monitor.sdk_stats`` documents."""
        elapsed_s = self.loop.elapsed_s
        return {
            "steps": self.loop.step,
            "sampled_steps": self.overhead.sampled_steps,
            "last_sampled_step": self.account.watching.last_step,
            "interval": self.schedule.interval_at(self.loop.step),
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
        delivery = self.sender.delivery
        return self.overhead.sampled_steps - delivery.acked_steps - delivery.backlog.sampled_steps - dropped

    def flush(self, timeout_s: float) -> bool:
        """Wait until the server has responded to everything so far; return False if the time was too short."""
        return self.sender.flush(timeout_s)

    def close(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Stop watching, and send what is left together with the final status."""
        self.announce_close(final_status, timeout_s)
        self.sender.close(final_status, timeout_s)

    def announce_close(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Stop watching, and let the sender thread send what is left, without waiting for it."""
        if not self.loop.closed:
            self.account.end(self.loop.step, self.hooks.forward_count, self.loop.step_counter)
        self.shutdown()
        self._describe()
        self.sender.set_watching(self.account.watching.current)
        self.sender.announce_close(final_status, timeout_s)

    def shutdown(self) -> None:
        """Stop watching: leave model and optimizers as they were found."""
        self.loop.stop()

    def detach_in_child(self) -> None:
        """Stop watching in a forked child."""
        self.loop.stop_in_child()
