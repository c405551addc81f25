"""A world on each database."""

from __future__ import annotations

import pytest
from alert_world import AlertWorld


@pytest.fixture
def world(database_url, monkeypatch):
    """A server whose detector, clock and outbox are in the test's hands."""
    made = AlertWorld(database_url, monkeypatch)
    yield made
    made.close()
