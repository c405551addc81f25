"""Pages of runs: filtered, newest first, and bounded by the length of what each run carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from relumine_server.db import keyset, tables
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.runs.rows import RunRow

PAGE_CHARACTERS = 4_000_000
"""Characters of the configurations and the coverage of the runs in one page."""

_r = tables.runs.c
SELECT_RUN = sa.select(*(_r[field.name] for field in fields(RunRow)))
_FILTERS = {
    "project": tables.runs.c.project,
    "group": tables.runs.c.group_name,
    "status": tables.runs.c.status,
    "health": tables.runs.c.health,
}


def select_page(
    connection: sa.Connection, filters: Mapping[str, str | None], position: Sequence[Any] | None, limit: int
) -> list[RunRow]:
    """Return a page of runs, newest first, and one more; ``position`` is (created_at, run_id)."""
    return [RunRow(*row) for row in connection.execute(_page(SELECT_RUN, filters, position, limit))]


def page_length(
    connection: sa.Connection, filters: Mapping[str, str | None], position: Sequence[Any] | None, limit: int
) -> int:
    """Return how many of the runs that ``select_page`` selects a page may hold: as many as are short enough, or one."""
    texts = [sa.func.coalesce(sa.func.length(sa.cast(column, sa.Text)), 0) for column in (_r.config, _r.coverage)]
    sizes = connection.scalars(_page(sa.select(texts[0] + texts[1]), filters, position, limit))
    ends = accumulate(sizes)
    fitting: int = sum(end <= PAGE_CHARACTERS for end in ends)
    return max(fitting, 1)


def _page(
    select: sa.Select[Any], filters: Mapping[str, str | None], position: Sequence[Any] | None, limit: int
) -> sa.Select[Any]:
    query = keyset.page(select.where(run_is_visible), (_r.created_at, _r.run_id), position, limit, descending=True)
    for name, column in _FILTERS.items():
        if filters.get(name) is not None:
            query = query.where(column == filters[name])
    text = filters.get("q")
    if text is not None:
        matches = [column.icontains(text, autoescape=True) for column in (_r.run_id, _r.name, _r.group_name)]
        query = query.where(sa.or_(*matches))
    return query
