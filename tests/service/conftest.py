"""The application on a database of each kind, and a way to call it."""

from __future__ import annotations

import pytest
from live_server import caller

from relumine_server.app import create_app
from relumine_server.settings import Settings


@pytest.fixture
def app(database_url):
    """The whole application, on SQLite and on Postgres."""
    made = create_app(Settings(database_url=database_url))
    yield made
    made.state.store.close()


@pytest.fixture
def call(app):
    """One request to it."""
    return caller(app)
