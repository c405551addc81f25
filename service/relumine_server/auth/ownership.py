"""The project that the resources named in a path belong to.

A key of one project must not even learn that a resource of another project exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from relumine_server.db import tables
from relumine_server.errors import (
    AlertNotFound,
    DeliveryNotFound,
    IncidentNotFound,
    KeyNotFound,
    ProblemError,
    ProjectForbidden,
    ProjectNotFound,
    RunNotFound,
    SilenceNotFound,
    WebhookNotFound,
)
from relumine_server.outbox.alert_refs import run_of
from relumine_server.outbox.endpoints import is_pattern

FindProject = Callable[[sa.Connection, str], str | None]
"""Returns the project of a resource by its id; None if it does not exist or belongs to no single project."""


def _by_column(table: sa.Table, id_column: str) -> FindProject:
    query = sa.select(table.c.project).where(table.c[id_column] == sa.bindparam("id"))

    def find(connection: sa.Connection, resource_id: str) -> str | None:
        project: str | None = connection.scalar(query, {"id": resource_id})
        return project

    return find


_run_project = _by_column(tables.runs, "run_id")  # of a run that is being deleted, too: its routes answer 404
_webhook_project_or_pattern = _by_column(tables.webhooks, "webhook_id")


def _alert_project(connection: sa.Connection, alert_id: str) -> str | None:
    return _run_project(connection, run_of(alert_id))


def _webhook_project(connection: sa.Connection, webhook_id: str) -> str | None:
    """Return the single project that a webhook is for; None for one with a pattern, whatever projects it matches."""
    project = _webhook_project_or_pattern(connection, webhook_id)
    return None if project is None or is_pattern(project) else project


def _delivery_project(connection: sa.Connection, delivery_id: str) -> str | None:
    """Return the project of a delivery's webhook; None if the delivery was created while it was another project's."""
    delivery = tables.deliveries.c
    query = sa.select(delivery.webhook_id, delivery.project).where(delivery.delivery_id == delivery_id)
    row = connection.execute(query).first()
    if row is None:
        return None
    project = _webhook_project(connection, row.webhook_id)
    return project if row.project in {"", project} else None


def _no_project(_connection: sa.Connection, _resource_id: str) -> None:
    return None


def _itself(_connection: sa.Connection, project: str) -> str:
    return project


OWNERS: Mapping[str, tuple[FindProject, type[ProblemError]]] = {
    "project": (_itself, ProjectNotFound),
    "run_id": (_run_project, RunNotFound),
    "alert_id": (_alert_project, AlertNotFound),
    "incident_id": (_alert_project, IncidentNotFound),
    "silence_id": (_by_column(tables.silences, "silence_id"), SilenceNotFound),
    "webhook_id": (_webhook_project, WebhookNotFound),
    "delivery_id": (_delivery_project, DeliveryNotFound),
    "key_id": (_by_column(tables.api_keys, "key_id"), KeyNotFound),
}
"""By the name of a path parameter: how to find the project of the resource, and the problem if it is another's."""

WITHIN = frozenset({"layer_id"})
"""Parameters that number something within another resource of the same path."""


def run_id_within(connection: sa.Connection, run_id: str, project: str) -> str:
    """Return the id under which a project's run is kept: another one where the run of that id is another project's."""
    r = tables.runs.c
    if "\0" in run_id or _run_project(connection, run_id) == project:
        return run_id
    stored: str | None = connection.scalar(sa.select(r.run_id).where(r.project == project, r.sent_id == run_id))
    return stored or run_id


def require(connection: sa.Connection, parameters: Mapping[str, str], project: str) -> None:
    """Raise the not-found problem of the first resource that does not belong to ``project``.

    It is the same problem as for a resource that does not exist.
    """
    for name, value in parameters.items():
        if name in WITHIN:
            continue
        find_project, not_found = OWNERS.get(name, (_no_project, ProjectForbidden))
        if "\0" in value or find_project(connection, value) != project:
            raise not_found
