"""Policies of projects. Stored is only what differs from the default, so that better defaults reach everyone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from relumine_server.detection.policy import DEFAULT, Policy
from relumine_server.storage import tables as t
from relumine_server.storage import thresholds

BELIEVED = timedelta(seconds=2)
"""For so long a process goes by the policies that it read: a change is in force everywhere after it."""

_p = t.projects.c
_ALL = sa.select(_p.project, _p.policy).where(_p.policy.is_not(None))


def load(connection: sa.Connection, project: str) -> Policy | None:
    """The policy of a project; None where there is no such project."""
    row = connection.execute(sa.select(_p.policy).where(_p.project == project)).first()
    return None if row is None else thresholds.restore(row.policy or {})


def save(connection: sa.Connection, project: str, policy: Policy) -> None:
    """Set the policy of a project."""
    statement = sa.update(t.projects).where(_p.project == project)
    connection.execute(statement.values(policy=thresholds.changed(policy) or None))


class Cache:
    """The policies of all projects that changed theirs: one short read every two seconds, however many runs upload.

    Safe to share between threads: at worst two of them read the same.
    """

    def __init__(self) -> None:
        self._read: tuple[datetime, Mapping[str, Policy]] | None = None

    def get(self, connection: sa.Connection, project: str, now: datetime) -> Policy:
        """The policy of a project, as of at most ``BELIEVED`` ago."""
        read = self._read
        if read is None or abs(now - read[0]) >= BELIEVED:  # also where the clock was set back
            rows = connection.execute(_ALL).all()
            read = self._read = (now, {row.project: thresholds.restore(row.policy) for row in rows})
        return read[1].get(project, DEFAULT)
