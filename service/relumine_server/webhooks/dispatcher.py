"""The dispatcher: the loop that sends what the outbox holds, at least once, and never inside a transaction.

It leases a webhook, renders the payload of its first due delivery, sends it and records the outcome. Where the process
is killed anywhere in between, the lease expires and the delivery is attempted again under the same id. Attempts run in
threads, as many as the settings allow, so that a slow endpoint occupies one of them and delays no other.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from relumine_server.clock import Clock, utc_now
from relumine_server.db.database import Database
from relumine_server.metrics import Metrics
from relumine_server.outbox import clock_corrections, leases
from relumine_server.outbox.leases import LeasedDelivery
from relumine_server.periodic import PeriodicWorker
from relumine_server.settings import Settings
from relumine_server.webhooks import payloads
from relumine_server.webhooks.delivery import DeliveryRunner, Renderer
from relumine_server.webhooks.http_client import WebhookHttpClient

LEASE_MARGIN_S = 15.0  # for name resolution, the write of the outcome, and clocks of several machines
MAX_LEASES_PER_ROUND = 1_000
STOP_TIMEOUT_S = 5.0


class WebhookDispatcher(PeriodicWorker):
    """Sends deliveries in its thread (``start``), or one round at a time (``run_once``).

    It is woken after each commit that wrote deliveries.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
        metrics: Metrics | None = None,
        render: Renderer | None = None,
    ) -> None:
        metrics = metrics or Metrics()
        super().__init__("dispatcher", settings.dispatcher_poll_s, metrics, jitter=0.0)
        self._database = database
        self._settings = settings
        self._clock = clock
        self._runner = DeliveryRunner(
            database,
            clock,
            render=render or partial(payloads.render, base_url=settings.base_url),
            poster=WebhookHttpClient(settings.webhook_targets, timeout_s=settings.webhook_timeout_s),
            jitter=jitter,
            metrics=metrics,
        )
        self._in_flight: set[threading.Thread] = set()
        self._in_flight_lock = threading.Lock()

    def stop(self, timeout_s: float) -> None:
        """Stop, and wait at most ``timeout_s`` for the attempts in flight; the leases of slower ones expire."""
        deadline = time.monotonic() + timeout_s
        super().stop(timeout_s)
        for thread in self._attempts_in_flight():
            thread.join(max(deadline - time.monotonic(), 0))

    def run_once(self) -> int:
        """Attempt the first due delivery of every webhook once; return the number of attempts.

        One delivery of each, so that an endpoint with many failing deliveries does not delay all others.
        """
        attempts = 0
        while attempts == 0 and (leased := self._lease(MAX_LEASES_PER_ROUND)):  # none where all were superseded
            attempts = sum(self._runner.deliver(delivery) for delivery in leased)
        return attempts

    def _prepare(self) -> float:
        """Release the leases of a previous process that died, where no other process can hold one."""
        if self._database.is_exclusive:
            self._database.write(leases.release_all)
        return 0.0

    def _round(self) -> float:
        """Start the attempts there is room for; return the seconds until the next delivery may be due."""
        room = self._settings.dispatcher_concurrency - len(self._attempts_in_flight())
        leased = self._lease(room) if room > 0 else []
        for delivery in leased:
            self._start_attempt(delivery)
        return 0.0 if leased else self._seconds_until_due()

    def _lease(self, limit: int) -> list[LeasedDelivery]:
        now = self._clock()
        with self._database.read() as connection:
            has_future = clock_corrections.any_from_future(connection, now)
            is_any_due = leases.any_due(connection, now)
        if has_future:
            self._database.write(partial(clock_corrections.bring_forward, now=now))
        elif not is_any_due:
            return []
        until = now + timedelta(seconds=self._settings.webhook_timeout_s + LEASE_MARGIN_S)
        return self._database.write(partial(leases.acquire, now=now, until=until, limit=limit))

    def _seconds_until_due(self) -> float:
        now = self._clock()
        with self._database.read() as connection:
            due_at = leases.next_due(connection, now)
        poll_s = self._settings.dispatcher_poll_s
        return poll_s if due_at is None else min((due_at - now).total_seconds(), poll_s)

    def _start_attempt(self, leased: LeasedDelivery) -> None:
        """Make an attempt in a daemon thread, so that one that hangs does not keep the process from ending."""
        thread = threading.Thread(target=self._attempt, args=(leased,), name="relumine-attempt", daemon=True)
        with self._in_flight_lock:
            self._in_flight.add(thread)
        thread.start()

    def _attempt(self, leased: LeasedDelivery) -> None:
        try:
            self._runner.deliver(leased)
        finally:
            with self._in_flight_lock:
                self._in_flight.discard(threading.current_thread())
            self.wake()

    def _attempts_in_flight(self) -> list[threading.Thread]:
        with self._in_flight_lock:
            return list(self._in_flight)


def run_until_signalled(database: Database, settings: Settings) -> None:
    """Run a dispatcher in a process of its own, until SIGTERM or SIGINT."""
    signalled = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signalled.set())
    dispatcher = WebhookDispatcher(database, settings, utc_now)
    dispatcher.start()
    signalled.wait()
    dispatcher.stop(STOP_TIMEOUT_S)
