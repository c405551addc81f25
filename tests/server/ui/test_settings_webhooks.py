"""Settings → Webhooks: the list, the form, and the page of a webhook with its delivery log."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.helpers.live_server import listening
from tests.helpers.webhook_receiver import Response, webhook_receiver


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELUMINE_WEBHOOK_ALLOW_LOOPBACK", "true")
        with listening(f"sqlite:///{tmp_path_factory.mktemp('page') / 'x.db'}") as url:
            yield url


@pytest.fixture
def receiver():
    with webhook_receiver() as server:
        yield server


def create(api, receiver, **fields):
    response = api.post("/v1/webhooks", json={"url": receiver.url, **fields})
    response.raise_for_status()
    return response.json()


def test_a_webhook_is_added_tested_and_its_secret_is_shown_once(page, api, receiver):
    receiver.responses = [Response(200, body=b"<b>thanks</b>")]
    page.goto("/#/settings/webhooks")
    page.get_by_role("button", name="Add a webhook").click()
    page.get_by_label("URL of the receiver").fill(receiver.url)
    page.get_by_label("Name (optional)").fill("<i>on call</i>")
    page.get_by_label("Run ends").check()
    page.get_by_role("button", name="Create the webhook").click()
    secret = page.get_by_label("Signing secret").input_value()
    assert secret.startswith("whsec_")
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("The receiver answered 200").wait_for()
    page.get_by_text("<b>thanks</b>").wait_for()
    (webhook,) = api.get("/v1/webhooks").json()["items"]
    assert webhook["events"] == ["alert.firing", "alert.resolved", "run.finished"]
    page.get_by_role("button", name="I have copied it").click()
    page.get_by_role("link", name="<i>on call</i>").click()
    page.get_by_role("heading", name="<i>on call</i>").wait_for()
    assert secret not in page.content()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://ptb.discord.com/api/v10/webhooks/1/x", "discord"),
        ("https://discord.com/api/webhooks/1/x/slack", "slack"),
        ("http://alerts.local/api/v2/alerts", "alertmanager"),
        ("https://example.org/hook", "standard"),
    ],
)
def test_the_format_follows_from_the_url_until_another_one_is_chosen(page, url, expected):
    page.goto("/#/settings/webhooks?new=1")
    page.get_by_label("URL of the receiver").fill(url)
    expect(page.get_by_label("Format")).to_have_value(expected)
    page.get_by_label("Format").select_option("alertmanager")
    page.get_by_label("URL of the receiver").fill("https://hooks.slack.com/services/T/B/y")
    expect(page.get_by_label("Format")).to_have_value("alertmanager")
    page.get_by_text("The URL looks like Slack.").wait_for()


def test_a_refused_url_is_explained_in_the_form_which_keeps_what_was_typed(lenient_watch):
    page = lenient_watch.tab
    page.goto("/#/settings/webhooks?new=1")
    page.get_by_label("URL of the receiver").fill("http://169.254.169.254/latest")
    page.get_by_label("Name (optional)").fill("typed")
    page.get_by_role("button", name="Create the webhook").click()
    expect(page.locator("form [role=alert]")).not_to_be_empty()
    expect(page.get_by_label("Name (optional)")).to_have_value("typed")


def test_a_webhook_is_tested_redelivered_and_disabled(page, api, receiver):
    receiver.responses = [Response(200, body=b"<b>thanks</b>")]
    webhook = create(api, receiver, min_severity="critical")
    page.goto("/#/settings/webhooks")
    page.get_by_role("link", name=f"127.0.0.1:{receiver.server_port}").click()
    page.get_by_text("There are no deliveries yet.").wait_for()
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("The receiver answered 200").wait_for()
    row = page.locator("tbody tr")
    row.locator(".badge.good").get_by_text("delivered").wait_for()
    row.get_by_text("1: 200").click()
    row.get_by_text("<b>thanks</b>").wait_for()
    page.get_by_role("button", name="Redeliver").click()
    row.get_by_text("2: 204").wait_for()
    assert row.get_by_text("<b>thanks</b>").is_visible()  # what was open stays open
    assert len(set(receiver.delivery_ids)) == 1
    page.get_by_role("button", name="Disable").click()
    page.locator("h1").get_by_text("disabled").wait_for()
    page.get_by_text("by a person").wait_for()
    page.get_by_role("button", name="Enable").click()
    page.locator("h1").get_by_text("enabled").wait_for()
    assert api.get(f"/v1/webhooks/{webhook['webhook_id']}").json()["enabled"] is True


def test_a_delivery_that_waits_for_its_next_attempt_is_tried_now(page, api, receiver):
    receiver.responses = [Response(500)] * 4
    webhook = create(api, receiver)
    api.post(f"/v1/webhooks/{webhook['webhook_id']}/test").raise_for_status()
    page.goto(f"/#/settings/webhooks/{webhook['webhook_id']}")
    page.get_by_text("500").first.wait_for()
    receiver.responses = []
    page.get_by_role("button", name="Try now").click()
    page.locator("tbody tr .badge.good").get_by_text("delivered").wait_for()
    assert len(set(receiver.delivery_ids)) == 1


def test_the_body_that_was_sent_is_shown(page, api, receiver):
    webhook = create(api, receiver)
    api.post(f"/v1/webhooks/{webhook['webhook_id']}/test").raise_for_status()
    page.goto(f"/#/settings/webhooks/{webhook['webhook_id']}")
    page.get_by_text("1: 204").wait_for()
    page.locator("summary", has_text="show").click()
    page.get_by_text('"type": "webhook.test"').wait_for()


def test_a_webhook_is_changed_its_secret_rotated_and_it_is_deleted_after_a_question(page, api, receiver):
    webhook_id = create(api, receiver)["webhook_id"]
    page.goto(f"/#/settings/webhooks/{webhook_id}")
    page.get_by_role("button", name="Edit").click()
    page.locator("main").get_by_label("Project").fill("digits*")
    page.get_by_label("Alerts of severity").select_option("critical")
    page.get_by_role("button", name="Save the changes").click()
    page.get_by_text("Saved.").wait_for()
    changed = api.get(f"/v1/webhooks/{webhook_id}").json()
    assert (changed["project"], changed["min_severity"], changed["format"]) == ("digits*", "critical", "standard")
    page.get_by_role("button", name="Rotate the secret").click()
    page.get_by_role("button", name="Rotate", exact=True).click()
    assert page.get_by_label("New signing secret").input_value().startswith("whsec_")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_role("heading", name="Webhooks", exact=True).wait_for()
    assert webhook_id not in {item["webhook_id"] for item in api.get("/v1/webhooks").json()["items"]}


def test_the_list_says_in_words_which_webhook_fails_and_what_is_pending(page, api, receiver):
    receiver.responses = [Response(500)] * 9
    webhook_id = create(api, receiver, name="broken")["webhook_id"]
    api.post(f"/v1/webhooks/{webhook_id}/test").raise_for_status()
    page.goto("/#/settings/webhooks")
    row = page.locator("tr", has=page.locator(f"#webhook-{webhook_id}"))
    row.get_by_text(re.compile(r"\d attempts? failed, the first .*(ago|now)")).wait_for()
    expect(row.locator("td.number")).to_contain_text("1")
    expect(row).to_contain_text("500")


def test_an_attempt_that_is_due_is_not_said_to_be_in_the_past(page, api, receiver):
    receiver.responses = [Response(500)] * 9
    webhook_id = create(api, receiver)["webhook_id"]
    api.post(f"/v1/webhooks/{webhook_id}/test").raise_for_status()

    def make_due(route):
        headers = {name: value for name, value in route.request.headers.items() if name != "if-none-match"}
        response = route.fetch(headers=headers)
        deliveries = [item | {"next_attempt_at": "2020-01-01T00:00:00Z"} for item in response.json()["items"]]
        route.fulfill(response=response, json=response.json() | {"items": deliveries})

    page.route(re.compile("/v1/.*/deliveries"), make_due)
    page.goto(f"/#/settings/webhooks/{webhook_id}")
    expect(page.locator("tbody tr")).to_contain_text("next attempt now")
    page.goto("about:blank")
    page.unroute(re.compile("/v1/.*/deliveries"))


def test_a_round_of_the_list_is_one_request_however_many_webhooks_there_are(page, api, receiver):
    for number in range(3):
        create(api, receiver, name=f"one of {number}")
    page.goto("about:blank")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/v1/webhooks" in request.url else None)
    page.goto("/#/settings/webhooks")
    page.get_by_role("link", name="one of 2").wait_for()
    with page.expect_response(re.compile("/v1/webhooks")):
        pass  # the page refreshes by itself
    assert [url for url in asked if "/deliveries" in url] == []


def test_the_delivery_log_has_pages_and_a_filter_which_its_address_keeps(page, api, receiver):
    webhook_id = create(api, receiver)["webhook_id"]
    for _ in range(51):
        api.post(f"/v1/webhooks/{webhook_id}/test").raise_for_status()
    page.goto(f"/#/settings/webhooks/{webhook_id}")
    page.get_by_role("button", name="Older").click()
    page.get_by_role("button", name="Newest").wait_for()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Newest").click()
    page.get_by_role("button", name="Older").wait_for()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_label("State").select_option("failed")
    page.get_by_text("No delivery is failed.").wait_for()
    assert page.evaluate("location.hash").endswith("?state=failed")


def test_new_deliveries_do_not_move_an_attempt_that_is_being_read(page, api, receiver):
    webhook_id = create(api, receiver)["webhook_id"]
    api.post(f"/v1/webhooks/{webhook_id}/test").raise_for_status()
    page.goto(f"/#/settings/webhooks/{webhook_id}")
    page.get_by_text("1: 204").click()
    api.post(f"/v1/webhooks/{webhook_id}/test").raise_for_status()
    page.get_by_role("button", name="Show 1 newer delivery").wait_for()
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("button", name="Show 1 newer delivery").click()
    expect(page.locator("tbody tr")).to_have_count(2)
