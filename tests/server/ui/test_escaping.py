"""Names of runs, layers, projects, webhooks and people are shown as text, on every page and in every notification."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect

from relumine.schemas.layer_label import layer_label
from relumine.schemas.webhook import FORMATS
from tests.helpers import two_project_server
from tests.helpers.hostile_names import HOSTILE_NAMES, shown
from tests.helpers.live_server import listening
from tests.helpers.webhook_receiver import Response, webhook_receiver
from tests.server.ui.watched_tab import FOREIGN, WatchedTab

NAMED = dict(enumerate(HOSTILE_NAMES))


@pytest.fixture(scope="module")
def server_with_receiver(tmp_path_factory):
    """A server that may send webhooks to a receiver on this machine."""
    with pytest.MonkeyPatch.context() as patch, webhook_receiver() as receiver:
        patch.setenv("RELUMINE_WEBHOOK_ALLOW_LOOPBACK", "true")
        with listening(f"sqlite:///{tmp_path_factory.mktemp('markup') / 'x.db'}") as url:
            receiver.responses = [Response(200, body=name.encode()) for name in HOSTILE_NAMES]
            yield url, receiver


@pytest.fixture(scope="module")
def server(server_with_receiver):
    """The URL of a server with a run, an alert, an acknowledgement, a silence and a webhook of every name."""
    url, receiver = server_with_receiver
    with httpx.Client(base_url=url) as client:
        create_webhooks(client, receiver.url)
        for number, name in NAMED.items():
            create(client, "uploads", upload(number, name))
        deadline = time.monotonic() + 60
        while len(receiver.requests) < len(FORMATS) * len(NAMED):
            assert time.monotonic() < deadline, len(receiver.requests)
            time.sleep(0.05)  # until the dispatcher has sent everything
        for number, name in NAMED.items():
            create(client, f"alerts/{alert_id(client, number)}/acknowledge", {"author": name, "note": name})
            silence = {"matchers": {"project": name, "run_id": "none"}, "ends_at": "2035-01-01T00:00:00Z"}
            create(client, "silences", silence | {"author": name, "comment": name})
    return url


def create_webhooks(client, receiver_url):
    """Create a webhook of each format for all alerts, and one of each name that is sent nothing."""
    for form in FORMATS:
        body = {"url": receiver_url, "format": form, "min_severity": "info", "group_wait_s": 0}
        create(client, "webhooks", body)
    for name in HOSTILE_NAMES:
        body = {"url": f"{receiver_url}/{quote(name)}", "project": name, "events": ["run.finished"]}
        create(client, "webhooks", body)


def create(client, kind, body):
    client.post(f"/v1/{kind}", json=body).raise_for_status()


def upload(number, name):
    body = two_project_server.upload(name, f"run{number}")
    body["run"] |= {"name": name, "group": name, "tags": [name]}
    body["layers"][0] |= {"name": name, "producer": name, "activation": name, "observed": name}
    return body


def alert_id(api, number):
    (alert,) = api.get(f"/v1/alerts?run_id=run{number}").json()["items"]
    return alert["id"]


def test_lists_and_the_comparison_show_names_as_text(watch):
    names = [shown(name) for name in HOSTILE_NAMES]
    compared = ",".join(f"run{number}" for number in list(NAMED)[:8])
    for view in ("runs", "alerts", "alerts?tab=silences", "settings/webhooks"):
        watch.show(view)
        watch.tab.locator("tbody tr").first.wait_for()
        watch.shows(*names)
    watch.show(f"compare?runs={compared}")
    watch.tab.locator(".timeline canvas").first.wait_for()
    watch.shows(*names[:8])


@pytest.mark.parametrize("number", NAMED)
def test_a_run_shows_names_as_text(watch, number):
    name = shown(NAMED[number])
    label = shown(layer_label(NAMED[number], activation=NAMED[number], producer=NAMED[number]))
    watch.show(f"runs/run{number}")
    expect(watch.tab.locator("h1")).to_have_text(name)
    expect(watch.tab.locator("#layer-1")).to_have_text(label)
    expect(watch.tab.locator(".lane-title .row")).to_have_text(label.removeprefix("layer "))
    assert watch.tab.title() == f"{name} · Relumine"
    lane = watch.tab.locator(".lane-plot").nth(2)
    lane.hover()
    expect(watch.tab.locator(".tooltip")).to_contain_text(name[:20].strip())
    watch.tab.get_by_role("tab", name="Config").click()
    watch.shows(name, f"tags{name}")


@pytest.mark.parametrize("number", NAMED)
def test_a_layer_shows_names_as_text(watch, number):
    name = shown(NAMED[number])
    label = shown(layer_label(NAMED[number], activation=NAMED[number], producer=NAMED[number]))
    watch.show(f"runs/run{number}/layers/1")
    expect(watch.tab.locator("h1")).to_have_text(label)
    watch.tab.locator(".timeline canvas").first.wait_for()
    watch.shows(name, f"producer{name}", f"activation{name}")


@pytest.mark.parametrize("number", NAMED)
def test_an_alert_with_its_history_shows_names_as_text(watch, api, number):
    name = shown(NAMED[number])
    watch.show(f"alerts/{alert_id(api, number)}")
    expect(watch.tab.locator("tbody").last).to_contain_text(name)
    assert name[:20].strip() in watch.tab.title()
    watch.shows(name)


def test_a_webhook_shows_its_project_and_responses_as_text(watch, api):
    hooks = api.get("/v1/webhooks?limit=200").json()["items"]
    for hook in hooks:
        watch.show(f"settings/webhooks/{hook['webhook_id']}")
        watch.tab.locator("h1").wait_for()
        if hook["project"]:
            watch.tab.get_by_text("There are no deliveries yet").wait_for()
            watch.shows(shown(hook["project"]))
        else:
            watch.tab.locator("tbody tr").first.wait_for()
            watch.shows()


@pytest.mark.parametrize("part", ["runs", "alerts", "settings/webhooks"])
def test_markup_in_the_url_of_a_page_is_not_rendered(lenient_watch, part):
    watch = lenient_watch  # the browser logs 404 and 422 as errors
    for name in HOSTILE_NAMES:
        watch.show("runs")
        watch.tab.locator("tbody").wait_for()  # a list that loads removes the message before
        watch.show(f"{part}/{quote(name, safe='')}")
        shows_a_problem(watch)
    watch.load(f"{part}/{quote(HOSTILE_NAMES[1], safe='')}")
    shows_a_problem(watch)


def shows_a_problem(watch):
    """Check that the page says why it shows nothing, and that no markup was rendered or ran."""
    watch.tab.locator("#connection:not(:empty), [role=alert]:not(:empty)").first.wait_for()
    watch.shows()
    assert watch.tab.evaluate("window.pwned") is None
    assert (watch.reports, watch.dialogs) == ([], [])


def test_a_key_of_a_hostile_project_is_named_as_text(browser, tmp_path):
    with (
        listening(f"sqlite:///{tmp_path / 'x.db'}") as url,
        browser.new_context(base_url=url) as context,
        httpx.Client(base_url=url) as client,
    ):
        admin = client.post("/v1/keys", json={"scope": "admin"}).json()["key"]
        client.headers["authorization"] = f"Bearer {admin}"
        watch = WatchedTab(context.new_page())
        for name in HOSTILE_NAMES[1::3]:  # only a few logins per minute are allowed
            body = {"scope": "read", "project": name, "name": name}
            response = client.post("/v1/keys", json=body)
            context.clear_cookies()
            watch.tab.goto("/")
            watch.tab.get_by_label("Key").fill(response.json()["key"])
            watch.tab.keyboard.press("Enter")
            watch.shows(f"read key of {shown(name)}")
            assert watch.tab.evaluate("window.pwned") is None
            assert (watch.reports, watch.dialogs) == ([], [])


def test_a_script_url_is_no_webhook(api):
    for url in ("javascript:window.pwned=1", "data:text/html,<script>1</script>"):
        assert api.post("/v1/webhooks", json={"url": url}).status_code == 422


def test_executed_markup_would_be_reported(lenient_watch):
    watch = lenient_watch
    watch.inject()
    watch.tab.evaluate(
        "() => { const it = document.createElement('script'); it.text = 'window.pwned = 1'; document.body.append(it); }"
    )
    watch.tab.wait_for_timeout(0)
    assert watch.tab.evaluate("window.pwned") is None  # blocked by the policy
    assert [report.split()[:2] for report in watch.reports] == [
        ["script-src-attr", "inline"],
        ["script-src-elem", "inline"],
    ]
    assert any("Content Security Policy" in error for error in watch.errors)
    assert len(watch.tab.evaluate(FOREIGN)) == 2


def test_without_the_policy_the_same_markup_would_run(browser, server):
    with browser.new_context(base_url=server, bypass_csp=True) as context:
        watch = WatchedTab(context.new_page())
        watch.tab.goto("/")
        watch.inject()
        watch.tab.wait_for_function("window.pwned === 1")


@pytest.fixture(scope="module")
def messages(server_with_receiver, server):
    """The notification of each run's alert in each format, found by the link that it contains."""
    bodies = [(body.decode(), json.loads(body)) for _, body in server_with_receiver[1].requests]
    of_run = {number: [body for text, body in bodies if f"#/runs/run{number}?" in text] for number in NAMED}
    kinds = {"standard": "type", "slack": "blocks", "discord": "embeds", "alertmanager": "version"}
    return {
        form: {number: next(body for body in of_run[number] if kind in body) for number in NAMED}
        for form, kind in kinds.items()
    }


@pytest.mark.parametrize("number", NAMED)
def test_formats_for_programs_contain_names_unchanged(messages, number):
    name = NAMED[number]
    (alert,) = messages["standard"][number]["data"]["alerts"]
    run = alert["run"]
    assert [alert["project"], alert["layer"], run["name"], run["group"]] == [name] * 4
    (alert,) = messages["alertmanager"][number]["alerts"]
    assert [alert["labels"][label] for label in ("project", "layer", "run", "group")] == [name] * 4


@pytest.mark.parametrize("number", NAMED)
def test_names_in_slack_mention_and_link_nothing(messages, number):
    message, start = messages["slack"][number], beginning(NAMED[number])
    parts = [part for block in message["blocks"] for part in block.get("elements", [block.get("text")])]
    assert all(part["verbatim"] for part in parts)
    for text in [message["text"], parts[0]["text"]]:
        bare = re.sub(r"<http://127\.0\.0\.1:\d+/[^<>|]*\|([^<>]*)>", r"\1", text)
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", bare), bare
        assert start in bare.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.parametrize("number", NAMED)
def test_names_in_discord_mention_and_format_nothing(messages, number):
    message, start = messages["discord"][number], beginning(NAMED[number])
    assert message["allowed_mentions"] == {"parse": []}
    (embed,) = message["embeds"]
    assert not re.search(r"[*_~`|<>\[\]#@]|://", re.sub(r"\\.", "", embed["title"])), embed["title"]
    assert start in re.sub(r"\\(.)", r"\1", embed["title"])


def beginning(name):
    """Return the part of a name that a chat shows at least: direction marks become spaces, and long names are cut."""
    return " ".join("".join(char if char.isprintable() else " " for char in name).split())[:60]
