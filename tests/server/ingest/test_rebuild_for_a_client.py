"""A client that gives up during a rebuild, and asks again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
from structlog.testing import capture_logs

from relumine_server.db.database import Database
from tests.helpers.live_server import listening
from tests.helpers.lost_state import (
    DYING,
    HEALTHY,
    bodies,
    damage_state,
    rebuild_lines,
    send,
)


def test_a_client_that_timed_out_and_retried_is_answered_both_times(database_url):
    """Over real HTTP: of eight equal uploads at once one is stored, and the state is rebuilt once."""
    with listening(database_url) as url, httpx.Client(base_url=url, timeout=60) as client:
        send(client.request, "lost", HEALTHY)
    database = Database.open(database_url)
    damage_state(database, "lost")
    database.close()
    (body,) = bodies("lost", DYING[:4], first_seq=12)
    with listening(database_url) as url, capture_logs() as lines, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{url}/v1/uploads", json=body, timeout=60), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 7
    assert len(rebuild_lines(lines)) == 1
