"""Old data is never shown as the present state: the server is away or hangs, the tab slept, a key was revoked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import expect

from tests.helpers.live_server import listening

ANSWER_WITHIN_MS = 30_000
OVERVIEW = re.compile(r"/v1/runs/[^/]+/overview")
HIDE = """(state) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => state === "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def open_run(tab, run_id="run1"):
    tab.goto(f"/#/runs/{run_id}")
    tab.locator(".timeline canvas").first.wait_for()


def test_a_server_that_is_away_is_said_with_the_age_of_what_is_shown(timed_tab, dying):
    open_run(timed_tab)
    timed_tab.route("**/v1/**", lambda route: route.abort())
    timed_tab.clock.run_for(20_000)
    banner = timed_tab.locator("#connection")
    expect(banner).to_have_text(
        re.compile(r"does not respond. Trying again. This page shows the state of \d\d:\d\d:\d\d")
    )
    timed_tab.unroute("**/v1/**")
    timed_tab.clock.run_for(20_000)
    expect(banner).to_have_text("")


def test_a_server_that_never_answers_is_away(timed_tab, dying):
    open_run(timed_tab)
    timed_tab.route(OVERVIEW, lambda route: None)
    timed_tab.clock.run_for(20_000)
    timed_tab.clock.run_for(ANSWER_WITHIN_MS)
    expect(timed_tab.locator("#connection")).to_contain_text("This page shows the state of")


def test_the_age_of_the_last_upload_grows_without_an_answer(timed_tab, dying):
    open_run(timed_tab)
    timed_tab.route("**/v1/**", lambda route: route.abort())
    timed_tab.clock.run_for(61_000)
    expect(timed_tab.locator("#updated")).to_contain_text(re.compile("last upload 1 min"))


def test_a_tab_that_slept_says_its_age_at_once_and_asks_again(timed_tab, dying):
    open_run(timed_tab)
    timed_tab.evaluate(HIDE, "hidden")
    timed_tab.clock.run_for(20_000)
    timed_tab.clock.fast_forward("02:00:00")
    timed_tab.route(OVERVIEW, lambda route: None)
    with timed_tab.expect_request(OVERVIEW):
        timed_tab.evaluate(HIDE, "visible")
    expect(timed_tab.locator("#updated")).to_contain_text("last upload 2 h")


def test_a_hidden_tab_asks_for_nothing(timed_tab, dying):
    open_run(timed_tab)
    timed_tab.wait_for_load_state("networkidle")
    timed_tab.evaluate(HIDE, "hidden")
    asked = []
    timed_tab.on("request", lambda request: asked.append(request.url))
    timed_tab.clock.run_for(60_000)
    with timed_tab.expect_request(OVERVIEW):
        assert asked == []
        timed_tab.evaluate(HIDE, "visible")


def test_the_number_of_open_incidents_is_unknown_while_the_server_is_away(timed_tab, dying):
    open_run(timed_tab)
    badge = timed_tab.locator("#open-alerts")
    expect(badge).to_have_text(re.compile(r"\d"))
    timed_tab.route("**/v1/**", lambda route: route.abort())
    timed_tab.clock.run_for(31_000)
    expect(badge).to_have_text("?")


def test_a_page_that_is_opened_while_the_server_is_away_loads_when_it_is_back(timed_tab, dying):
    open_run(timed_tab)
    timed_tab.route(re.compile("/v1/|pages/compare"), lambda route: route.abort())
    timed_tab.evaluate("location.hash = '#/compare'")
    timed_tab.get_by_text("will load as soon as the server responds").wait_for()
    timed_tab.clock.run_for(6_000)
    expect(timed_tab.locator("#connection")).to_contain_text("does not respond")
    timed_tab.unroute(re.compile("/v1/|pages/compare"))
    timed_tab.clock.run_for(6_000)
    expect(timed_tab.get_by_role("heading", name="Compare runs")).to_be_visible()


def test_a_tag_is_no_sign_of_life(api, dying):
    before = api.get("/v1/runs/run1").json()
    api.patch("/v1/runs/run1", json={"tags": ["seen"]}).raise_for_status()
    after = api.get("/v1/runs/run1").json()
    assert after["updated_at"] > before["updated_at"]
    assert after["last_upload_at"] == before["last_upload_at"]


def test_a_silence_that_ended_is_not_shown_as_one_in_force(api, dying):
    overview = api.get("/v1/runs/run1/overview")
    ends_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"matchers": {"run_id": "run1"}, "author": "Ada", "ends_at": ends_at, "comment": "test"}
    silence = api.post("/v1/silences", json=body)
    silence.raise_for_status()
    silenced = api.get("/v1/runs/run1/overview", headers={"if-none-match": overview.headers["etag"]})
    assert silenced.json()["alerts"][0]["silenced_by"] is not None
    api.delete(f"/v1/silences/{silence.json()['silence_id']}").raise_for_status()
    ended = api.get("/v1/runs/run1/overview", headers={"if-none-match": silenced.headers["etag"]})
    assert ended.json()["alerts"][0]["silenced_by"] is None


@pytest.mark.parametrize("view", ["runs", "alerts", "runs/kept", "settings/server"])
def test_a_key_that_was_revoked_leaves_no_old_page_behind(browser, tmp_path, view):
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        admin = httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]
        headers = {"authorization": f"Bearer {admin}"}
        upload = {"run": {"id": "kept"}, "session": "s1", "seq": 1}
        httpx.post(f"{url}/v1/uploads", json=upload, headers=headers).raise_for_status()
        created = httpx.post(f"{url}/v1/keys", json={"scope": "admin"}, headers=headers).json()
        tab = browser.new_page(base_url=url)
        tab.set_default_timeout(60_000)
        tab.clock.install()
        tab.goto(f"/#/{view}")
        tab.get_by_label("Key").fill(created["key"])
        tab.keyboard.press("Enter")
        tab.get_by_role("button", name="Log out").wait_for()
        tab.wait_for_load_state("networkidle")
        httpx.delete(f"{url}/v1/keys/{created['key_id']}", headers=headers).raise_for_status()
        tab.clock.run_for(20_000)
        tab.get_by_role("heading", name="Log in").wait_for()
        tab.close()
