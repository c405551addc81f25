"""The commands know the words of the API."""

from __future__ import annotations

from typing import get_args

from relumine import cli
from relumine.schemas.health import HealthStatus
from relumine.schemas.run import RunSort, RunStatus


def test_the_command_knows_the_words_of_the_api():
    assert set(cli.SORTS) == set(get_args(RunSort))
    assert set(cli.HEALTHS) == set(get_args(HealthStatus))
    assert set(cli.STATUSES) == set(get_args(RunStatus))
