"""Cursors of lists of runs: the name of the order, then the position of the last run of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from relumine_server.api import pagination
from relumine_server.api.pagination import Nullable
from relumine_server.runs import sorting
from relumine_server.runs.rows import ListedRun

_POSITIONS: Mapping[str, tuple[pagination.Kind, ...]] = {
    "created_at": (datetime, str),
    "updated_at": (datetime, datetime, str),
    "name": (Nullable(str), datetime, str),
    "last_step": (Nullable(pagination.STEPS), datetime, str),
    "health": (range(len(sorting.WORST_FIRST) + 1), datetime, str),
    "final_loss": (Nullable(float), datetime, str),
    "project": (str, datetime, str),
    "status": (range(len(sorting.STATUS_ORDER) + 1), datetime, str),
    "layers_dead": (pagination.STEPS, datetime, str),
    "steps_per_s": (Nullable(float), datetime, str),
    "open_alerts": (pagination.COUNTS, datetime, str),
    "duration_s": (Nullable(float), datetime, str),
    "lost_fraction": (Nullable(float), datetime, str),
}


def decode(cursor: str | None, sort: str) -> Sequence[Any] | None:
    """Return the position in a cursor. Raises InvalidCursor for one of another order."""
    values = pagination.decode(cursor, sort, *_POSITIONS[sorting.field_of(sort)])
    return None if values is None else values[1:]


def cut(runs: Sequence[ListedRun], limit: int, sort: str) -> tuple[list[ListedRun], str | None]:
    """Return the first ``limit`` runs, and the cursor of the next page if there are more."""
    return pagination.cut(runs, limit, lambda run: (sort, *sorting.position(run, sort)))
