"""Alerts handled by a program with ``relumine.Client``, against a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import relumine
from relumine.errors import ServerError
from relumine.schemas import alert as schema_alert
from tests.helpers.live_server import listening


@pytest.fixture
def client(database_url):
    with listening(database_url) as url, relumine.Client(url) as client:
        layers = [{"layer_id": 1, "name": "act1", "units": 4}]
        record = {"layer_id": 1, "n_examples": 100, "active": [0] * 4}
        records = [{**record, "first_step": step, "step": step} for step in range(5)]
        run = {"id": "r1", "project": "digits"}
        body = {"run": run, "session": "s1", "seq": 1, "layers": layers, "records": records}
        client._send("POST", "/v1/uploads", json=body)
        yield client


def test_a_program_acknowledges_silences_and_resolves_an_alert_and_reads_its_events(client):
    (alert,) = client.alerts(run_id="r1")
    acknowledged = client.acknowledge(alert.id, author="bot", note="rate halved")
    assert acknowledged.acknowledged == schema_alert.Acknowledgement(
        author="bot", note="rate halved", at=acknowledged.updated_at
    )
    with pytest.raises(ServerError, match="bot has it") as refused:
        client.acknowledge(alert.id, author="another bot")
    assert (refused.value.status, refused.value.code) == (409, "alert_acknowledged")
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    silence = client.silence({"layer": "act*"}, ends_at=ends_at, author="bot", comment="on it")
    assert client.alert(alert.id).silenced_by == silence.silence_id
    assert [item.silence_id for item in client.silences()] == [silence.silence_id]
    client.unsilence(silence.silence_id)
    assert list(client.silences()) == []
    assert client.resolve(alert.id, author="bot").state == "resolved"
    assert [(event.event, event.author) for event in client.events(alert.id)] == [
        ("raised", None),
        ("acknowledged", "bot"),
        ("resolved_by_user", "bot"),
    ]
