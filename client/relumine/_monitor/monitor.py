"""The monitor: what a training script talks to after ``watch`` returned."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from relumine._capture.step_stats import Number
from relumine._export.sender import Sender
from relumine._monitor import messages, monitor_card
from relumine._monitor.session import MonitorSession
from relumine._monitor.user_input import UserInput
from relumine._runtime import open_runs
from relumine._runtime.log import begin, logger
from relumine._runtime.open_runs import EXIT_TIMEOUT_S
from relumine._runtime.sendable import MAX_NAME, UnusableValue, sendable_name
from relumine._runtime.settings import Settings
from relumine._torch.modules import ModuleNames
from relumine.schemas.alert import Alert
from relumine.schemas.health import Health, health_of
from relumine.schemas.upload import FinalStatus, RunInfo

if TYPE_CHECKING:
    from torch import Tensor


class Monitor:
    """Watches a training until it is closed. Nothing here raises after ``watch`` returned, unless with ``strict``."""

    def __init__(self, run: RunInfo, settings: Settings, session: MonitorSession) -> None:
        self._run = run
        self._settings = settings
        self._session = session
        self._input = UserInput()
        self._is_closed = False
        # The monitor lives as long as its session, which the optimizer's hook holds: the script need not keep
        # what ``watch`` returned. When the optimizer is gone as well, the run ends.
        session.owner = self
        self._finalizer = weakref.finalize(self, _release, session.sender, run.label)
        self._finalizer.atexit = False
        open_runs.add(self)

    @property
    def run_id(self) -> str:
        """The run's id at the server; give it to ``watch(run_id=…)`` to continue the run."""
        return self._session.server_run.run_id

    @property
    def url(self) -> str:
        """The run's page; in local and offline mode the folder that its records are written to."""
        return run_url(self.run_id, self._settings)

    def log(self, numbers: Mapping[str, Number] | None = None, step: int | None = None, **named: Number) -> None:
        """Log metrics beside the statistics: ``monitor.log(loss=0.3)``. Never waits for a device.

        Nested mappings give names such as ``val/loss``. What is not one real number is named once in the log.
        """
        if self._is_active:
            with self._session.guard.suppress("log"):
                metrics = self._input.metrics(numbers, named)
                self._session.log(metrics, self._input.step(step, self._session.loop.step))

    def step(self) -> None:
        """Count a step; only for a training without an optimizer to hook."""
        if not self._is_closed:
            self._session.loop.count_step()

    def mark(self, name: str) -> None:
        """Mark a deliberate reset (weights restored, units revived): later steps are judged by a new baseline."""
        if self._is_active:
            with self._session.guard.suppress("mark"):
                self._session.mark(self._input.mark_name(name))

    def tap(self, name: str, z: Tensor, threshold: float | Tensor = 0.0, mask: Tensor | None = None) -> None:
        """Record a pre-activation that no torch function reads: of a custom kernel, a JumpReLU, or padded positions.

        Args:
            name: the layer's name.
            z: the pre-activation; units are its last dimension (dimension 1 with four or more dimensions).
            threshold: a unit is active above it; a number, or a tensor with one per unit.
            mask: boolean, of the shape of ``z`` without its last dimension; only positions where it is True count.
        """
        if self._is_closed or not self._session.hooks.attached:
            return
        with self._session.guard.suppress("tap"):
            layer = sendable_name(name, MAX_NAME - len("#999"))
            try:
                self._session.hooks.tap(layer or "tap", z, threshold, mask)
            except UnusableValue as error:
                self._input.name_slip(f"tap: {layer!r}", f"is not recorded: {error}")

    def health(self) -> Health:
        """Return the health of the run, as far as it is known: never ``healthy`` without sampled steps up to now."""
        session = self._session
        mode = self._settings.mode
        unknown = messages.unknown_reason(self.sdk_stats(), mode, has_ended=self._is_closed)
        return health_of(session.account.watching.current, self.alerts(), unknown)

    def metrics(self) -> dict[str, float]:
        """Return the latest sampled step as flat numbers for other loggers: ``relumine/act1/active_rate`` and so on.

        ``silent_fraction`` is the fraction of units that were active on no example of that step. ``dead_fraction`` is
        the fraction that was active and is dead by the detector's own test: silent on so many sampled examples that
        neither chance nor the layer's sparsity explains it. ``born_dead_fraction`` is the fraction that was never
        active; no unit counts in both.
        """
        return self._session.metrics()

    def alerts(self) -> list[Alert]:
        """Return every alert of the run received so far, ordered by the step it was opened at."""
        return sorted(self._session.alerts(), key=lambda alert: (alert.opened_step, alert.layer_id))

    def coverage(self) -> dict[str, dict[str, Any]]:
        """Return one row per activation, by name, that says how it is observed.

        Units, split, producer, the share of steps that were sampled, and under ``missing`` what is not known of it and
        why. ReLU modules that were never used have a row too, with ``observed: never``.
        """
        return self._session.coverage_table()

    def sdk_stats(self) -> dict[str, Any]:
        """Return what the SDK did, spent and lost.

        - ``steps``, ``sampled_steps``: optimizer steps, and those of them that were sampled.
        - ``last_sampled_step``: the last step at which a layer that can die was recorded; None without any.
        - ``interval``, ``bursts``: the sampling interval outside of bursts (before the budget), and the bursts so far.
        - ``overhead_s``, ``overhead_fraction``: the time spent, and its fraction of the elapsed time.
        - ``uploads``, ``upload_bytes``: what was encoded; ``acked_records``: the records that were acknowledged.
        - ``acked_steps``, ``spooled_steps`` (on disk), ``pending_steps`` (in memory), ``dropped_steps`` (by reason):
          where the sampled steps are. Together they are all of them.
        - ``too_large_records``: records that are kept on disk, as they are larger than the server or a proxy takes.
        - ``unanalyzed_steps``: acknowledged steps that the detector did not process, as another session is ahead.
        - ``merged_steps``: sampled steps that share a record with others.
        - ``dropped_metrics``: logged metrics that were dropped.
        - ``errors``, ``last_error``: internal errors that were suppressed.
        """
        return self._session.stats()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until the server has responded to everything so far; return False after ``timeout`` seconds."""
        return True if self._is_closed else self._session.flush(self._input.seconds(timeout, 10.0))

    def close(self, timeout: float = 10.0, final_status: FinalStatus = "finished") -> None:
        """End the run: send what is left, log the closing line, leave model and optimizer as they were."""
        if self._is_active:
            self.end(self._input.final_status(final_status), self._input.seconds(timeout, 10.0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close(final_status="finished" if kind is None else "failed")

    def __repr__(self) -> str:
        """Return the run, its health and its page in one line."""
        return f"<Monitor {self._run.label}: {messages.health_word(self.health())} {self.url}>"

    def _repr_html_(self) -> str:
        """Return the run as a card for notebooks."""
        return monitor_card.html(self._run.label, self.health(), self.alerts(), self.sdk_stats(), self.url)

    @property
    def _is_active(self) -> bool:
        return not self._is_closed and self._session.in_owner_process

    def announce_end(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Begin to end the run, without waiting; to be followed by ``end``. For several runs that end together."""
        if self._is_active:
            with self._session.guard.suppress("close"):
                self._session.announce_close(final_status, timeout_s)

    def end(self, final_status: FinalStatus, timeout_s: float) -> None:
        """End the run, as ``close`` does."""
        if not self._is_active:
            return
        self._is_closed = True
        self._finalizer.detach()
        session = self._session
        with session.guard.suppress("close"):
            session.close(final_status, timeout_s)
            self._log_end(final_status)
            if session.has_backlog:
                directory = self._settings.directory
                logger.warning("unsent uploads are in %s; send them with: relumine sync %s", directory, directory)
        open_runs.discard(self)

    def _log_end(self, final_status: FinalStatus) -> None:
        health = self.health()
        watching = self._session.account.watching.current
        ending = messages.Ending(self._run.label, self.url, final_status, health, watching)
        line = messages.finished(ending, self.alerts(), self.sdk_stats())
        level = logging.INFO if health.status == "healthy" else logging.WARNING
        logger.log(level, "%s", line, extra=begin(messages.health_word(health)))

    def _shares_model_with(self, names: ModuleNames) -> bool:
        return self._is_active and self._session.hooks.names.shares_model_with(names)


def end_earlier_monitors(names: ModuleNames) -> None:
    """End the monitors of models that are about to be watched again: a notebook cell was run once more."""
    for monitor in open_runs.all_open():
        if isinstance(monitor, Monitor) and monitor._shares_model_with(names):  # noqa: SLF001 - of the same class
            logger.info("%s: its model is watched again, so this run ends as finished", monitor._run.label)  # noqa: SLF001 - as above
            monitor.end("finished", EXIT_TIMEOUT_S)


class _ReleasedRun:
    """The rest of a run whose training was garbage. Its sender thread ends it; at exit one waits for that."""

    def __init__(self, sender: Sender, label: str) -> None:
        self._sender = sender
        self._label = label

    def announce_end(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Do nothing: it is ending."""

    def end(self, final_status: FinalStatus, timeout_s: float) -> None:
        """Wait until it has ended."""
        self._sender.close(final_status, timeout_s)

    def log_end(self) -> None:
        """Say that the run has ended. Called by the sender thread."""
        logger.info("%s: its model, optimizer and monitor are gone, so the run ends as finished", self._label)
        open_runs.discard(self)


def _release(sender: Sender, label: str) -> None:
    """End the run of a training that is garbage. Called by the garbage collector, so it takes no lock."""
    run = _ReleasedRun(sender, label)
    open_runs.add_released(run)
    sender.release(run.log_end)


def run_url(run_id: str, settings: Settings) -> str:
    """Return the address of the run's page; in local and offline mode the folder that its records are written to."""
    if settings.mode in ("local", "offline"):
        return str(settings.directory / run_id)
    return f"{settings.url}/#/runs/{run_id}"
