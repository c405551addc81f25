"""Webhooks over HTTP: filters, errors, secret rotation, new addresses, formats, and the typed client."""

from __future__ import annotations

import pytest
import standardwebhooks

import relumine
from relumine.schemas.webhook import FORMATS
from tests.helpers.live_server import listening
from tests.helpers.webhook_receiver import Response

HOOK = "https://hooks.example/x"


def signs(secret, headers, body, now):
    try:
        relumine.verify_webhook(headers, body, secret, now=now.timestamp())
    except relumine.RelumineError:
        return False
    return True


def test_a_new_webhook_has_default_filters_and_shows_its_secret_once(api, created):
    assert created["secret"].startswith("whsec_")
    standardwebhooks.Webhook(created["secret"])
    defaults = {
        "events": ["alert.firing", "alert.resolved"], "min_severity": "warning", "project": None, "format": "standard",
        "group_wait_s": 30.0, "enabled": True, "disabled_reason": None, "disabled_at": None, "consecutive_failures": 0,
        "first_failure_at": None, "secrets_until": None,
    }  # fmt: skip
    assert defaults.items() <= created.items()
    stored = api("GET", f"/webhooks/{created['webhook_id']}")
    assert stored == {**created, "secret": None}
    nothing_sent = {"last_delivery": None, "pending_deliveries": 0}
    assert api("GET", "/webhooks") == {"items": [stored | nothing_sent], "next_cursor": None}


def test_webhooks_are_paginated_in_the_order_of_their_creation(api, outbox):
    webhook_ids = []
    for _ in range(5):
        webhook_ids.append(api("POST", "/webhooks", 201, url=HOOK)["webhook_id"])
        outbox.clock.advance(seconds=1)
    listed = []
    cursor = ""
    while cursor is not None:
        page = api("GET", f"/webhooks?limit=2{cursor and f'&cursor={cursor}'}")
        listed += [item["webhook_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert listed == webhook_ids


@pytest.mark.parametrize(
    ("field", "value", "code", "text"),
    [
        ("events", ["alert.fired"], "invalid_webhook", "events must be among alert.firing"),
        ("events", [], "invalid_webhook", "events is empty"),
        ("events", ["alert.firing"] * 2, "invalid_webhook", "twice"),
        ("url", "ftp://example.org/", "invalid_webhook", "https://"),
        ("url", "https://user:pass@example.org/", "invalid_webhook", "credentials"),
        ("url", "https://example.org:22/", "invalid_webhook", "port"),
        ("url", "https://10.0.0.1/", "invalid_webhook", "10.0.0.1"),
        ("url", "https://x/" + "a" * 5_000, "invalid_webhook", "characters"),
        ("url", "https://xn--\u00fc.example/", "invalid_webhook", "host"),
        ("url", None, "invalid_request", "url"),
        ("project", "", "invalid_webhook", "project"),
        ("project", "p" * 201, "invalid_webhook", "project"),
        ("project", "a\u0000b", "invalid_webhook", "NUL"),
        ("min_severity", "fatal", "invalid_request", "min_severity"),
        ("format", "teams", "invalid_request", "format"),
        ("group_wait_s", -1, "invalid_request", "group_wait_s"),
        ("group_wait_s", 3601, "invalid_request", "group_wait_s"),
        ("secret", "whsec_x", "invalid_request", "secret"),
        ("evnets", ["alert.firing"], "invalid_request", "evnets"),
    ],
)
def test_an_invalid_field_is_rejected_with_the_reason_in_a_new_and_in_a_changed_webhook(
    field, value, code, text, api, created
):
    new = {"url": HOOK, field: value}
    for problem in (
        api("POST", "/webhooks", 422, **new),
        api("PATCH", f"/webhooks/{created['webhook_id']}", 422, **{field: value}),
    ):
        assert problem["code"] == code
        assert text in problem["detail"]
    assert len(api("GET", "/webhooks")["items"]) == 1


def test_a_filter_that_matches_nothing_is_accepted(api):
    filters = {"project": "no-such-*", "min_severity": "info", "events": ["run.finished"]}
    webhook = api("POST", "/webhooks", 201, url=HOOK, **filters)
    assert filters.items() <= webhook.items()


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://other.example/y"},
        {"events": ["run.finished"]},
        {"min_severity": "critical"},
        {"project": "vision-*"},
        {"format": "slack"},
        {"group_wait_s": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_sets_the_given_fields_and_no_others(change, api, created):
    changed = api("PATCH", f"/webhooks/{created['webhook_id']}", **change)
    assert changed == {**created, "secret": None, **change}
    assert api("GET", f"/webhooks/{created['webhook_id']}") == changed


def test_both_secrets_sign_while_one_replaces_the_other(api, created, outbox, receiver):
    path = f"/webhooks/{created['webhook_id']}"

    def signing(*webhooks):
        headers, body = receiver.requests[-1]
        return [signs(webhook["secret"], headers, body, outbox.clock()) for webhook in webhooks]

    second = api("POST", f"{path}/rotate-secret", overlap_s=3600)
    assert second["secret"] not in {created["secret"], None}
    assert second["secrets_until"] == "2026-11-23T15:00:00Z"
    api("POST", f"{path}/test", 202)
    outbox.send_due()
    assert signing(created, second) == [True, True]
    third = api("POST", f"{path}/rotate-secret")  # as after a second click on the button
    api("POST", f"{path}/test", 202)
    outbox.send_due(seconds=3599)
    assert signing(created, second, third) == [True, True, True]
    api("POST", f"{path}/test", 202)
    outbox.send_due(seconds=2)
    assert signing(created, second, third) == [False, True, True]
    assert api("GET", path)["secret"] is None
    last = api("POST", f"{path}/rotate-secret", overlap_s=0)
    api("POST", f"{path}/test", 202)
    outbox.send_due()
    assert signing(second, third, last) == [False, False, True]
    assert api("GET", path)["secrets_until"] is None
    assert api("POST", f"{path}/rotate-secret", 422, overlap_s=1e9)["code"] == "invalid_request"
    assert api("POST", f"{path}/rotate-secret", 422, overlap_s=True)["code"] == "invalid_request"


def test_pending_deliveries_are_sent_to_a_new_url_at_once(api, created, outbox, receiver, second_receiver):
    receiver.responses = [Response(500)] * 9
    outbox.enqueue("alert.firing", "r1", outbox.store_alert("r1", 1))
    for _ in range(4):
        outbox.send_due(hours=1)
    path = f"/webhooks/{created['webhook_id']}"
    failing = api("GET", path)
    assert (failing["consecutive_failures"], failing["first_failure_at"]) == (4, "2026-11-23T15:00:00Z")
    changed = api("PATCH", path, url=second_receiver.url)
    assert (changed["consecutive_failures"], changed["first_failure_at"]) == (0, None)
    assert outbox.send_due() == 1
    assert second_receiver.delivery_ids == receiver.delivery_ids[:1]


def test_an_unknown_webhook_or_delivery_is_404(api):
    for method, path in (
        ("GET", "/webhooks/whk_x"), ("PATCH", "/webhooks/whk_x"), ("DELETE", "/webhooks/whk_x"),
        ("POST", "/webhooks/whk_x/test"), ("POST", "/webhooks/whk_x/rotate-secret"),
        ("GET", "/webhooks/whk_x/deliveries"),
    ):  # fmt: skip
        body = {"enabled": True} if method == "PATCH" else {}
        assert api(method, path, 404, **body)["code"] == "webhook_not_found"
    for method, path in (("GET", "/deliveries/dlv_x"), ("POST", "/deliveries/dlv_x/redeliver")):
        assert api(method, path, 404)["code"] == "delivery_not_found"


def test_deleting_a_webhook_cancels_its_deliveries_and_keeps_them_in_the_log(api, created, outbox):
    delivery_id = api("POST", f"/webhooks/{created['webhook_id']}/test", 202)["delivery_id"]
    api("DELETE", f"/webhooks/{created['webhook_id']}", 204)
    assert outbox.send_due() == 0
    delivery = api("GET", f"/deliveries/{delivery_id}")
    assert (delivery["state"], delivery["status_reason"]) == ("cancelled", "webhook_deleted")
    assert api("POST", f"/deliveries/{delivery_id}/redeliver", 404)["code"] == "webhook_not_found"


@pytest.mark.parametrize("webhook_format", FORMATS)
def test_every_event_is_delivered_in_every_format(webhook_format, api, outbox, receiver):
    events = ["alert.firing", "alert.resolved", "alert.acknowledged", "webhook.disabled", "webhook.test"]
    fields = {"events": events, "format": webhook_format, "group_wait_s": 0}
    webhook = api("POST", "/webhooks", 201, url=receiver.url, **fields)
    gone = api("POST", "/webhooks", 201, url=receiver.url)
    outbox.enqueue("alert.firing", "r1", outbox.store_alert("r1", 1), outbox.store_alert("r1", 2))
    outbox.dispatcher.run_once()
    outbox.enqueue("alert.acknowledged", "r1", outbox.store_alert("r1", 1, state="acknowledged"))
    outbox.enqueue("alert.resolved", "r1", outbox.store_alert("r1", 2, state="resolved"))
    api("POST", f"/webhooks/{webhook['webhook_id']}/test", 202)
    outbox.send_due(seconds=1)
    receiver.responses = [Response(410)]
    api("POST", f"/webhooks/{gone['webhook_id']}/test", 202)
    outbox.send_due(hours=1)
    deliveries = api("GET", f"/webhooks/{webhook['webhook_id']}/deliveries")["items"]
    assert {delivery["event"] for delivery in deliveries} == set(events)
    assert {delivery["state"] for delivery in deliveries} == {"delivered"}
    assert len(receiver.bodies) == len(receiver.requests)  # every body is JSON


def test_the_typed_client_manages_webhooks(database_url, receiver, monkeypatch):
    monkeypatch.setenv("RELUMINE_WEBHOOK_ALLOW_LOOPBACK", "true")
    with listening(database_url) as url, relumine.Client(url) as client:
        webhook = client.create_webhook(receiver.url, min_severity="info", project="d*")
        assert client.change_webhook(webhook.webhook_id, project=None, group_wait_s=0).project is None
        rotated = client.rotate_secret(webhook.webhook_id, overlap_s=60)
        test = client.test_webhook(webhook.webhook_id)
        while client.delivery(test.delivery_id).state == "pending":
            pass
        assert relumine.verify_webhook(*receiver.requests[0], rotated.secret)["type"] == "webhook.test"
        delivered = client.deliveries(webhook.webhook_id, state="delivered")
        assert [delivery.delivery_id for delivery in delivered] == receiver.delivery_ids
        assert client.redeliver(test.delivery_id).state in {"pending", "delivered"}
        assert [listed.webhook_id for listed in client.webhooks()] == [webhook.webhook_id]
        assert client.webhook(webhook.webhook_id).enabled
        client.delete_webhook(webhook.webhook_id)
        assert list(client.webhooks()) == []
