"""What a program does about alerts with ``relumine.Client``, against a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from live_server import listening

import relumine
from relumine import views
from relumine.errors import ServerError


@pytest.fixture
def client(database_url):
    with listening(database_url) as url, relumine.Client(url) as made:
        layers = [{"layer_id": 1, "name": "act1", "units": 4}]
        look = {"layer_id": 1, "n_examples": 100, "active": [0] * 4}
        records = [{**look, "first_step": step, "step": step} for step in range(5)]
        run = {"id": "r1", "project": "digits"}
        body = {"run": run, "session": "s1", "seq": 1, "layers": layers, "records": records}
        made._send("POST", "/v1/uploads", json=body)
        yield made


def test_a_program_acknowledges_silences_resolves_and_reads_what_became_of_it(client):
    (alert,) = client.alerts(run_id="r1")
    taken = client.acknowledge(alert.id, author="bot", note="rate halved")
    assert taken.acknowledged == views.Acknowledgement(author="bot", note="rate halved", at=taken.updated_at)
    with pytest.raises(ServerError, match="bot has it") as refused:
        client.acknowledge(alert.id, author="another bot")
    assert (refused.value.status, refused.value.code) == (409, "alert_acknowledged")
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    silence = client.silence({"layer": "act*"}, ends_at=ends_at, author="bot", comment="on it")
    assert client.alert(alert.id).silenced_by == silence.silence_id
    assert [one.silence_id for one in client.silences()] == [silence.silence_id]
    client.unsilence(silence.silence_id)
    assert list(client.silences()) == []
    assert client.resolve(alert.id, author="bot").state == "resolved"
    assert [(entry.event, entry.author) for entry in client.history(alert.id)] == [
        ("raised", None),
        ("acknowledged", "bot"),
        ("closed", "bot"),
    ]
