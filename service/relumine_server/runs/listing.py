"""Pages of runs: sorted, and bounded by the length of what each run carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from relumine_server.db import tables
from relumine_server.runs import sorting
from relumine_server.runs.filters import RunFilters, filtered
from relumine_server.runs.rows import ListedRun, RunRow

PAGE_CHARACTERS = 4_000_000
"""Characters of the configurations and the coverage of the runs in one page."""

_r = tables.runs.c
SELECT_RUN = sa.select(*(_r[field.name] for field in fields(RunRow)))


def select_page(
    connection: sa.Connection,
    filters: RunFilters,
    position: Sequence[Any] | None,
    limit: int,
    sort: str = sorting.NEWEST_FIRST,
) -> list[ListedRun]:
    """Return a page of runs, and one more; ``position`` is the ``sorting.position`` of the run before them."""
    value = sorting.computed_value(sort, connection)
    query = filtered(SELECT_RUN.add_columns(sa.null() if value is None else value), filters, connection)
    rows = connection.execute(sorting.page(query, sort, position, limit, connection))
    return [ListedRun(*row) for row in rows]


def page_length(
    connection: sa.Connection,
    filters: RunFilters,
    position: Sequence[Any] | None,
    limit: int,
    sort: str = sorting.NEWEST_FIRST,
) -> int:
    """Return how many of the runs that ``select_page`` selects a page may hold: as many as are short enough, or one."""
    texts = [sa.func.coalesce(sa.func.length(sa.cast(column, sa.Text)), 0) for column in (_r.config, _r.coverage)]
    query = filtered(sa.select(texts[0] + texts[1]), filters, connection)
    sizes = connection.scalars(sorting.page(query, sort, position, limit, connection))
    ends = accumulate(sizes)
    fitting: int = sum(end <= PAGE_CHARACTERS for end in ends)
    return max(fitting, 1)
