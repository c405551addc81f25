"""The courier: the one loop that sends what the outbox holds. At least once, never in a transaction.

A delivery is leased, its body frozen, sent, and what came of it recorded. Killed anywhere in between, the
lease runs out and the delivery is tried again under the same id. The courier decides nothing itself:
``retry`` says when, ``targets`` says where, ``payload`` says what.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog

from relumine_server.metrics import Metrics
from relumine_server.settings import Settings
from relumine_server.storage import alerts as alert_rows
from relumine_server.storage import deliveries, webhooks
from relumine_server.storage.deliveries import Leased
from relumine_server.storage.store import Store
from relumine_server.webhooks.payload import News, body
from relumine_server.webhooks.retry import Outcome, next_attempt
from relumine_server.webhooks.sender import Sender
from relumine_server.webhooks.signing import signed_headers

LEASE_MARGIN_S = 30.0  # for resolving names and for writing the outcome

_log = structlog.get_logger(__name__)


class Post(Protocol):
    """Whatever makes one attempt."""

    def post(self, url: str, headers: Mapping[str, str], body: str) -> Outcome:
        """Try once; never raises for what a receiver does."""
        ...


class Courier:
    """Sends deliveries in a thread of its own (``start``), or one round at a time (``run_once``)."""

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
        self._metrics = metrics or Metrics()
        self._store = store
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._sender = sender or Sender(settings.webhook_allowed, timeout_s=settings.webhook_timeout_s)
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send, in a daemon thread."""
        if self._thread is not None:
            raise RuntimeError("the courier was started already")
        self._thread = threading.Thread(target=self._run, name="relumine-courier", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for due deliveries now. Called after a commit that wrote some; never waits."""
        self._awake.set()

    def stop(self, timeout_s: float) -> None:
        """End after the attempt under way, or leave it to its lease when that takes longer than ``timeout_s``."""
        self._stopping.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def run_once(self) -> int:
        """One round: the first due delivery of every webhook, attempted once. The number of attempts.

        One of each, so that a receiver with a long line of failures does not stand before all others.
        """
        attempted = 0
        passing: set[str] = set()
        while not self._stopping.is_set():
            leased = self._store.write(lambda session: self._lease(session, passing))
            if leased is None:
                break
            passing.add(leased.webhook_id)
            attempted += self._deliver(leased)
        return attempted

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._awake.clear()
            if self._survived_round() == 0:
                self._awake.wait(self._settings.courier_poll_s)

    def _survived_round(self) -> int:
        """A round whose failure costs a pause, never the thread."""
        try:
            return self.run_once()
        except Exception:  # noqa: BLE001 - logged; the loop must outlive whatever a round meets
            _log.exception("courier_round_failed")
            return 0

    def _lease(self, session: sa.Connection, passing: Collection[str]) -> Leased | None:
        now = self._clock()
        deliveries.cancel_orphans(session, now)
        until = now + timedelta(seconds=self._settings.webhook_timeout_s + LEASE_MARGIN_S)
        return deliveries.lease(session, now=now, until=until, passing=passing)

    def _deliver(self, leased: Leased) -> int:
        """Attempt one delivery. What fails on our side leaves it to its lease, and the others in peace."""
        try:
            text = leased.payload or self._store.write(lambda session: self._freeze(session, leased))
            if text is None:
                return 0
            self._attempt(leased, text)
        except Exception:  # noqa: BLE001 - logged; one delivery must not hold up the others
            _log.exception("delivery_left_to_its_lease", delivery_id=leased.delivery_id, webhook_id=leased.webhook_id)
            return 0
        return 1

    def _freeze(self, session: sa.Connection, leased: Leased) -> str | None:
        """The body, kept for every later attempt; None where the run was deleted meanwhile."""
        base_url = self._settings.base_url
        if leased.event == "webhook.test":
            news = News(leased.event, leased.created_at, [], 0, f"{base_url}/#/webhooks")
        else:
            alerts = alert_rows.find(session, leased.run_id, leased.alert_ids, base_url)
            if not alerts:
                deliveries.cancel(session, leased.delivery_id, self._clock())
                return None
            news = News(leased.event, leased.created_at, alerts, len(alerts), alerts[0].run.url)
        text = body("standard", news)
        deliveries.freeze(session, leased.delivery_id, text)
        return text

    def _attempt(self, leased: Leased, text: str) -> None:
        started_at = self._clock()
        headers = signed_headers(delivery_id=leased.delivery_id, body=text, secrets=[leased.secret], at=started_at)
        outcome = self._sender.post(leased.url, headers, text)
        self._metrics.attempts.labels(_kind(outcome)).inc()
        due_at = next_attempt(leased.attempt, outcome, self._clock(), self._jitter())
        settled = self._store.write(lambda session: _settle(session, leased, outcome, started_at, due_at))
        _report(leased, outcome, due_at, settled=settled)


def _kind(outcome: Outcome) -> str:
    """What became of an attempt, in few words: delivered, gone, an answer that is none, or no answer."""
    if outcome.delivered:
        return "delivered"
    return "gone" if outcome.gone else "no_answer" if outcome.status is None else "refused"


def _settle(
    session: sa.Connection, leased: Leased, outcome: Outcome, started_at: datetime, due_at: datetime | None
) -> bool:
    settled = deliveries.settle(session, leased, outcome, started_at=started_at, due_at=due_at)
    if settled and outcome.gone:
        webhooks.change(session, leased.webhook_id, {"enabled": False})
    return settled


def _report(leased: Leased, outcome: Outcome, due_at: datetime | None, *, settled: bool) -> None:
    log = _log.bind(
        delivery_id=leased.delivery_id,
        webhook_id=leased.webhook_id,
        host=urlsplit(leased.url).hostname,
        attempt=leased.attempt,
        status=outcome.status,
        duration_ms=outcome.duration_ms,
    )
    if not settled:
        log.warning("delivery_lease_lost")
    elif outcome.delivered:
        log.info("delivered")
    else:
        log.warning(
            "webhook_gone" if outcome.gone else "delivery_failed",
            error=outcome.error,
            next_attempt=due_at.isoformat() if due_at else None,
        )
