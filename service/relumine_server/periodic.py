"""The base of the background workers: a thread that repeats a round of work, at intervals or when it is woken."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import structlog

from relumine_server.errors import ProblemError
from relumine_server.metrics import Metrics

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class PeriodicWorker(ABC):
    """Repeats a round of work in a thread of its own, from ``start`` to ``stop``.

    A failure is logged and counted in ``relumine_maintenance_failures_total``. It costs one item of one round, never
    the other items, the other tasks of the round, or the thread.
    """

    def __init__(self, name: str, interval_s: float, metrics: Metrics, *, jitter: float = 0.5) -> None:
        """Prepare a worker; it does nothing until it is started.

        Args:
            name: of the thread, and the ``task`` label for a round that fails as a whole.
            interval_s: between two rounds, in seconds.
            metrics: where failures are counted.
            jitter: share by which an interval may be shorter or longer, so that several processes do not work at the
                same moment.
        """
        self._name = name
        self._interval_s = interval_s
        self._jitter = jitter
        self._failures = metrics.maintenance_failures
        self._failed_runs: dict[str, set[str]] = {}
        self._wake_requested = threading.Event()
        self._stop_requested = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Raises RuntimeError where it was started before."""
        if self._thread is not None:
            raise RuntimeError(f"the {self._name} was started already")
        self._thread = threading.Thread(target=self._loop, name=f"relumine-{self._name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Begin the next round now. Returns at once."""
        self._wake_requested.set()

    def stop(self, timeout_s: float) -> None:
        """Stop after the item in progress, and wait at most ``timeout_s`` for it."""
        self._stop_requested.set()
        self._wake_requested.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    @property
    def is_stopping(self) -> bool:
        """True once ``stop`` was called."""
        return self._stop_requested.is_set()

    def _prepare(self) -> float | None:
        """Do what precedes the first round; return the seconds until that round, None for the usual interval."""
        return None

    @abstractmethod
    def _round(self) -> float | None:
        """Do one round; return the seconds until the next one, None for the usual interval."""

    def _loop(self) -> None:
        pause_s = self._pause_after(self._prepare)
        while not self.is_stopping:
            self._wake_requested.wait(pause_s)
            self._wake_requested.clear()
            if not self.is_stopping:
                pause_s = self._pause_after(self._round)

    def _pause_after(self, step: Callable[[], float | None]) -> float:
        pause_s = self._isolate(self._name, step)
        if pause_s is not None:
            return pause_s
        return self._interval_s * random.uniform(1 - self._jitter, 1 + self._jitter)  # noqa: S311 - no secret

    def _isolate(self, task: str, step: Callable[[], T], **log_fields: str) -> T | None:
        """Return the result of a step; where it raises, log and count that, and return None."""
        try:
            return step()
        except ProblemError as error:  # the database is busy or away: the next round tries again
            _log.warning("task_postponed", task=task, code=error.code, **log_fields)
        except Exception:  # noqa: BLE001 - logged and counted; nothing else may stop because of it
            _log.exception("task_failed", task=task, **log_fields)
        self._failures.labels(task).inc()
        return None

    def _for_each_run(
        self, task: str, run_ids: Iterable[str], step: Callable[[str], int], limit: int | None = None
    ) -> list[int]:
        """Return the results of a step for each run, at most ``limit`` runs, without those that failed.

        Runs that failed in the last round come last, so that they never take the places of others.
        """
        failed_before = self._failed_runs.get(task, set())
        failed: set[str] = set()
        results = []
        for run_id in sorted(run_ids, key=failed_before.__contains__)[:limit]:
            if self.is_stopping:
                break
            result = self._isolate(task, partial(step, run_id), run_id=run_id)
            if result is None:
                failed.add(run_id)
            else:
                results.append(result)
        self._failed_runs[task] = failed
        return results
