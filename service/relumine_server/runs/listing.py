"""Pages of runs: filtered, sorted, and bounded by the length of what each run carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from relumine_server.db import tables
from relumine_server.db.tables.runs import run_is_visible
from relumine_server.runs import sorting
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
Filters = Mapping[str, str | None]


def select_page(
    connection: sa.Connection,
    filters: Filters,
    position: Sequence[Any] | None,
    limit: int,
    sort: str = sorting.NEWEST_FIRST,
) -> list[RunRow]:
    """Return a page of runs, and one more; ``position`` is the ``sorting.position`` of the run before them."""
    query = _filtered(SELECT_RUN, filters, connection)
    rows = connection.execute(sorting.page(query, sort, position, limit, connection))
    return [RunRow(*row) for row in rows]


def page_length(
    connection: sa.Connection,
    filters: Filters,
    position: Sequence[Any] | None,
    limit: int,
    sort: str = sorting.NEWEST_FIRST,
) -> int:
    """Return how many of the runs that ``select_page`` selects a page may hold: as many as are short enough, or one."""
    texts = [sa.func.coalesce(sa.func.length(sa.cast(column, sa.Text)), 0) for column in (_r.config, _r.coverage)]
    query = _filtered(sa.select(texts[0] + texts[1]), filters, connection)
    sizes = connection.scalars(sorting.page(query, sort, position, limit, connection))
    ends = accumulate(sizes)
    fitting: int = sum(end <= PAGE_CHARACTERS for end in ends)
    return max(fitting, 1)


def _filtered(query: sa.Select[Any], filters: Filters, connection: sa.Connection) -> sa.Select[Any]:
    query = query.where(run_is_visible)
    for name, column in _FILTERS.items():
        if filters.get(name) is not None:
            query = query.where(column == filters[name])
    text = filters.get("q")
    if text is not None:
        matches = [column.icontains(text, autoescape=True) for column in (_r.run_id, _r.name, _r.group_name)]
        query = query.where(sa.or_(*matches))
    tag = filters.get("tag")
    if tag is not None:
        query = query.where(_has_tag(tag, connection))
    return query


def _has_tag(tag: str, connection: sa.Connection) -> sa.ColumnElement[bool]:
    if connection.dialect.name == "postgresql":
        return sa.type_coerce(_r.tags, postgresql.JSONB).contains([tag])
    text = sa.type_coerce(_r.tags, sa.Text)
    readable = sa.case((sa.func.json_valid(text) == 1, text), else_="[]")  # a damaged document would end the query
    tags = sa.func.json_each(readable).table_valued("value")
    return sa.exists(sa.select(1).select_from(tags).where(tags.c.value == tag))
