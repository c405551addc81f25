"""The page of a webhook: its state, its delivery log with every attempt, and its buttons."""

from __future__ import annotations

import pytest

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


def test_a_webhook_is_tested_redelivered_and_disabled(page, api, receiver):
    receiver.responses = [Response(200, body=b"<b>thanks</b>")]
    webhook = api.post("/v1/webhooks", json={"url": receiver.url, "min_severity": "critical"}).json()
    page.goto("/#/webhooks")
    page.get_by_role("link", name=f"127.0.0.1:{receiver.server_port}").click()
    page.get_by_text("There are no deliveries yet.").wait_for()
    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("A signed webhook.test is being sent.").wait_for()
    page.locator("tr .tag.delivered").wait_for()
    page.get_by_text("1: 200").click()
    page.get_by_text("<b>thanks</b>").wait_for()
    page.get_by_text("1: 200").click()
    page.get_by_role("button", name="Redeliver").click()
    page.get_by_text("2: 204").wait_for()
    assert len(set(receiver.delivery_ids)) == 1
    page.get_by_role("button", name="Disable").click()
    page.locator("h1 .tag.disabled").wait_for()
    page.get_by_text("disabled by a person").wait_for()
    page.get_by_role("button", name="Enable").click()
    page.locator("h1 .tag.enabled").wait_for()
    assert api.get(f"/v1/webhooks/{webhook['webhook_id']}").json()["enabled"] is True


def test_the_delivery_log_has_pages(page, api, receiver):
    webhook = api.post("/v1/webhooks", json={"url": receiver.url}).json()
    path = f"/v1/webhooks/{webhook['webhook_id']}"
    for _ in range(51):
        api.post(f"{path}/test").raise_for_status()
    page.goto(f"/#/webhooks/{webhook['webhook_id']}")
    page.get_by_role("button", name="Older").click()
    page.get_by_role("button", name="Newest").wait_for()
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("button", name="Newest").click()
    page.get_by_role("button", name="Older").wait_for()
    assert page.locator("tbody tr").count() == 50
