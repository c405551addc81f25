"""One attempt at one delivery, from the lease to the record of what came of it.

Two short transactions with the POST between them. What fails on our own side is an attempt that failed, too: a
delivery that nobody can write must not come back for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog

from relumine_server.errors import ProblemError
from relumine_server.metrics import Metrics
from relumine_server.storage import deliveries, lines, webhooks
from relumine_server.storage.lines import Leased
from relumine_server.storage.store import Store
from relumine_server.storage.writer import Work
from relumine_server.webhooks import retry
from relumine_server.webhooks.freezing import Draft, Unwritten, compose, keep
from relumine_server.webhooks.retry import Outcome, Verdict
from relumine_server.webhooks.signing import signed_headers

T = TypeVar("T")

PATIENCE_S = (0.1, 0.3, 1.0, 3.0)
"""Waits before an outcome is written again while the database is busy: what was sent should be known to be sent."""

REASONS: dict[Verdict, str] = {
    "gone": "the receiver answered 410 Gone",
    "failing": "every attempt of the last five days failed",
}

_log = structlog.get_logger(__name__)


class Post(Protocol):
    """Whatever makes one attempt."""

    def post(self, url: str, headers: Mapping[str, str], body: str) -> Outcome:
        """Try once; never raises for what a receiver does."""
        ...


class Attempting:
    """Makes attempts at leased deliveries; many threads may do so at once."""

    def __init__(
        self,
        store: Store,
        base_url: str,
        clock: Callable[[], datetime],
        post: Post,
        jitter: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._store, self._base_url, self._clock = store, base_url, clock
        self._post, self._jitter, self._metrics = post, jitter, metrics

    def deliver(self, leased: Leased) -> int:
        """Attempt a delivery; the number of attempts, none where there is nothing left to tell. Never raises."""
        try:
            return self._deliver(leased)
        except Exception:  # noqa: BLE001 - logged; one delivery must not hold up the others
            _log.exception("delivery_left_to_its_lease", **_named(leased))
            return 0

    def _deliver(self, leased: Leased) -> int:
        started_at = self._clock()
        try:
            text = leased.payload or self._freeze(leased)
        except ProblemError:
            raise  # the database is away: nothing was tried
        except Exception as error:  # noqa: BLE001 - logged, and shown in the log of attempts
            _log.exception("payload_not_written", **_named(leased))
            outcome = Outcome(None, 0, error=f"the server could not write the payload: {type(error).__name__}")
        else:
            if text is None:
                return 0
            outcome = self._send(leased, text, started_at)
        self._settle(leased, outcome, started_at)
        return 1

    def _freeze(self, leased: Leased) -> str | None:
        """The payload, written now; None where nothing is left to tell."""
        unwritten = Unwritten(leased.delivery_id, leased.event, leased.run_id, leased.created_at)
        while True:
            draft = _patiently(partial(self._compose, leased, unwritten))
            if self._write(partial(_kept, leased, unwritten, draft, self._clock())):
                return None if draft is None else draft.text

    def _compose(self, leased: Leased, unwritten: Unwritten) -> Draft | None:
        with self._store.read() as connection:
            return compose(connection, unwritten, leased.webhook, self._base_url)

    def _send(self, leased: Leased, text: str, at: datetime) -> Outcome:
        secrets = leased.webhook.secrets(at)
        headers = signed_headers(delivery_id=leased.delivery_id, body=text, secrets=secrets, at=at)
        return self._post.post(leased.webhook.url, headers, text)

    def _settle(self, leased: Leased, outcome: Outcome, started_at: datetime) -> None:
        self._metrics.attempts.labels(_kind(outcome)).inc()
        now = self._clock()
        due_at = retry.next_attempt(leased.tried + 1, outcome, now, self._jitter())
        work = partial(_settled, leased, outcome, started_at, due_at, retry.paused_until(outcome, now))
        _report(leased, outcome, due_at, settled=self._write(work))

    def _write(self, work: Work[T]) -> T:
        return _patiently(partial(self._store.write, work))


def _patiently(ask: Callable[[], T]) -> T:
    """Ask the database, and again a few times where it is busy or away."""
    for pause_s in PATIENCE_S:
        try:
            return ask()
        except ProblemError:
            threading.Event().wait(pause_s)
    return ask()


def _kept(leased: Leased, unwritten: Unwritten, draft: Draft | None, now: datetime, connection: sa.Connection) -> bool:
    """Keep a draft; without anything to send the line is free again. Says False where news came in between."""
    kept = draft is None or keep(connection, unwritten, leased.webhook, draft, now)
    if kept and (draft is None or draft.text is None):
        lines.release(connection, leased)
    return kept


def _settled(
    leased: Leased,
    outcome: Outcome,
    started_at: datetime,
    due_at: datetime | None,
    paused_until: datetime | None,
    connection: sa.Connection,
) -> bool:
    """Record the attempt, and disable a webhook that will never come back; says whether the lease was still ours."""
    streak = lines.settle(connection, leased, outcome, started_at=started_at, due_at=due_at, paused_until=paused_until)
    if streak is None:
        return False
    verdict = retry.verdict(outcome, streak.failures, streak.since, started_at)
    if verdict is not None:
        _disable(connection, leased.webhook.webhook_id, verdict, started_at)
    return True


def _disable(connection: sa.Connection, webhook_id: str, verdict: Verdict, now: datetime) -> None:
    """Disable a webhook, once, and tell those who listen to that."""
    webhook = webhooks.find(connection, webhook_id, lock=True)
    if webhook is not None and webhook.enabled:
        webhooks.disable(connection, webhook_id, verdict, now)
        deliveries.enqueue_disabled(connection, webhook, REASONS[verdict], now)
        _log.warning("webhook_disabled", webhook_id=webhook_id, reason=verdict)


def _named(leased: Leased) -> dict[str, str]:
    return {"delivery_id": leased.delivery_id, "webhook_id": leased.webhook.webhook_id}


def _kind(outcome: Outcome) -> str:
    """What became of an attempt, in few words: delivered, gone, an answer that is none, or no answer."""
    if outcome.delivered:
        return "delivered"
    return "gone" if outcome.gone else "no_answer" if outcome.status is None else "refused"


def _report(leased: Leased, outcome: Outcome, due_at: datetime | None, *, settled: bool) -> None:
    log = _log.bind(
        **_named(leased),
        host=urlsplit(leased.webhook.url).hostname,
        attempt=leased.attempt,
        status=outcome.status,
        duration_ms=outcome.duration_ms,
    )
    if not settled:
        log.warning("delivery_lease_lost")
    elif outcome.delivered:
        log.info("delivered")
    else:
        log.warning("delivery_failed", error=outcome.error, next_attempt=due_at.isoformat() if due_at else None)
