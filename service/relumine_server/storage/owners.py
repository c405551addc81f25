"""Which project a thing in a path belongs to. A key of one project must not even learn that another's thing exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from relumine_server.errors import (
    AlertNotFound,
    DeliveryNotFound,
    KeyNotFound,
    OtherProject,
    ProblemError,
    ProjectNotFound,
    RunNotFound,
    SilenceNotFound,
    WebhookNotFound,
)
from relumine_server.storage import tables as t
from relumine_server.storage.alerts import run_of
from relumine_server.storage.webhooks import is_pattern

Owner = Callable[[sa.Connection, str], str | None]


def _column(table: sa.Table, key: str) -> Owner:
    query = sa.select(table.c.project).where(table.c[key] == sa.bindparam("id"))
    return lambda session, value: session.scalar(query, {"id": value})


def _nobody(_session: sa.Connection, _value: str) -> None:
    return None


def _of_webhook(session: sa.Connection, webhook_id: str) -> str | None:
    """The one project that a webhook hears of; one with a pattern is nobody's, whatever projects are called."""
    project = _named(session, webhook_id)
    return None if project is None or is_pattern(project) else project


def _of_delivery(session: sa.Connection, delivery_id: str) -> str | None:
    """That of its webhook; what the webhook was sent while it was another project's is nobody's."""
    d = t.deliveries.c
    row = session.execute(sa.select(d.webhook_id, d.project).where(d.delivery_id == delivery_id)).first()
    owner = None if row is None else _of_webhook(session, row.webhook_id)
    return owner if row is not None and row.project in {"", owner} else None


_named = _column(t.webhooks, "webhook_id")
_of_run = _column(t.runs, "run_id")

OWNERS: Mapping[str, tuple[Owner, type[ProblemError]]] = {
    "project": (lambda _session, value: value, ProjectNotFound),
    "run_id": (_of_run, RunNotFound),
    "alert_id": (lambda session, value: _of_run(session, run_of(value)), AlertNotFound),
    "silence_id": (_column(t.silences, "silence_id"), SilenceNotFound),
    "webhook_id": (_of_webhook, WebhookNotFound),
    "delivery_id": (_of_delivery, DeliveryNotFound),
    "key_id": (_column(t.keys, "key_id"), KeyNotFound),
}
"""By the name of a path's parameter: who owns what it names, and what is said where that is somebody else."""

WITHIN = frozenset({"layer_id"})
"""Parameters that count within another one."""


def require(session: sa.Connection, parameters: Mapping[str, str], project: str) -> None:
    """Raises the same not-found problem for what belongs to another project as for what does not exist."""
    for name, value in parameters.items():
        if name in WITHIN:
            continue
        owner, missing = OWNERS.get(name, (_nobody, OtherProject))
        if "\0" in value or owner(session, value) != project:
            raise missing
