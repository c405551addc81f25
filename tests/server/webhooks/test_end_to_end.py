"""From an upload to its receivers: what the detector finds is sent together and in order."""

from __future__ import annotations

import pytest

from relumine_server.app import create_app
from relumine_server.settings import Settings
from tests.helpers.live_server import caller

LAYERS = 300  # many more than a notification shows
UNITS = 2


@pytest.fixture
def call(outbox):
    return caller(create_app(Settings(), database=outbox.database, clock=outbox.clock))


def upload(seq, layers=LAYERS, final_status=None):
    """Return one sampled step of all layers in which no unit is active on any of 100 examples."""
    layer_ids = range(1, layers + 1)
    record = {"first_step": seq, "step": seq, "n_examples": 100, "active": [0] * UNITS}
    described = []
    if seq == 1:
        described = [{"layer_id": layer_id, "name": f"act{layer_id}", "units": UNITS} for layer_id in layer_ids]
    return {
        "run": {"id": "r1", "project": "digits"},
        "session": "s1",
        "seq": seq,
        "layers": described,
        "records": [{"layer_id": layer_id, **record} for layer_id in layer_ids],
        "final_status": final_status,
    }


def totals(receiver):
    return [(body["type"], body["data"]["total"]) for body in receiver.bodies]


def test_the_death_of_all_layers_and_the_end_of_the_run_are_two_notifications(outbox, call, receiver, second_receiver):
    for server in (receiver, second_receiver):
        outbox.add_webhook(server.url)
    for seq in (1, 2, 3):
        assert call("POST", "/v1/uploads", json=upload(seq)).status_code == 202
    deliveries = outbox.deliveries()
    assert [(delivery.event, delivery.alert_count) for delivery in deliveries] == [("alert.firing", LAYERS)] * 2
    outbox.send_due()
    assert call("POST", "/v1/uploads", json=upload(4, final_status="finished")).status_code == 202
    assert outbox.send_due(seconds=29) == 0
    outbox.send_due(seconds=1)
    for server in (receiver, second_receiver):
        assert totals(server) == [("alert.firing", LAYERS), ("run.finished", 0)]
        assert 20 >= len(server.bodies[0]["data"]["alerts"]) > 10
        assert max(len(body) for _, body in server.requests) < 20_000
    summary = receiver.bodies[-1]["data"]["summary"]
    assert (summary["run_id"], summary["status"], summary["alert_counts"]["critical"]) == ("r1", "finished", LAYERS)


def test_the_end_of_a_healthy_run_is_sent_at_once_to_subscribed_webhooks(outbox, call, receiver, second_receiver):
    outbox.add_webhook(receiver.url, events=["run.finished"], min_severity="critical")
    outbox.add_webhook(second_receiver.url, events=["alert.firing"])
    body = upload(1, layers=1, final_status="finished")
    body["records"][0]["active"] = [50] * UNITS
    assert call("POST", "/v1/uploads", json=body).status_code == 202
    outbox.send_due()
    assert totals(receiver) == [("run.finished", 0)]
    assert totals(second_receiver) == []


def test_the_end_of_a_deleted_run_is_not_sent(outbox, call, receiver):
    outbox.add_webhook(receiver.url)
    assert call("POST", "/v1/uploads", json=upload(1, layers=1, final_status="failed")).status_code == 202
    assert call("DELETE", "/v1/runs/r1").status_code == 204
    assert outbox.send_due() == 0
    assert outbox.deliveries() == []
