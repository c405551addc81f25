"""Which project a thing in a path belongs to. A key of one project must not even learn that another's thing exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from relumine_server.errors import (
    AlertNotFound,
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

Owner = Callable[[sa.Connection, str], str | None]


def _column(table: sa.Table, key: str) -> Owner:
    query = sa.select(table.c.project).where(table.c[key] == sa.bindparam("id"))
    return lambda session, value: session.scalar(query, {"id": value})


def _nobody(_session: sa.Connection, _value: str) -> None:
    return None


_of_run = _column(t.runs, "run_id")

OWNERS: Mapping[str, tuple[Owner, type[ProblemError]]] = {
    "project": (lambda _session, value: value, ProjectNotFound),
    "run_id": (_of_run, RunNotFound),
    "alert_id": (lambda session, value: _of_run(session, run_of(value)), AlertNotFound),
    "silence_id": (_column(t.silences, "silence_id"), SilenceNotFound),
    "webhook_id": (_column(t.webhooks, "webhook_id"), WebhookNotFound),
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
