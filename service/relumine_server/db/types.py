"""Parts of the tables: names of keys and indexes, and column types that both databases share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Document = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def to_json(value: object) -> str:
    """Return a document as JSON, with null for NaN and infinity: Postgres refuses them, SQLite would return them."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_with_finite_numbers(value), allow_nan=False)


def _with_finite_numbers(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _with_finite_numbers(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_finite_numbers(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


SessionId = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Sessions are ordered by their bytes, as in Python and SQLite; the collation of a database may order otherwise."""


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC: timestamptz on Postgres; on SQLite, which has no time zones, naive text that means UTC."""

    impl = sa.DateTime
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert a time to UTC. Raises ValueError for a naive time, whose zone would be that of the server."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Restore the zone."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.replace(tzinfo=UTC)


def required(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    """Return a column that is never null."""
    return sa.Column(name, kind, nullable=False, **options)
