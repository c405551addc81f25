"""Parts of the tables: names of keys and indexes, and column types that both databases share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pydantic_core
import sqlalchemy as sa
import structlog
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

UNREADABLE = object()
"""The value of a document on SQLite that is no JSON."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The value of a time on SQLite that cannot be read."""

_log = structlog.get_logger(__name__)


def from_json(text: Any) -> Any:
    """Return a document from its JSON, UNREADABLE where it is damaged: one row must not make a whole query fail."""
    try:
        return pydantic_core.from_json(text)  # half the cost of Python's own parser, which reads what this one refuses
    except (ValueError, TypeError):
        pass
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return UNREADABLE


class _DocumentOf(TypeDecorator[Any]):
    """A document of one kind. A damaged one is read as an empty one, as null where the column is ``optional``."""

    impl = Document
    cache_ok = True
    kind: type = dict

    def __init__(self, *, optional: bool = False) -> None:
        super().__init__()
        self.optional = optional

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002 - of the interface
        """Replace what is no document of this kind."""
        if value is None or isinstance(value, self.kind):
            return value
        _log.warning("a document in the database is damaged, and read as empty")
        return None if self.optional else self.kind()


class JsonObject(_DocumentOf):
    """A document that is an object."""

    cache_ok = True
    kind = dict


class JsonArray(_DocumentOf):
    """A document that is an array."""

    cache_ok = True
    kind = list


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

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """Return the conversion of a result; on SQLite it reads a damaged time as EPOCH."""
        convert = super().result_processor(dialect, coltype)
        if convert is None or dialect.name != "sqlite":
            return convert

        def convert_readable(value: Any) -> datetime | None:
            try:
                return convert(value)
            except (ValueError, TypeError):
                _log.warning("a time in the database is damaged")
                return EPOCH

        return convert_readable


def required(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    """Return a column that is never null."""
    return sa.Column(name, kind, nullable=False, **options)
