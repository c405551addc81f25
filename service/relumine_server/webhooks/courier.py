"""The courier: the one loop that sends what the outbox holds. At least once, never in a transaction.

A line is leased, the payload of its first delivery frozen, sent, and what came of it recorded. Killed anywhere in
between, the lease runs out and the delivery is tried again under the same id. Attempts run in threads, as many as the
settings say, so that a slow receiver keeps one of them busy and nobody waiting. The courier decides nothing itself:
``retry`` says when, ``targets`` says where, ``payload`` says what.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from relumine_server.errors import ProblemError
from relumine_server.metrics import Metrics
from relumine_server.settings import Settings
from relumine_server.storage import lines
from relumine_server.storage.lines import Leased
from relumine_server.storage.store import Store
from relumine_server.webhooks.attempting import Attempting, Post
from relumine_server.webhooks.sender import Sender

LEASE_MARGIN_S = 15.0  # for resolving names, writing the outcome, and clocks of several machines
WHOLE_ROUND = 1_000
STOP_S = 5.0  # how long an attempt under way may still take when the process ends

_log = structlog.get_logger(__name__)


class Courier:
    """Sends deliveries in threads of its own (``start``), or one round at a time (``run_once``)."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        clock: Callable[[], datetime],
        *,
        sender: Post | None = None,
        jitter: Callable[[], float] = random.random,
        metrics: Metrics | None = None,
    ) -> None:
        self._store, self._settings, self._clock = store, settings, clock
        post = sender or Sender(settings.webhook_allowed, timeout_s=settings.webhook_timeout_s)
        self._attempting = Attempting(store, settings.base_url, clock, post, jitter, metrics or Metrics())
        self._under_way: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._awake, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send."""
        if self._thread is not None:
            raise RuntimeError("the courier was started already")
        self._thread = threading.Thread(target=self._run, name="relumine-courier", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for due deliveries now. Called after a commit that wrote some; never waits."""
        self._awake.set()

    def stop(self, timeout_s: float) -> None:
        """End after the attempts under way, or leave them to their leases where they take longer than ``timeout_s``."""
        end = time.monotonic() + timeout_s
        self._stopping.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        for thread in self._attempts():
            thread.join(max(end - time.monotonic(), 0))

    def run_once(self) -> int:
        """One round: the first due delivery of every webhook, attempted once. The number of attempts.

        One of each, so that a receiver with a long line of failures does not stand before all others.
        """
        attempted = 0
        while not attempted and (taken := self._lease(WHOLE_ROUND)):  # none where all of it was called off
            attempted = sum(map(self._attempting.deliver, taken))
        return attempted

    def _run(self) -> None:
        pause_s = self._survived(self._begin)
        while not self._stopping.is_set():
            self._awake.wait(pause_s)
            self._awake.clear()
            pause_s = self._survived(self._round)

    def _begin(self) -> float:
        """What was leased before this process died is nobody's now, where no other process can be at work."""
        if self._store.is_exclusive:
            self._store.write(lines.release_all)
        return 0.0

    def _survived(self, work: Callable[[], float]) -> float:
        """A round whose failure costs a pause, never the thread."""
        try:
            return work()
        except ProblemError as error:
            _log.warning("courier_waits", code=error.code)
        except Exception:  # noqa: BLE001 - logged; the loop must outlive whatever a round meets
            _log.exception("courier_round_failed")
        return self._settings.courier_poll_s

    def _round(self) -> float:
        """Begin the attempts that there is room for; seconds until the next round, unless somebody wakes it."""
        room = self._settings.courier_concurrency - len(self._attempts())
        taken = self._lease(room) if room > 0 else []
        for leased in taken:
            self._begin_attempt(leased)
        return 0.0 if taken else self._pause_s()

    def _lease(self, room: int) -> list[Leased]:
        now = self._clock()
        with self._store.read() as connection:
            if not lines.is_ready(connection, now):
                return []
        until = now + timedelta(seconds=self._settings.webhook_timeout_s + LEASE_MARGIN_S)
        return self._store.write(partial(lines.lease, now=now, until=until, room=room))

    def _pause_s(self) -> float:
        now = self._clock()
        with self._store.read() as connection:
            due_at = lines.next_due(connection, now)
        left_s = (due_at - now).total_seconds() if due_at is not None else self._settings.courier_poll_s
        return min(left_s, self._settings.courier_poll_s)

    def _begin_attempt(self, leased: Leased) -> None:
        """An attempt in a daemon thread: one that hangs does not keep the process from ending."""
        thread = threading.Thread(target=self._attempt, args=(leased,), name="relumine-attempt", daemon=True)
        with self._lock:
            self._under_way.add(thread)
        thread.start()

    def _attempt(self, leased: Leased) -> None:
        try:
            self._attempting.deliver(leased)
        finally:
            with self._lock:
                self._under_way.discard(threading.current_thread())
            self._awake.set()

    def _attempts(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._under_way)


def run_until_told(store: Store, settings: Settings) -> None:
    """Be a courier in a process of its own, until SIGTERM or SIGINT."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    courier = Courier(store, settings, lambda: datetime.now(UTC))
    courier.start()
    told.wait()
    courier.stop(STOP_S)
