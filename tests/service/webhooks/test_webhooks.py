"""Webhooks over HTTP: filters, errors, secrets that rotate, new addresses, formats, the typed client."""

from __future__ import annotations

import json

import pytest
import standardwebhooks
from live_server import listening
from receiver import Answer

import relumine

HOOK = "https://hooks.example/x"


def signs(secret, headers, body, now):
    try:
        relumine.verify_webhook(headers, body, secret, now=now.timestamp())
    except relumine.RelumineError:
        return False
    return True


def test_a_webhook_begins_with_plain_filters_and_shows_its_secret_once(api, added):
    assert added["secret"].startswith("whsec_")
    standardwebhooks.Webhook(added["secret"])
    wanted = {
        "events": ["alert.firing", "alert.resolved"], "severity": "warning", "project": None, "format": "standard",
        "group_wait_s": 30.0, "enabled": True, "disabled_reason": None, "disabled_at": None, "failures": 0,
        "failing_since": None, "secrets_until": None,
    }  # fmt: skip
    assert wanted.items() <= added.items()
    shown = api("GET", f"/webhooks/{added['webhook_id']}")
    assert shown == {**added, "secret": None}
    assert api("GET", "/webhooks") == {"items": [shown], "next_cursor": None}


def test_webhooks_come_in_pages_in_the_order_of_their_creation(api, desk):
    made = []
    for _ in range(5):
        made.append(api("POST", "/webhooks", 201, url=HOOK)["webhook_id"])
        desk.clock.move(seconds=1)
    seen, cursor = [], ""
    while cursor is not None:
        page = api("GET", f"/webhooks?limit=2{cursor and f'&cursor={cursor}'}")
        seen += [one["webhook_id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert seen == made


@pytest.mark.parametrize(
    ("field", "value", "code", "said"),
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
        ("severity", "fatal", "invalid_request", "severity"),
        ("format", "teams", "invalid_request", "format"),
        ("group_wait_s", -1, "invalid_request", "group_wait_s"),
        ("group_wait_s", 3601, "invalid_request", "group_wait_s"),
        ("secret", "whsec_x", "invalid_request", "secret"),
        ("evnets", ["alert.firing"], "invalid_request", "evnets"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason_new_and_changed_alike(field, value, code, said, api, added):
    new = {"url": HOOK, field: value}
    for problem in (
        api("POST", "/webhooks", 422, **new),
        api("PATCH", f"/webhooks/{added['webhook_id']}", 422, **{field: value}),
    ):
        assert problem["code"] == code
        assert said in problem["detail"]
    assert len(api("GET", "/webhooks")["items"]) == 1


def test_a_filter_that_matches_nothing_is_accepted(api):
    made = api("POST", "/webhooks", 201, url=HOOK, project="no-such-*", severity="info", events=["run.finished"])
    assert (made["project"], made["severity"]) == ("no-such-*", "info")


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://other.example/y"},
        {"events": ["run.finished"]},
        {"severity": "critical"},
        {"project": "vision-*"},
        {"format": "slack"},
        {"group_wait_s": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_changes_what_it_names_and_nothing_else(change, api, added):
    changed = api("PATCH", f"/webhooks/{added['webhook_id']}", **change)
    assert changed == {**added, "secret": None, **change}
    assert api("GET", f"/webhooks/{added['webhook_id']}") == changed


def test_both_secrets_sign_while_one_replaces_the_other(api, added, desk, receiver):
    path, first = f"/webhooks/{added['webhook_id']}", added["secret"]
    second = api("POST", f"{path}/rotate-secret", overlap_s=3600)
    assert second["secret"] not in {first, None}
    assert second["secrets_until"] == "2026-11-23T15:00:00Z"
    api("POST", f"{path}/test", 202)
    desk.send()
    assert [signs(one, *receiver.got[-1], desk.clock()) for one in (first, second["secret"])] == [True, True]
    third = api("POST", f"{path}/rotate-secret")  # somebody pressed the button twice
    api("POST", f"{path}/test", 202)
    desk.send(seconds=3599)
    kept = [signs(one["secret"], *receiver.got[-1], desk.clock()) for one in (added, second, third)]
    assert kept == [True, True, True]
    api("POST", f"{path}/test", 202)
    desk.send(seconds=2)
    kept = [signs(one["secret"], *receiver.got[-1], desk.clock()) for one in (added, second, third)]
    assert kept == [False, True, True]
    assert api("GET", path)["secret"] is None
    last = api("POST", f"{path}/rotate-secret", overlap_s=0)
    api("POST", f"{path}/test", 202)
    desk.send()
    assert [signs(one["secret"], *receiver.got[-1], desk.clock()) for one in (second, third, last)] == [
        False, False, True,
    ]  # fmt: skip
    assert api("GET", path)["secrets_until"] is None
    assert api("POST", f"{path}/rotate-secret", 422, overlap_s=1e9)["code"] == "invalid_request"
    assert api("POST", f"{path}/rotate-secret", 422, overlap_s=True)["code"] == "invalid_request"


def test_a_new_address_is_tried_at_once(api, added, desk, receiver, another):
    receiver.answers = [Answer(500)] * 9
    desk.tell("alert.firing", "r1", desk.alert("r1", 1))
    for _ in range(4):
        desk.send(hours=1)
    path = f"/webhooks/{added['webhook_id']}"
    assert api("GET", path)["failures"] == 4
    assert api("GET", path)["failing_since"] == "2026-11-23T15:00:00Z"
    mended = api("PATCH", path, url=another.url)
    assert (mended["failures"], mended["failing_since"]) == (0, None)
    assert desk.send() == 1
    assert another.ids == receiver.ids[:1]


def test_what_is_not_there_is_404(api, added, desk):
    for method, path in (
        ("GET", "/webhooks/whk_x"), ("PATCH", "/webhooks/whk_x"), ("DELETE", "/webhooks/whk_x"),
        ("POST", "/webhooks/whk_x/test"), ("POST", "/webhooks/whk_x/rotate-secret"),
        ("GET", "/webhooks/whk_x/deliveries"),
    ):  # fmt: skip
        assert api(method, path, 404, **({"enabled": True} if method == "PATCH" else {}))["code"] == "webhook_not_found"
    for method, path in (("GET", "/deliveries/dlv_x"), ("POST", "/deliveries/dlv_x/redeliver")):
        assert api(method, path, 404)["code"] == "delivery_not_found"
    delivery = api("POST", f"/webhooks/{added['webhook_id']}/test", 202)["delivery_id"]
    api("DELETE", f"/webhooks/{added['webhook_id']}", 204)
    assert desk.send() == 0
    shown = api("GET", f"/deliveries/{delivery}")
    assert (shown["state"], shown["reason"]) == ("cancelled", "webhook_deleted")
    assert api("POST", f"/deliveries/{delivery}/redeliver", 404)["code"] == "webhook_not_found"


@pytest.mark.parametrize("form", ["standard", "slack", "discord", "alertmanager"])
def test_every_format_and_event_can_be_written(form, api, desk, receiver):
    events = ["alert.firing", "alert.resolved", "alert.acknowledged", "webhook.disabled", "webhook.test"]
    made = api("POST", "/webhooks", 201, url=receiver.url, events=events, format=form, group_wait_s=0)
    gone = api("POST", "/webhooks", 201, url=receiver.url)
    desk.tell("alert.firing", "r1", desk.alert("r1", 1), desk.alert("r1", 2))
    desk.courier.run_once()
    desk.tell("alert.acknowledged", "r1", desk.alert("r1", 1, state="acknowledged"))
    desk.tell("alert.resolved", "r1", desk.alert("r1", 2, state="resolved"))
    api("POST", f"/webhooks/{made['webhook_id']}/test", 202)
    desk.send(seconds=1)
    receiver.answers = [Answer(410)]
    api("POST", f"/webhooks/{gone['webhook_id']}/test", 202)
    desk.send(hours=1)
    told = api("GET", f"/webhooks/{made['webhook_id']}/deliveries")["items"]
    assert {one["event"] for one in told} == set(events)
    assert {one["state"] for one in told} == {"delivered"}
    assert all(json.loads(body) for _, body in receiver.got)


def test_the_typed_client_does_all_of_it(database_url, receiver, monkeypatch):
    monkeypatch.setenv("RELUMINE_WEBHOOK_ALLOW_LOOPBACK", "true")
    with listening(database_url) as url, relumine.Client(url) as client:
        made = client.create_webhook(receiver.url, severity="info", project="d*")
        assert client.change_webhook(made.webhook_id, project=None, group_wait_s=0).project is None
        rotated = client.rotate_secret(made.webhook_id, overlap_s=60)
        probe = client.test_webhook(made.webhook_id)
        while client.delivery(probe.delivery_id).state == "pending":
            pass
        assert relumine.verify_webhook(*receiver.got[0], rotated.secret)["type"] == "webhook.test"
        assert [one.delivery_id for one in client.deliveries(made.webhook_id, state="delivered")] == receiver.ids
        assert client.redeliver(probe.delivery_id).state in {"pending", "delivered"}
        assert [one.webhook_id for one in client.webhooks()] == [made.webhook_id]
        assert client.webhook(made.webhook_id).enabled
        client.delete_webhook(made.webhook_id)
        assert list(client.webhooks()) == []
