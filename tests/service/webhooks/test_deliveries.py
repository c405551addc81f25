"""Deliveries over HTTP: the log of every attempt, what is called off, and what is sent again by hand."""

from __future__ import annotations

from receiver import Answer


def test_what_waits_for_one_that_is_disabled_is_called_off_and_can_be_sent_by_hand(api, added, desk, receiver, heard):
    path = f"/webhooks/{added['webhook_id']}"
    desk.tell("alert.firing", "r1", desk.alert("r1", 1))
    resting = api("PATCH", path, enabled=False)
    assert (resting["enabled"], resting["disabled_reason"]) == (False, "requested")
    assert resting["disabled_at"] == "2026-11-23T14:00:00Z"
    (off,) = api("GET", f"{path}/deliveries")["items"]
    assert (off["state"], off["reason"], off["due_at"]) == ("cancelled", "webhook_disabled", None)
    assert api("POST", f"{path}/test", 409)["code"] == "webhook_disabled"
    assert api("POST", f"/deliveries/{off['delivery_id']}/redeliver", 409)["code"] == "webhook_disabled"
    assert desk.tell("alert.firing", "r2", desk.alert("r2", 1)) == 0
    back = api("PATCH", path, enabled=True)
    assert (back["enabled"], back["disabled_reason"], back["disabled_at"]) == (True, None, None)
    assert desk.send(hours=1) == 0
    again = api("POST", f"/deliveries/{off['delivery_id']}/redeliver", 202)
    assert (again["state"], again["reason"]) == ("pending", None)
    assert api("POST", f"/deliveries/{off['delivery_id']}/redeliver", 409)["code"] == "delivery_pending"
    desk.send()
    assert heard(receiver) == [("firing", [1])]
    assert receiver.ids == [off["delivery_id"]]


def test_what_was_called_off_and_is_over_by_now_cannot_be_sent(api, added, desk):
    path = f"/webhooks/{added['webhook_id']}"
    desk.tell("alert.firing", "r1", desk.alert("r1", 1))
    api("PATCH", path, enabled=False)
    api("PATCH", path, enabled=True)
    desk.alert("r1", 1, state="resolved")
    (off,) = api("GET", f"{path}/deliveries")["items"]
    assert api("POST", f"/deliveries/{off['delivery_id']}/redeliver", 409)["code"] == "nothing_to_tell"
    assert api("GET", f"/deliveries/{off['delivery_id']}") == off


def test_the_log_tells_every_attempt(api, added, desk, receiver):
    receiver.answers = [Answer(503, {}, b"x" * 5_000), Answer(200, body=b"thanks")]
    desk.tell("alert.firing", "r1", desk.alert("r1", 1), desk.alert("r1", 2))
    desk.send()
    (waiting,) = api("GET", f"/webhooks/{added['webhook_id']}/deliveries")["items"]
    assert (waiting["state"], waiting["due_at"]) == ("pending", "2026-11-23T14:00:05Z")
    desk.send(seconds=5)
    (one,) = api("GET", f"/webhooks/{added['webhook_id']}/deliveries")["items"]
    attempts = one.pop("attempts")
    assert one == {
        "delivery_id": receiver.ids[0], "webhook_id": added["webhook_id"], "event": "alert.firing", "run_id": "r1",
        "project": "digits", "alerts": 2, "state": "delivered", "reason": None, "due_at": None,
        "created_at": "2026-11-23T14:00:00Z", "updated_at": "2026-11-23T14:00:05Z",
    }  # fmt: skip
    assert [(a["attempt"], a["status"], a["answer"], a["error"]) for a in attempts] == [
        (1, 503, "x" * 1024, None),
        (2, 200, "thanks", None),
    ]
    assert attempts[1]["attempted_at"] == "2026-11-23T14:00:05Z"


def test_the_log_comes_in_pages_newest_first_and_by_state(api, added, desk, receiver):
    path = f"/webhooks/{added['webhook_id']}"
    sent = [api("POST", f"{path}/test", 202)["delivery_id"] for _ in range(5)]
    desk.send()
    sent.append(api("POST", f"{path}/test", 202)["delivery_id"])
    seen, cursor = [], ""
    while cursor is not None:
        page = api("GET", f"{path}/deliveries?limit=4{cursor and f'&cursor={cursor}'}")
        seen += [one["delivery_id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert seen == sent[::-1]
    assert [one["delivery_id"] for one in api("GET", f"{path}/deliveries?state=pending")["items"]] == sent[-1:]
    assert api("GET", f"{path}/deliveries?state=lost", 422)["code"] == "invalid_request"
    assert api("GET", f"{path}/deliveries?cursor=x", 422)["code"] == "bad_cursor"


def test_a_redelivery_is_the_same_payload_under_the_same_id_from_the_beginning_of_the_schedule(
    api, added, desk, receiver
):
    delivery = api("POST", f"/webhooks/{added['webhook_id']}/test", 202)["delivery_id"]
    desk.send()
    receiver.answers = [Answer(500)]
    api("POST", f"/deliveries/{delivery}/redeliver", 202)
    desk.send(hours=1)
    assert api("GET", f"/deliveries/{delivery}")["due_at"] == "2026-11-23T15:00:05Z"
    desk.send(seconds=5)
    assert receiver.ids == [delivery] * 3
    assert len({body for _, body in receiver.got}) == 1
    shown = api("GET", f"/deliveries/{delivery}")
    assert [(a["attempt"], a["status"]) for a in shown["attempts"]] == [(1, 204), (2, 500), (3, 204)]


def test_the_log_is_cleared_of_what_is_old(api, added, desk, desk_app):
    old = api("POST", f"/webhooks/{added['webhook_id']}/test", 202)["delivery_id"]
    desk.send()
    desk.clock.move(days=29)
    desk_app.state.caretaker.run_once()
    young = api("POST", f"/webhooks/{added['webhook_id']}/test", 202)["delivery_id"]
    assert api("GET", f"/deliveries/{old}")["state"] == "delivered"
    desk.clock.move(days=1, seconds=1)
    desk_app.state.caretaker.run_once()
    api("GET", f"/deliveries/{old}", 404)
    assert api("GET", f"/deliveries/{young}")["state"] == "pending"


def test_what_was_written_while_its_webhook_was_being_disabled_is_called_off(api, added, desk, desk_app):
    webhook = desk.webhook(added["webhook_id"])
    api("PATCH", f"/webhooks/{added['webhook_id']}", enabled=False)
    late = desk.probe(webhook)
    desk_app.state.caretaker.run_once()
    assert desk.state(late) == "cancelled"
