"""Policies of projects. Only what differs from the default is stored, so that better defaults reach every project."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from relumine_server.db import tables
from relumine_server.detection import policy as detection_policy
from relumine_server.detection.policy import DEFAULT, Policy

CACHE_TTL = timedelta(seconds=2)
"""Longest age of the policies that a process uses: after that a change is in force everywhere."""

_p = tables.projects.c
_CHANGED_POLICIES = sa.select(_p.project, _p.policy).where(_p.policy.is_not(None))


def load(connection: sa.Connection, project: str) -> Policy | None:
    """Return the policy of a project; None if there is no such project."""
    row = connection.execute(sa.select(_p.policy).where(_p.project == project)).first()
    return None if row is None else detection_policy.restore(row.policy or {})


def save(connection: sa.Connection, project: str, policy: Policy) -> None:
    """Set the policy of a project."""
    statement = sa.update(tables.projects).where(_p.project == project)
    connection.execute(statement.values(policy=detection_policy.changed(policy) or None))


class _Snapshot(NamedTuple):
    read_at: datetime
    policies: Mapping[str, Policy]


class PolicyCache:
    """The policies of all projects that changed theirs, in one short query every two seconds.

    It may be shared between threads: at worst two of them read the same.
    """

    def __init__(self) -> None:
        self._snapshot: _Snapshot | None = None

    def get(self, connection: sa.Connection, project: str, now: datetime) -> Policy:
        """Return the policy of a project, at most ``CACHE_TTL`` old."""
        snapshot = self._snapshot
        # abs: a clock that was set back must not keep old policies in force.
        if snapshot is None or abs(now - snapshot.read_at) >= CACHE_TTL:
            rows = connection.execute(_CHANGED_POLICIES).all()
            snapshot = _Snapshot(now, {row.project: detection_policy.restore(row.policy or {}) for row in rows})
            self._snapshot = snapshot
        return snapshot.policies.get(project, DEFAULT)
