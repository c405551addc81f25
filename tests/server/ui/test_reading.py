"""What a reader is promised while runs go on: nothing moves under the hand, links lead on, and words are exact."""

from __future__ import annotations

import csv
import io
import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.helpers.live_server import listening

FIRST_LOAD_BYTES = 80_000
MORE_THAN_A_PAGE = 101
SELECT = """(selector) => {
  const range = document.createRange();
  range.selectNodeContents(document.querySelector(selector));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}"""


def born_dead(run_id, **fields):
    """Return an upload of a run whose only layer was never active."""
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": [0] * 4} for step in range(1, 8)
    ]
    layers = [{"layer_id": 1, "name": "fc", "units": 4}]
    return {"run": {"id": run_id}, "session": "s1", "seq": 1, "layers": layers, "records": records, **fields}


def test_an_open_incident_is_listed_however_many_newer_ones_are_closed(watch, api):
    assert api.post("/v1/uploads", json=born_dead("oldest")).status_code == 202
    for number in range(MORE_THAN_A_PAGE):
        body = born_dead(f"newer-{number}", final_status="finished")
        assert api.post("/v1/uploads", json=body).status_code == 202
    watch.load("alerts")
    expect(watch.tab.locator(".incidents tbody tr", has_text="oldest")).to_be_visible()
    expect(watch.tab.locator(".incidents tbody tr", has_text="newer-")).to_have_count(0)
    for run_id in ("oldest", *(f"newer-{number}" for number in range(MORE_THAN_A_PAGE))):
        api.delete(f"/v1/runs/{run_id}")


def test_selected_text_stays_selected_over_an_update(page, api, alerts_of):
    alerts_of("selected", "baseline")
    page.goto("/#/runs/selected")
    page.locator(".timeline canvas").first.wait_for()
    for seq, selector in enumerate(("h1", "#incident .message", "tbody td a"), 2):
        page.evaluate(SELECT, selector)
        text = page.evaluate("getSelection().toString()")
        step = 500 * seq
        record = {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": [30] * 6 + [0] * 18}
        body = {"run": {"id": "selected", "project": "digits"}, "session": "s1", "seq": seq, "records": [record]}
        assert api.post("/v1/uploads", json=body).status_code == 202
        expect(page.locator(".run-head")).to_contain_text(f"step {step:,}")
        assert page.evaluate("getSelection().toString()") == text != ""


def test_a_healthy_run_has_no_card_and_no_notice(page, api):
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": [30] * 4} for step in range(1, 20)
    ]
    assert api.post("/v1/uploads", json=born_dead("well") | {"records": records}).status_code == 202
    page.goto("/#/runs/well")
    page.locator(".timeline canvas").first.wait_for()
    expect(page.locator(".run-head")).to_contain_text("healthy")
    expect(page.locator("#incident > *")).to_have_count(0)
    expect(page.locator("main .notice:visible")).to_have_count(0)


def test_projects_and_groups_in_the_list_are_links_to_their_runs(page, api):
    for run_id, project in (("linked", "alpha"), ("unlinked", "beta")):
        body = {"run": {"id": run_id, "project": project, "group": "sweep"}, "session": "s1", "seq": 1}
        assert api.post("/v1/uploads", json=body).status_code == 202
    page.goto("/#/runs?q=linked")
    page.get_by_role("link", name="alpha").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.evaluate("location.hash") == "#/runs?project=alpha"
    page.get_by_role("link", name="sweep").click()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_times_are_relative_and_a_run_has_its_duration(page, dying):
    page.goto("/#/runs?q=run1")
    started = page.locator("tbody tr td").last.locator("time")
    expect(started).to_have_text(re.compile("now|ago"))
    expect(started).to_have_attribute("title", re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"))
    page.goto("/#/runs/run1")
    expect(page.locator(".run-head")).to_contain_text(re.compile(r"step 391 · \d+ s"))


def test_a_risk_is_a_percentage_on_the_page_of_the_run_and_of_the_layer(page, dying):
    page.goto("/#/runs/run1")
    risk = page.locator("tbody tr td").nth(2)
    expect(risk).to_have_text(re.compile(r"^(<0\.1|0\.\d|\d+)%$"))
    text = risk.inner_text()
    page.goto("/#/runs/run1/layers/1")
    expect(page.locator("dl.facts div", has_text="risk")).to_contain_text(text)


def test_records_are_saved_as_csv_from_the_page_of_a_run(page, dying, api):
    page.goto("/#/runs/run1")
    page.get_by_text("Export").click()
    address = page.get_by_role("link", name="Records as CSV").get_attribute("href")
    rows = list(csv.DictReader(io.StringIO(api.get(address).text)))
    assert {row["step"] for row in rows} == {str(step) for step in range(1, 392, 10)}


def test_the_bar_leads_to_the_reference_and_a_slash_begins_a_search(page, dying):
    page.goto("/#/runs")
    page.locator("tbody tr").first.wait_for()
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="API")).to_have_attribute(
        "href", "docs"
    )
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()


def test_a_list_loads_no_chart_library_and_little_else(browser, server, dying):
    page = browser.new_page(base_url=server)
    for view in ("runs", "alerts", "settings"):
        page.goto(f"/#/{view}")
        page.locator("tbody tr:visible, main .notice:visible").first.wait_for()
    page.wait_for_load_state("networkidle")
    files = page.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/static/'))"
        ".map(({ name, encodedBodySize }) => [name, encodedBodySize])"
    )
    page.close()
    assert [name for name, _ in files if "timeline" in name or "plotly" in name] == []
    assert 0 < sum(size for _, size in files) <= FIRST_LOAD_BYTES


def test_an_action_while_the_server_is_away_says_so_beside_the_form(lenient_watch, alerts_of):
    alerts_of("away", "baseline")
    lenient_watch.show("runs/away")
    page = lenient_watch.tab
    page.locator("summary", has_text="Acknowledge").click()
    page.get_by_label("Your name").fill("Ada")
    page.route("**/acknowledge", lambda route: route.abort())
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    expect(page.locator("#incident form [role=alert]")).to_contain_text("does not respond")
    page.unroute("**/acknowledge")


def test_the_name_of_who_acted_is_kept_for_the_next_form(watch, alerts_of):
    first, second = alerts_of("named1")[0], alerts_of("named2")[0]
    watch.show(f"alerts/{first['id']}")
    watch.tab.get_by_label("Your name").fill("Ada")
    watch.tab.get_by_role("button", name="Acknowledge").click()
    expect(watch.tab.locator(".lifecycle")).to_contain_text("by Ada")
    watch.show(f"alerts/{second['id']}")
    expect(watch.tab.get_by_label("Your name")).to_have_value("Ada")


@pytest.fixture
def empty_server_with_keys(tmp_path):
    """The URL of a server that has a key and no run, and the key."""
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        yield url, httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]


def test_the_first_steps_on_a_server_with_keys_name_the_key(browser, empty_server_with_keys):
    url, key = empty_server_with_keys
    page = browser.new_page(base_url=url)
    assert page.request.post("/v1/session", data={"key": key}).ok
    page.goto("/#/runs")
    expect(page.get_by_text("There are no runs yet")).to_be_visible()
    expect(page.get_by_text("set RELUMINE_API_KEY where the training runs")).to_be_visible()
    page.close()
