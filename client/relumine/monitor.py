"""The monitor: how a training talks to the SDK after ``watch`` returned. Thin; the work is done by the engine."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from relumine import _verdict
from relumine._engine import Engine
from relumine._guard import say
from relumine._process import Terminated
from relumine._sample import Number
from relumine._uploads import Outcome
from relumine.settings import Settings
from relumine.views import Alert
from relumine.wire import RunInfo

if TYPE_CHECKING:
    from torch import Tensor

EXIT_S = 2.0  # how long the end of the interpreter may wait for the last upload


class Monitor:
    """Watches until it is closed. After ``watch`` returned nothing here raises, unless ``strict`` was asked for."""

    def __init__(self, run: RunInfo, settings: Settings, engine: Engine | None) -> None:
        self._run, self._settings, self._engine = run, settings, engine
        self._closed = engine is None
        if engine is not None:
            atexit.register(self._at_exit)
            self._terminated = Terminated(lambda: self._end("failed", EXIT_S))

    @property
    def run_id(self) -> str:
        """The run's id; give it to ``watch(run_id=…)`` to go on with the same run."""
        return self._run.id

    @property
    def url(self) -> str:
        """The run's page; in local mode the folder its records are written to."""
        if self._settings.mode in ("local", "offline"):
            return str(self._settings.directory / self._run.id)
        return f"{self._settings.url}/#/runs/{self._run.id}"

    @property
    def label(self) -> str:
        """The run as people call it: project/name."""
        return f"{self._run.project}/{self._run.name or self._run.id[:13]}"

    def log(self, numbers: Mapping[str, Number] | None = None, step: int | None = None, **named: Number) -> None:
        """Put numbers beside the statistics: ``monitor.log(loss=0.3)``. Never waits for a device."""
        if self._engine is not None and not self._closed and self._engine.is_ours:
            with self._engine.guard.inside("log"):
                self._engine.log({**(numbers or {}), **named}, step)

    def step(self) -> None:
        """Count a step; only for a training without an optimizer to hook."""
        if self._engine is not None and not self._closed:
            self._engine.after_step()

    def mark(self, name: str) -> None:
        """A deliberate reset (weights restored, units revived): what comes after it is judged by a new baseline."""
        if self._engine is not None and not self._closed and self._engine.is_ours:
            with self._engine.guard.inside("mark"):
                self._engine.mark(name)

    def tap(self, name: str, z: Tensor, threshold: float = 0.0, mask: Tensor | None = None) -> None:
        """Show a pre-activation that no function of torch shows: a custom kernel, a JumpReLU, padded positions.

        Args:
            name: the layer's name.
            z: the pre-activation; units are its last dimension (dimension 1 with four or more dimensions).
            threshold: above it a unit is active.
            mask: boolean, of the shape of ``z`` without its last dimension; only where it holds is counted.
        """
        if self._engine is not None and not self._closed:
            with self._engine.guard.inside(name):
                self._engine.hooks.tap(name, z - threshold if threshold else z, mask)

    def metrics(self) -> dict[str, float]:
        """The latest look as flat numbers for any other logger: ``relumine/act1/active_rate`` and the like.

        ``silent_fraction`` is the share of units active on no example of that look, ``dead_fraction`` the share
        silent on the last 1,000 examples looked at or more (an activation rate below 0.3 %).
        """
        return self._engine.metrics() if self._engine is not None else {}

    def alerts(self) -> list[Alert]:
        """Every alert heard of so far, by the step it was opened at."""
        known = self._engine.alerts.values() if self._engine is not None else ()
        return sorted(known, key=lambda alert: (alert.opened_step, alert.layer_id))

    def coverage(self) -> dict[str, dict[str, Any]]:
        """Every activation by its name, and how it is observed.

        Units, split, producer, share of the steps that were sampled, and under ``missing`` what is not known of it and
        why. ReLU modules that were never used are there too, as ``observed: never``.
        """
        return self._engine.rows() if self._engine is not None else {}

    def sdk_stats(self) -> dict[str, Any]:
        """What the SDK did, took and lost.

        ``spent_s`` is what it took so far, ``overhead`` its share of the elapsed time, ``interval`` the steps between
        looks (before the budget), ``merged`` the looks that share a record. Of all looks (``samples``) some were
        ``sent`` (acknowledged), some are ``kept`` on disk or ``waiting`` in memory, some were ``dropped``, by reason;
        together they are all. ``acknowledged`` counts records; ``errors`` inner errors that were held back.
        """
        engine = self._engine
        if engine is None or engine.sender is None:
            return {}
        return {
            "steps": engine.step,
            "samples": engine.cost.samples,
            "spent_s": engine.cost.spent_s,
            "overhead": engine.overhead(),
            "interval": engine.schedule.interval,
            "bursts": engine.schedule.bursts,
            "merged": engine.sender.uploads.merged,
            "uploads": engine.sender.uploads.count,
            "bytes": engine.sender.uploads.bytes,
            "acknowledged": engine.sender.acknowledged,
            "sent": engine.sender.sent,
            "kept": engine.sender.backlog.looks,
            "waiting": engine.waiting(),
            "dropped": dict(engine.buffer.dropped),
            "errors": engine.guard.errors,
            "last_error": engine.guard.last,
        }

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything seen so far was answered; False where ``timeout`` seconds were too short."""
        if self._engine is None or self._engine.sender is None or self._closed:
            return True
        return self._engine.sender.flush(timeout)

    def close(self, timeout: float = 10.0, outcome: Outcome = "finished") -> None:
        """End the run: send what is left, print the verdict, leave model and optimizer as they were."""
        self._end(outcome, timeout)

    def _end(self, outcome: Outcome, timeout: float) -> None:
        engine = self._engine
        if engine is None or self._closed or not engine.is_ours:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        self._terminated.stop()
        with engine.guard.inside("close"):
            engine.switch_off()
            if engine.sender is not None:
                engine.describe()
                engine.sender.close(outcome, timeout)
                say(_verdict.closing(self.label, self.alerts(), self.sdk_stats(), self.url))
                if engine.sender.backlog:
                    say(f"what was not sent is kept; send it with: relumine sync {self._settings.directory}")

    def _at_exit(self) -> None:
        """The script ended without ``close``: the interpreter leaves a trace where an exception ended it."""
        self._end("failed" if getattr(sys, "last_value", None) is not None else "finished", EXIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end("finished" if kind is None else "failed", 10.0)
