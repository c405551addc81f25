"""The server and its database, as it describes them to its administrators."""

from __future__ import annotations

from typing import Literal

from relumine.schemas.base import View


class ServerDatabase(View):
    """The database: its kind, the revision of its schema, its bytes, and the free bytes of its disk where it has one.

    The size of a distributed database is that of the node which answers.
    """

    kind: Literal["sqlite", "postgresql"]
    schema_revision: str | None
    size_bytes: int
    free_bytes: int | None


class ServerInfo(View):
    """Figures of a server. Those about work are of the whole database, the times of the process that answers.

    ``runs_to_compact`` and ``runs_to_delete`` are left for maintenance; ``last_maintenance_at`` is when this process
    last did it. ``oldest_delivery_due_s``: for how long the oldest delivery has been due.
    """

    version: str
    uptime_s: float
    database: ServerDatabase
    runs: int
    running: int
    sampled_steps: int
    uploads_last_hour: int
    records_last_hour: int
    writes_waiting: int
    deliveries_waiting: int
    deliveries_due: int
    oldest_delivery_due_s: float
    runs_to_compact: int
    runs_to_delete: int
    last_maintenance_at: str | None
