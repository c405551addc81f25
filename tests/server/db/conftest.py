"""A server on a SQLite file that a test damages, and its uploads."""

from __future__ import annotations

from pathlib import Path

import pytest

from relumine_server.app import create_app
from relumine_server.settings import Settings


@pytest.fixture
def file(new_database) -> Path:
    """The path of a migrated SQLite database."""
    return Path(new_database("sqlite").removeprefix("sqlite:///"))


@pytest.fixture
def app_on_file(file):
    """The application on that database."""
    app = create_app(Settings(database_url=f"sqlite:///{file}"))
    yield app
    app.state.services.database.close()


def body(seq: int):
    """Return the upload of this number of the run ``r1``."""
    records = [{"layer_id": 1, "first_step": seq, "step": seq, "n_examples": 8, "active": [1, 2]}]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    return {"run": {"id": "r1"}, "session": "s1", "seq": seq, "layers": layers, "records": records}
