"""Receivers of notifications over HTTP: create, read, change, delete, and try one out.

The secret is shown once, in the answer that created it. Nothing is sent from here: the outbox is written and
the courier woken.
"""

from __future__ import annotations

import base64
import secrets
from datetime import UTC
from typing import Annotated, Any, Literal
from uuid import uuid4

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from relumine.views import Page, Webhook
from relumine_server.api import cursors, problems
from relumine_server.api.depends import ClockDep, CourierDep, OwnProject, SettingsDep, StoreDep
from relumine_server.errors import BadCursor, InvalidWebhook, OtherProject, WebhookDisabled, WebhookNotFound
from relumine_server.storage import deliveries
from relumine_server.storage import webhooks as rows
from relumine_server.storage.webhooks import WebhookRow
from relumine_server.webhooks.allowed import Allowed
from relumine_server.webhooks.targets import url_problem

EVENTS = (
    "alert.firing",
    "alert.resolved",
    "alert.acknowledged",
    "run.finished",
    "webhook.test",
    "webhook.disabled",
)
SECRET_BYTES = 32
MAX_PROJECT_CHARS = 200

WebhookId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
_NOT_FOUND = problems.responses(WebhookNotFound)
_REFUSED = problems.responses(InvalidWebhook, BadCursor)

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


class _Body(BaseModel):
    """A misspelt field would mean alerts that never arrive, so unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class NewWebhook(_Body):
    """A receiver to be told of alerts."""

    url: str
    events: list[str] = Field(default=["alert.firing", "alert.resolved"])
    project: str | None = None
    format: Literal["standard"] = "standard"


class WebhookChange(_Body):
    """What is to change; fields left out stay as they are, a null project means every project."""

    url: str = ""
    events: list[str] = Field(default=[])
    project: str | None = None
    enabled: bool = True


class Probe(BaseModel):
    """The delivery that a test wrote."""

    delivery_id: str
    webhook_id: str
    event: str


@router.post("", status_code=201, responses=_REFUSED)
def create_webhook(
    body: NewWebhook, store: StoreDep, settings: SettingsDep, clock: ClockDep, own: OwnProject
) -> Webhook:
    """Add a receiver. The answer holds its secret, once."""
    values = _bound(_checked(body, allowed=settings.webhook_allowed), own)
    row = WebhookRow(
        webhook_id=f"whk_{uuid4().hex}",
        secret="whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode(),
        enabled=True,
        created_at=clock(),
        **values,
    )
    store.write(lambda session: rows.insert(session, row))
    return _view(row, secret=row.secret)


@router.get("", responses=_REFUSED)
def list_webhooks(
    store: StoreDep,
    own: OwnProject,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> Page[Webhook]:
    """All receivers, in the order of their creation."""
    after = cursors.decode(cursor, 2)
    with store.read() as session:
        found = rows.page(session, project=own, after=after, limit=limit + 1)
    shown = found[:limit]
    next_cursor = cursors.encode([shown[-1].created_at, shown[-1].webhook_id]) if len(found) > limit else None
    return Page[Webhook](items=[_view(row) for row in shown], next_cursor=next_cursor)


@router.get("/{webhook_id}", responses=_NOT_FOUND)
def read_webhook(webhook_id: WebhookId, store: StoreDep) -> Webhook:
    """One receiver."""
    with store.read() as session:
        return _view(_found(session, webhook_id))


@router.patch("/{webhook_id}", responses=_NOT_FOUND | _REFUSED)
def change_webhook(
    webhook_id: WebhookId, body: WebhookChange, store: StoreDep, settings: SettingsDep, own: OwnProject
) -> Webhook:
    """Change a receiver. What waits for a receiver that was disabled is called off."""
    values = _bound(_checked(body, allowed=settings.webhook_allowed), own)

    def work(session: sa.Connection) -> WebhookRow:
        rows.change(session, webhook_id, values)
        return _found(session, webhook_id)

    return _view(store.write(work))


@router.delete("/{webhook_id}", status_code=204, responses=_NOT_FOUND)
def delete_webhook(webhook_id: WebhookId, store: StoreDep, clock: ClockDep) -> Response:
    """Remove a receiver; what waits for it is called off."""
    if not store.write(lambda session: rows.delete(session, webhook_id, clock())):
        raise WebhookNotFound
    return Response(status_code=204)


@router.post("/{webhook_id}/test", status_code=202, responses=problems.responses(WebhookNotFound, WebhookDisabled))
def test_webhook(webhook_id: WebhookId, store: StoreDep, clock: ClockDep, courier: CourierDep) -> Probe:
    """Send a signed ``webhook.test`` to this receiver, whatever events it listens to."""

    def work(session: sa.Connection) -> str:
        if not _found(session, webhook_id).enabled:
            raise WebhookDisabled
        return deliveries.enqueue_probe(session, webhook_id, clock())

    delivery_id = store.write(work)
    courier.wake()
    return Probe(delivery_id=delivery_id, webhook_id=webhook_id, event="webhook.test")


def _checked(body: NewWebhook | WebhookChange, *, allowed: Allowed) -> dict[str, Any]:
    """The columns that the body sets. Raises InvalidWebhook; a new webhook sets them all."""
    new = isinstance(body, NewWebhook)
    values = body.model_dump() if new else body.model_dump(exclude_unset=True)
    problem = (
        ("url" in values and url_problem(values["url"], allowed))
        or ("events" in values and _events_problem(values["events"]))
        or _project_problem(values.get("project"))
    )
    if problem:
        raise InvalidWebhook(problem)
    return values


def _bound(values: dict[str, Any], own: str | None) -> dict[str, Any]:
    """The columns, within what the caller may: a key of one project has no other. Raises OtherProject."""
    if own is None or "project" not in values:
        return values
    if values["project"] not in (None, own):
        raise OtherProject("a key of one project makes webhooks of that project only")
    return {**values, "project": own}


def _events_problem(events: list[str]) -> str | None:
    if not events:
        return "events is empty: such a webhook would never be called"
    if any(event not in EVENTS for event in events):
        return f"events must be among {', '.join(EVENTS)}"
    return "events names one twice" if len(set(events)) < len(events) else None


def _project_problem(project: str | None) -> str | None:
    if project is None:
        return None
    if not project or len(project) > MAX_PROJECT_CHARS:
        return f"project must have 1 to {MAX_PROJECT_CHARS} characters"
    return "project holds a NUL" if "\x00" in project else None


def _found(session: sa.Connection, webhook_id: str) -> WebhookRow:
    row = rows.find(session, webhook_id)
    if row is None:
        raise WebhookNotFound
    return row


def _view(row: WebhookRow, *, secret: str | None = None) -> Webhook:
    return Webhook(
        webhook_id=row.webhook_id,
        url=row.url,
        format=row.format,
        events=row.events,
        project=row.project,
        enabled=row.enabled,
        created_at=row.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        secret=secret,
    )
