"""The harness on a database of each kind."""

from __future__ import annotations

import pytest

from tests.helpers.alert_harness import AlertHarness


@pytest.fixture
def harness(database):
    """A server whose detector, clock and outbox the test controls."""
    return AlertHarness(database)
