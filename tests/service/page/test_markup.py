"""Whatever runs, layers, projects, receivers and people are called: text on every view and in every message."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import quote

import httpx
import keyed_server
import pytest
from hostile_names import HOSTILE_NAMES, shown
from live_server import listening
from playwright.sync_api import expect
from receiver import Answer, receiving

from relumine_server.webhooks.payload import FORMATS

NAMED = dict(enumerate(HOSTILE_NAMES))
INJECTED = "<img src='/static/icon.svg' onload='window.pwned = 1'>"
WATCH = """document.addEventListener("securitypolicyviolation", (event) =>
  window.reported(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));"""
FOREIGN = """() => {
  const drawn = (node) => node.closest(".js-plotly-plot");
  const own = ["/static/plotly.min.js", "/static/app.js"];
  const address = /^(xlink:)?href$|^src$|action$/i;
  const runs = ({ name, value }) => /^on/i.test(name) || (address.test(name) && /^\\s*javascript:/i.test(value));
  const active = (node) => [...node.attributes].some(runs);
  return [...document.querySelectorAll("*")].filter((node) =>
    (node.matches("script") && !own.includes(node.getAttribute("src"))) ||
    node.matches("img, iframe, object, embed, base, textarea, b, i, em, code, .js-plotly-plot a") ||
    (node.matches("svg:not(#js-plotly-tester)") && !drawn(node)) || active(node))
    .map((node) => node.outerHTML.slice(0, 200));
}"""


class Watch:
    """A tab, and all that its browser said against what it did."""

    def __init__(self, tab):
        self.tab, self.reports, self.complaints, self.dialogs = tab, [], [], []
        tab.set_default_timeout(15_000)
        tab.expose_function("reported", lambda text: self.reports.append(text))  # noqa: PLW0108 - playwright cannot take a built-in
        tab.add_init_script(WATCH)
        tab.on("console", lambda said: self.complaints.append(said.text) if said.type in {"error", "warning"} else None)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("dialog", self._closed)

    def _closed(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def inject(self):
        """What a page does that takes a name for HTML."""
        self.tab.evaluate(
            "html => { const box = document.createElement('p'); box.innerHTML = html; document.body.append(box); }",
            INJECTED,
        )
        self.tab.locator("p > img").wait_for(state="attached")

    def says(self, *texts):
        """Every text stands on the view that is open, to the letter, and nothing came of it."""
        for text in texts:
            expect(self.tab.locator("body")).to_contain_text(text)
            assert text in self.tab.locator("body").text_content()
        assert self.tab.evaluate(FOREIGN) == []


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A server that may send to the receiver beside it."""
    with pytest.MonkeyPatch.context() as patch, receiving() as receiver:
        patch.setenv("RELUMINE_WEBHOOK_ALLOW_LOOPBACK", "true")
        with listening(f"sqlite:///{tmp_path_factory.mktemp('markup') / 'x.db'}") as url:
            receiver.answers = [Answer(200, body=name.encode()) for name in HOSTILE_NAMES]
            yield url, receiver


@pytest.fixture(scope="module")
def server(house):
    """Its address, with a run, an alert, an acknowledgement, a silence and a receiver of every name; all is told."""
    url, receiver = house
    for form in FORMATS:
        asked = {"url": receiver.url, "format": form, "severity": "info", "group_wait_s": 0}
        httpx.post(f"{url}/v1/webhooks", json=asked).raise_for_status()
    for number, name in NAMED.items():
        hook = {"url": f"{receiver.url}/{quote(name)}", "project": name, "events": ["run.finished"]}
        httpx.post(f"{url}/v1/webhooks", json=hook).raise_for_status()
        httpx.post(f"{url}/v1/uploads", json=upload(number, name)).raise_for_status()
    until = time.monotonic() + 60
    while len(receiver.got) < len(FORMATS) * len(NAMED):
        assert time.monotonic() < until, len(receiver.got)
        time.sleep(0.05)  # the courier is waited for
    for number, name in NAMED.items():
        note = {"author": name, "note": name}
        httpx.post(f"{url}/v1/alerts/{alert_id(url, number)}/acknowledge", json=note).raise_for_status()
        silence = {"matchers": {"project": name, "run_id": "none"}, "ends_at": "2035-01-01T00:00:00Z"}
        httpx.post(f"{url}/v1/silences", json=silence | {"author": name, "comment": name}).raise_for_status()
    return url


def upload(number, name):
    body = keyed_server.upload(name, f"run{number}")
    body["run"] |= {"name": name, "group": name, "tags": [name]}
    body["layers"][0] |= {"name": name, "producer": name, "activation": name, "observed": name}
    return body


def alert_id(url, number):
    (alert,) = httpx.get(f"{url}/v1/alerts?run_id=run{number}").json()["items"]
    return alert["id"]


@pytest.fixture
def watch(browser, server):
    """A tab whose browser must have nothing to report in the end."""
    one = Watch(browser.new_page(base_url=server))
    yield one
    assert one.tab.evaluate("window.pwned") is None
    one.tab.close()
    assert (one.reports, one.complaints, one.dialogs) == ([], [], [])


def test_runs_alerts_silences_and_webhooks_list_names_as_text(watch):
    names = [shown(name) for name in HOSTILE_NAMES]
    for view, where in (("runs", "tbody"), ("alerts", "li.card .message"), ("webhooks", "tbody")):
        watch.tab.goto(f"/#/{view}")
        watch.tab.locator(where).first.wait_for()
        watch.says(*names)


@pytest.mark.parametrize("number", NAMED)
def test_a_run_and_its_layer_show_names_as_text(watch, number):
    name = shown(NAMED[number])
    watch.tab.goto(f"/#/runs/run{number}/layers/1")
    expect(watch.tab.locator("h1")).to_have_text(name)
    expect(watch.tab.locator("#layer-heading")).to_have_text(f"Layer {name}")
    expect(watch.tab.locator("#layer-1")).to_have_text(name)
    watch.tab.locator("#layer-units .barlayer .point").first.wait_for(state="attached")
    assert watch.tab.title() == f"{name} · Relumine"
    watch.says(f"project{name}", f"group{name}", f"tags{name}", f"after{name}", f"{name}/{name}")
    assert watch.tab.locator("#heat-map .ytick text").text_content() == name


@pytest.mark.parametrize("number", NAMED)
def test_what_is_told_at_the_pointer_is_text(watch, number):
    watch.tab.goto(f"/#/runs/run{number}")
    drawn = watch.tab.locator("#heat-map .heatmaplayer image").first
    drawn.scroll_into_view_if_needed()
    watch.tab.locator("#heat-map .nsewdrag").first.hover()
    expect(watch.tab.locator("#heat-map .hoverlayer .hovertext").first).to_contain_text(shown(NAMED[number]))
    watch.says()


@pytest.mark.parametrize("number", NAMED)
def test_an_alert_with_its_history_shows_names_as_text(watch, server, number):
    name = shown(NAMED[number])
    watch.tab.goto(f"/#/alerts/{alert_id(server, number)}")
    expect(watch.tab.locator("tbody")).to_contain_text(f"{name}: {name}")
    assert name in watch.tab.title()
    watch.says(f"{name} has it since", f"run {name}", f"{name}/{name} · {name}")


def test_a_receiver_shows_its_project_and_what_it_answered_as_text(watch, server):
    hooks = httpx.get(f"{server}/v1/webhooks?limit=200").json()["items"]
    for hook in (hook for hook in hooks if hook["project"]):
        watch.tab.goto(f"/#/webhooks/{hook['webhook_id']}")
        watch.tab.get_by_text("Nothing was sent yet.").wait_for()
        watch.says(f"project{shown(hook['project'])}")
    for hook in (hook for hook in hooks if not hook["project"]):
        watch.tab.goto(f"/#/webhooks/{hook['webhook_id']}")
        watch.tab.locator("tr .tag.delivered").first.wait_for()
        watch.says()


@pytest.mark.parametrize("part", ["runs", "alerts", "webhooks"])
def test_an_address_that_is_markup_shows_nothing_of_it(browser, server, part):
    watch = Watch(browser.new_page(base_url=server))  # a 404 or 422 is an error to the console
    for name in HOSTILE_NAMES:
        watch.tab.goto("/")
        watch.tab.goto(f"/#/{part}/{quote(name, safe='')}")
        watch.tab.locator("#connection:not(:empty), [role=alert]:not(:empty)").first.wait_for()
        watch.says()
    assert watch.tab.evaluate("window.pwned") is None
    assert (watch.reports, watch.dialogs) == ([], [])
    watch.tab.close()


def test_a_key_of_a_hostile_project_is_named_as_text(browser, tmp_path):
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        admin = httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]
        for name in HOSTILE_NAMES[1::3]:  # logins are few in a minute
            asked = {"scope": "read", "project": name, "name": name}
            made = httpx.post(f"{url}/v1/keys", json=asked, headers={"authorization": f"Bearer {admin}"})
            context = browser.new_context(base_url=url)
            watch = Watch(context.new_page())
            watch.tab.goto("/")
            watch.tab.get_by_label("Key").fill(made.json()["key"])
            watch.tab.keyboard.press("Enter")
            watch.says(f"read key of {shown(name)}")
            assert watch.tab.evaluate("window.pwned") is None
            assert (watch.reports, watch.dialogs) == ([], [])
            context.close()


def test_an_address_of_script_is_no_receiver(server):
    for url in ("javascript:window.pwned=1", "data:text/html,<script>1</script>"):
        assert httpx.post(f"{server}/v1/webhooks", json={"url": url}).status_code == 422


def test_markup_that_came_alive_would_be_reported(browser, server):
    watch = Watch(browser.new_page(base_url=server))
    watch.tab.goto("/")
    watch.inject()
    watch.tab.evaluate(
        "() => { const it = document.createElement('script'); it.text = 'window.pwned = 1'; document.body.append(it); }"
    )
    watch.tab.wait_for_timeout(0)
    assert watch.tab.evaluate("window.pwned") is None  # the policy held it
    assert [report.split()[:2] for report in watch.reports] == [
        ["script-src-attr", "inline"],
        ["script-src-elem", "inline"],
    ]
    assert any("Content Security Policy" in said for said in watch.complaints)
    assert len(watch.tab.evaluate(FOREIGN)) == 2
    watch.tab.close()


def test_without_the_policy_the_same_markup_would_run(browser, server):
    context = browser.new_context(base_url=server, bypass_csp=True)
    watch = Watch(context.new_page())
    watch.tab.goto("/")
    watch.inject()
    watch.tab.wait_for_function("window.pwned === 1")
    context.close()


@pytest.fixture(scope="module")
def messages(house, server):
    """What receivers of each format got for the alert of each run; a message says which by its link."""
    got = [(body.decode(), json.loads(body)) for _, body in house[1].got]
    first = {number: [each for each in got if f"#/runs/run{number}?" in each[0]] for number in NAMED}
    kinds = {"standard": "type", "slack": "blocks", "discord": "embeds", "alertmanager": "version"}
    return {
        form: {number: next(one for _, one in first[number] if kind in one) for number in NAMED}
        for form, kind in kinds.items()
    }


@pytest.mark.parametrize("number", NAMED)
def test_data_for_programs_holds_the_names_as_they_are(messages, number):
    name = NAMED[number]
    (alert,) = messages["standard"][number]["data"]["alerts"]
    run = alert["run"]
    assert [alert["project"], alert["layer"], run["name"], run["group"]] == [name] * 4
    (alert,) = messages["alertmanager"][number]["alerts"]
    assert [alert["labels"][label] for label in ("project", "layer", "run", "group")] == [name] * 4


@pytest.mark.parametrize("number", NAMED)
def test_slack_is_sent_names_that_mention_and_link_nothing(messages, number):
    message, start = messages["slack"][number], beginning(NAMED[number])
    parts = [part for block in message["blocks"] for part in block.get("elements", [block.get("text")])]
    assert all(part["verbatim"] for part in parts)
    for said in [message["text"], parts[0]["text"]]:
        bare = re.sub(r"<http://127\.0\.0\.1:\d+/[^<>|]*\|([^<>]*)>", r"\1", said)
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", bare), bare
        assert start in bare.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.parametrize("number", NAMED)
def test_discord_is_sent_names_that_mention_and_format_nothing(messages, number):
    message, start = messages["discord"][number], beginning(NAMED[number])
    assert message["allowed_mentions"] == {"parse": []}
    (embed,) = message["embeds"]
    assert not re.search(r"[*_~`|<>\[\]#@]|://", re.sub(r"\\.", "", embed["title"])), embed["title"]
    assert start in re.sub(r"\\(.)", r"\1", embed["title"])


def beginning(name):
    """What a chat shows of a name at least: marks of direction are spaces there, and what is long is cut."""
    return " ".join("".join(char if char.isprintable() else " " for char in name).split())[:60]
