"""Reading a SQLite database beside the server that has it: nothing is written, so a second process does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from relumine_server.db.sqlite_snapshot import connect_read_only
from relumine_server.db.types import from_json


@contextmanager
def read_only(path: Path) -> Iterator[sa.Connection]:
    """Open a transaction that only reads, in one consistent snapshot."""
    engine = sa.create_engine(
        "sqlite://", creator=lambda: connect_read_only(path), json_deserializer=from_json, hide_parameters=True
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
    finally:
        engine.dispose()
