"""Deliveries over HTTP: the log of every attempt, cancellation, and redelivery."""

from __future__ import annotations

from tests.helpers.webhook_receiver import Response


def test_pending_deliveries_of_a_disabled_webhook_are_cancelled_and_can_be_redelivered(api, created, outbox, receiver):
    path = f"/webhooks/{created['webhook_id']}"
    outbox.enqueue("alert.firing", "r1", outbox.store_alert("r1", 1))
    disabled = api("PATCH", path, enabled=False)
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "requested")
    assert disabled["disabled_at"] == "2026-11-23T14:00:00Z"
    (cancelled,) = api("GET", f"{path}/deliveries")["items"]
    assert (cancelled["state"], cancelled["status_reason"]) == ("cancelled", "webhook_disabled")
    assert cancelled["next_attempt_at"] is None
    redeliver = f"/deliveries/{cancelled['delivery_id']}/redeliver"
    assert api("POST", f"{path}/test", 409)["code"] == "webhook_disabled"
    assert api("POST", redeliver, 409)["code"] == "webhook_disabled"
    assert outbox.enqueue("alert.firing", "r2", outbox.store_alert("r2", 1)) == 0
    enabled = api("PATCH", path, enabled=True)
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["disabled_at"]) == (True, None, None)
    assert outbox.send_due(hours=1) == 0
    redelivered = api("POST", redeliver, 202)
    assert (redelivered["state"], redelivered["status_reason"]) == ("pending", None)
    assert api("POST", redeliver, 202)["state"] == "pending"  # it is due already
    outbox.send_due()
    assert receiver.notifications == [("firing", [1])]
    assert receiver.delivery_ids == [cancelled["delivery_id"]]


def test_a_cancelled_delivery_of_which_nothing_holds_any_more_cannot_be_redelivered(api, created, outbox):
    path = f"/webhooks/{created['webhook_id']}"
    outbox.enqueue("alert.firing", "r1", outbox.store_alert("r1", 1))
    api("PATCH", path, enabled=False)
    api("PATCH", path, enabled=True)
    outbox.store_alert("r1", 1, state="resolved")
    (cancelled,) = api("GET", f"{path}/deliveries")["items"]
    redeliver = f"/deliveries/{cancelled['delivery_id']}/redeliver"
    assert api("POST", redeliver, 409)["code"] == "nothing_to_deliver"
    assert api("GET", f"/deliveries/{cancelled['delivery_id']}") == cancelled | {"payload": None}


def test_the_list_of_webhooks_has_the_newest_delivery_of_each_and_what_is_pending(api, created, outbox):
    (listed,) = api("GET", "/webhooks")["items"]
    assert (listed["last_delivery"], listed["pending_deliveries"]) == (None, 0)
    path = f"/webhooks/{created['webhook_id']}"
    api("POST", f"{path}/test", 202)
    outbox.send_due()
    api("POST", f"{path}/test", 202)
    (listed,) = api("GET", "/webhooks")["items"]
    newest, _ = api("GET", f"{path}/deliveries")["items"]
    assert (listed["last_delivery"], listed["pending_deliveries"]) == (newest, 1)
    outbox.send_due()
    (listed,) = api("GET", "/webhooks")["items"]
    assert listed["last_delivery"]["attempts"][0]["response_status"] == 204
    assert listed["pending_deliveries"] == 0


def test_a_delivery_has_the_body_that_was_sent_and_none_before_it_is_written(api, created, outbox, receiver):
    delivery_id = api("POST", f"/webhooks/{created['webhook_id']}/test", 202)["delivery_id"]
    assert api("GET", f"/deliveries/{delivery_id}")["payload"] is None
    outbox.send_due()
    ((_, body),) = receiver.requests
    assert api("GET", f"/deliveries/{delivery_id}")["payload"].encode() == body


def test_the_log_shows_every_attempt(api, created, outbox, receiver):
    deliveries = f"/webhooks/{created['webhook_id']}/deliveries"
    receiver.responses = [Response(503, {}, b"x" * 5_000), Response(200, body=b"thanks")]
    outbox.enqueue("alert.firing", "r1", outbox.store_alert("r1", 1), outbox.store_alert("r1", 2))
    outbox.send_due()
    (pending,) = api("GET", deliveries)["items"]
    assert (pending["state"], pending["next_attempt_at"]) == ("pending", "2026-11-23T14:00:05Z")
    outbox.send_due(seconds=5)
    (delivered,) = api("GET", deliveries)["items"]
    attempts = delivered.pop("attempts")
    assert delivered == {
        "delivery_id": receiver.delivery_ids[0], "webhook_id": created["webhook_id"], "event": "alert.firing",
        "run_id": "r1", "project": "digits", "alert_count": 2, "state": "delivered", "status_reason": None,
        "next_attempt_at": None, "created_at": "2026-11-23T14:00:00Z", "updated_at": "2026-11-23T14:00:05Z",
    }  # fmt: skip
    assert [(a["attempt"], a["response_status"], a["response_body"], a["error"]) for a in attempts] == [
        (1, 503, "x" * 1024, None),
        (2, 200, "thanks", None),
    ]
    assert attempts[1]["attempted_at"] == "2026-11-23T14:00:05Z"


def test_the_log_is_paginated_newest_first_and_filtered_by_state(api, created, outbox):
    path = f"/webhooks/{created['webhook_id']}"
    delivery_ids = [api("POST", f"{path}/test", 202)["delivery_id"] for _ in range(5)]
    outbox.send_due()
    delivery_ids.append(api("POST", f"{path}/test", 202)["delivery_id"])
    listed = []
    cursor = ""
    while cursor is not None:
        page = api("GET", f"{path}/deliveries?limit=4{cursor and f'&cursor={cursor}'}")
        listed += [item["delivery_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert listed == delivery_ids[::-1]
    pending = api("GET", f"{path}/deliveries?state=pending")["items"]
    assert [item["delivery_id"] for item in pending] == delivery_ids[-1:]
    assert api("GET", f"{path}/deliveries?state=lost", 422)["code"] == "invalid_request"
    assert api("GET", f"{path}/deliveries?cursor=x", 422)["code"] == "invalid_cursor"


def test_a_redelivery_has_the_same_id_and_payload_and_starts_the_schedule_again(api, created, outbox, receiver):
    delivery_id = api("POST", f"/webhooks/{created['webhook_id']}/test", 202)["delivery_id"]
    outbox.send_due()
    receiver.responses = [Response(500)]
    api("POST", f"/deliveries/{delivery_id}/redeliver", 202)
    outbox.send_due(hours=1)
    assert api("GET", f"/deliveries/{delivery_id}")["next_attempt_at"] == "2026-11-23T15:00:05Z"
    outbox.send_due(seconds=5)
    assert receiver.delivery_ids == [delivery_id] * 3
    assert len({body for _, body in receiver.requests}) == 1
    attempts = api("GET", f"/deliveries/{delivery_id}")["attempts"]
    assert [(a["attempt"], a["response_status"]) for a in attempts] == [(1, 204), (2, 500), (3, 204)]


def test_a_delivery_that_waits_for_its_next_attempt_is_tried_at_once_and_its_schedule_goes_on(
    api, created, outbox, receiver
):
    receiver.responses = [Response(500)] * 3
    delivery_id = api("POST", f"/webhooks/{created['webhook_id']}/test", 202)["delivery_id"]
    outbox.send_due()
    outbox.send_due(seconds=5)
    waiting = api("GET", f"/deliveries/{delivery_id}")
    assert [attempt["response_status"] for attempt in waiting["attempts"]] == [500, 500]
    hastened = api("POST", f"/deliveries/{delivery_id}/redeliver", 202)
    assert hastened["state"] == "pending"
    assert hastened["next_attempt_at"] < waiting["next_attempt_at"]
    outbox.send_due()
    third = api("GET", f"/deliveries/{delivery_id}")
    assert len(third["attempts"]) == 3
    assert third["next_attempt_at"] > waiting["next_attempt_at"]  # the third pause is longer than the second
    api("POST", f"/deliveries/{delivery_id}/redeliver", 202)
    outbox.send_due()
    assert api("GET", f"/deliveries/{delivery_id}")["state"] == "delivered"
    assert receiver.delivery_ids == [delivery_id] * 4


def test_the_log_is_cleared_after_the_retention_period(api, created, outbox, outbox_app):
    old = api("POST", f"/webhooks/{created['webhook_id']}/test", 202)["delivery_id"]
    outbox.send_due()
    outbox.clock.advance(days=29)
    outbox_app.state.services.maintenance.run_once()
    recent = api("POST", f"/webhooks/{created['webhook_id']}/test", 202)["delivery_id"]
    assert api("GET", f"/deliveries/{old}")["state"] == "delivered"
    outbox.clock.advance(days=1, seconds=1)
    outbox_app.state.services.maintenance.run_once()
    api("GET", f"/deliveries/{old}", 404)
    assert api("GET", f"/deliveries/{recent}")["state"] == "pending"


def test_a_delivery_written_while_its_webhook_was_being_disabled_is_cancelled(api, created, outbox, outbox_app):
    webhook = outbox.webhook(created["webhook_id"])
    api("PATCH", f"/webhooks/{created['webhook_id']}", enabled=False)
    orphan = outbox.enqueue_test(webhook)
    outbox_app.state.services.maintenance.run_once()
    assert outbox.delivery_state(orphan) == "cancelled"
