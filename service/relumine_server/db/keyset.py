"""Keyset pagination: a page is the rows after a position, in the order of columns that identify a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def page(
    query: sa.Select[Any],
    columns: Sequence[sa.ColumnElement[Any]],
    position: Sequence[Any] | None,
    limit: int,
    *,
    descending: bool = False,
) -> sa.Select[Any]:
    """Order a query by ``columns`` and keep ``limit`` rows after ``position``, and one more.

    ``position`` holds the values of the columns in the last row of the previous page; None for the first page. The row
    beyond ``limit`` shows that there is a next page.
    """
    order = [column.desc() if descending else column.asc() for column in columns]
    query = query.order_by(*order).limit(limit + 1)
    if position is None:
        return query
    values = (sa.bindparam(None, value, column.type) for value, column in zip(position, columns, strict=True))
    row = sa.tuple_(*columns)
    last_row = sa.tuple_(*values)
    return query.where(row < last_row if descending else row > last_row)
