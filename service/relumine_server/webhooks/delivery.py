"""One attempt at one delivery, from the lease to the record of its outcome.

Two short transactions with the POST between them. An error of the server's own counts as a failed attempt too: a
delivery whose payload cannot be rendered must not be retried for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog

from relumine_server.clock import Clock
from relumine_server.db.database import Database
from relumine_server.db.dialect import WriteFn
from relumine_server.errors import ProblemError
from relumine_server.metrics import Metrics
from relumine_server.outbox import endpoints, leases, retry
from relumine_server.outbox import enqueue as outbox
from relumine_server.outbox.endpoints import WebhookRow
from relumine_server.outbox.leases import LeasedDelivery
from relumine_server.outbox.retry import DisableVerdict, Outcome
from relumine_server.webhooks import payloads
from relumine_server.webhooks.payloads import PayloadDraft, PendingDelivery
from relumine_server.webhooks.signing import signed_headers

T = TypeVar("T")
Renderer: TypeAlias = Callable[[sa.Connection, PendingDelivery, WebhookRow], PayloadDraft | None]
"""``payloads.render`` with the base URL of its links bound."""

BUSY_RETRY_DELAYS_S = (0.1, 0.3, 1.0, 3.0)
"""Waits before a busy database is asked again: the outcome of an attempt that was sent must not be lost."""

DISABLED_BECAUSE: dict[DisableVerdict, str] = {
    "endpoint_gone": "the receiver answered 410 Gone",
    "failing": "every attempt of the last five days failed",
}

_log = structlog.get_logger(__name__)


class HttpPoster(Protocol):
    """The sender of one HTTP request."""

    def post(self, url: str, headers: Mapping[str, str], body: str) -> Outcome:
        """Send one POST. A failure of the endpoint or the network is part of the outcome, never an exception."""
        ...


class DeliveryRunner:
    """Makes attempts at leased deliveries. Safe to call from many threads at once."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        render: Renderer,
        poster: HttpPoster,
        jitter: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._clock = clock
        self._render = render
        self._poster = poster
        self._jitter = jitter
        self._metrics = metrics

    def deliver(self, leased: LeasedDelivery) -> bool:
        """Make one attempt; return False where none was made. Never raises."""
        try:
            return self._deliver(leased)
        except Exception:  # noqa: BLE001 - logged; one delivery must not hold up the others
            _log.exception("delivery_crashed", **_log_fields(leased))
            return False

    def _deliver(self, leased: LeasedDelivery) -> bool:
        started_at = self._clock()
        try:
            payload = leased.payload or self._render_payload(leased)
        except ProblemError:
            raise  # the database is not available, so this was no attempt
        except Exception as error:  # noqa: BLE001 - logged, and stored as the error of the attempt
            _log.exception("payload_not_rendered", **_log_fields(leased))
            outcome = Outcome(None, 0, error=f"the server could not write the payload: {type(error).__name__}")
        else:
            if payload is None:
                return False
            outcome = self._send(leased, payload, started_at)
        self._record(leased, outcome, started_at)
        return True

    def _render_payload(self, leased: LeasedDelivery) -> str | None:
        """Render and store the payload; return None where nothing is left to report."""
        delivery = PendingDelivery(leased.delivery_id, leased.event, leased.run_id, leased.created_at)
        while True:
            draft = _retry_while_busy(partial(self._read_draft, delivery, leased.webhook))
            save = partial(_save_draft, leased=leased, delivery=delivery, draft=draft, now=self._clock())
            if self._write(save):
                return None if draft is None else draft.text

    def _read_draft(self, delivery: PendingDelivery, webhook: WebhookRow) -> PayloadDraft | None:
        with self._database.read() as connection:
            return self._render(connection, delivery, webhook)

    def _send(self, leased: LeasedDelivery, payload: str, started_at: datetime) -> Outcome:
        secrets = leased.webhook.secrets(started_at)
        headers = signed_headers(delivery_id=leased.delivery_id, body=payload, secrets=secrets, timestamp=started_at)
        return self._poster.post(leased.webhook.url, headers, payload)

    def _record(self, leased: LeasedDelivery, outcome: Outcome, started_at: datetime) -> None:
        self._metrics.attempts.labels(_outcome_label(outcome)).inc()
        now = self._clock()
        next_attempt_at = retry.next_attempt(leased.attempts_in_cycle + 1, outcome, now, self._jitter())
        record = partial(
            _record_attempt,
            leased=leased,
            outcome=outcome,
            started_at=started_at,
            next_attempt_at=next_attempt_at,
            paused_until=retry.paused_until(outcome, now),
        )
        is_recorded = self._write(record)
        _log_outcome(leased, outcome, next_attempt_at, is_recorded=is_recorded)

    def _write(self, work: WriteFn[T]) -> T:
        return _retry_while_busy(partial(self._database.write, work))


def _retry_while_busy(query: Callable[[], T]) -> T:
    """Return the result of a query, repeated a few times while the database is busy or not available."""
    for delay_s in BUSY_RETRY_DELAYS_S:
        try:
            return query()
        except ProblemError:
            time.sleep(delay_s)
    return query()


def _save_draft(
    connection: sa.Connection,
    *,
    leased: LeasedDelivery,
    delivery: PendingDelivery,
    draft: PayloadDraft | None,
    now: datetime,
) -> bool:
    """Store a draft and, without anything to send, release the lease; return False where the delivery has changed."""
    if draft is not None and not payloads.save(connection, delivery, leased.webhook, draft, now):
        return False
    if draft is None or draft.text is None:
        leases.release(connection, leased)
    return True


def _record_attempt(
    connection: sa.Connection,
    *,
    leased: LeasedDelivery,
    outcome: Outcome,
    started_at: datetime,
    next_attempt_at: datetime | None,
    paused_until: datetime | None,
) -> bool:
    """Store the attempt and disable the webhook if it is time to; return False where the lease was lost."""
    streak = leases.record_attempt(
        connection, leased, outcome, started_at=started_at, next_attempt_at=next_attempt_at, paused_until=paused_until
    )
    if streak is None:
        return False
    verdict = retry.disable_verdict(outcome, streak.consecutive_failures, streak.first_failure_at, started_at)
    if verdict is not None:
        _disable(connection, leased.webhook.webhook_id, verdict, started_at)
    return True


def _disable(connection: sa.Connection, webhook_id: str, verdict: DisableVerdict, now: datetime) -> None:
    """Disable a webhook that is enabled, and notify the webhooks that subscribe to that."""
    webhook = endpoints.find(connection, webhook_id, lock=True)
    if webhook is not None and webhook.enabled:
        endpoints.disable(connection, webhook_id, verdict, now)
        outbox.enqueue_disabled(connection, webhook, DISABLED_BECAUSE[verdict], now)
        _log.warning("webhook_disabled", webhook_id=webhook_id, reason=verdict)


def _outcome_label(outcome: Outcome) -> str:
    """Return the value of the metric's label ``outcome``."""
    if outcome.delivered:
        return "delivered"
    if outcome.endpoint_gone:
        return "endpoint_gone"
    return "unreachable" if outcome.response_status is None else "rejected"


def _log_outcome(
    leased: LeasedDelivery, outcome: Outcome, next_attempt_at: datetime | None, *, is_recorded: bool
) -> None:
    log = _log.bind(
        **_log_fields(leased),
        host=urlsplit(leased.webhook.url).hostname,
        attempt=leased.attempt,
        response_status=outcome.response_status,
        duration_ms=outcome.duration_ms,
    )
    if not is_recorded:
        log.warning("delivery_lease_lost")
    elif outcome.delivered:
        log.info("delivered")
    else:
        next_attempt = None if next_attempt_at is None else next_attempt_at.isoformat()
        log.warning("delivery_failed", error=outcome.error, next_attempt_at=next_attempt)


def _log_fields(leased: LeasedDelivery) -> dict[str, str]:
    return {"delivery_id": leased.delivery_id, "webhook_id": leased.webhook.webhook_id}
