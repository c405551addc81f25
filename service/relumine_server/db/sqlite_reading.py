"""Reading a SQLite database beside the server that has it: nothing is written, so a second process does no harm."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from relumine_server.db.types import from_json


@contextmanager
def read_only(path: Path) -> Iterator[sa.Connection]:
    """Open a transaction that only reads, in one consistent snapshot."""
    uri = f"{path.absolute().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        connection.text_factory = lambda data: data.decode(errors="replace")  # damaged text would end the query
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, json_deserializer=from_json, hide_parameters=True)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
    finally:
        engine.dispose()
