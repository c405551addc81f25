"""The page of alerts: incidents by tab, filters in the URL, bulk actions, silences, and the number in the bar."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import expect

from tests.helpers.live_server import listening
from tests.server.ui.conftest import UNITS, series

ADA = {"author": "Ada", "note": "known sweep"}
MORE_THAN_A_PAGE = 53


@pytest.fixture
def incident_of(alerts_of, api):
    """A function that uploads a run in which a layer dies and returns its incident."""

    def upload(run_id, name=None):
        alerts_of(run_id, name)
        return api.get("/v1/incidents", params={"run_id": run_id}).json()["items"][0]

    return upload


@pytest.fixture(autouse=True)
def _no_silences(api):
    """End the silences of a test: they would match the alerts of the next one."""
    yield
    for silence in api.get("/v1/silences").json()["items"]:
        api.delete(f"/v1/silences/{silence['silence_id']}")


@pytest.fixture
def two_layers(api):
    """A function that uploads a run in which two layers die, and returns its incident."""

    def upload():
        records = list(series())
        records += [{**record, "layer_id": 2} for record in records if record["layer_id"] == 1]
        layers = [{"layer_id": number, "name": f"act{number}", "units": UNITS} for number in (1, 2)]
        body = {"run": {"id": "two"}, "session": "s1", "seq": 1, "layers": layers, "records": records}
        assert api.post("/v1/uploads", json=body).status_code == 202
        return api.get("/v1/incidents", params={"run_id": "two"}).json()["items"][0]

    return upload


@pytest.fixture
def row(page):
    """A function that returns the row of an incident."""
    return lambda incident: page.locator(f'[data-incident="{incident["id"]}"]')


def finish(api, incident):
    assert api.patch(f"/v1/runs/{incident['run_id']}", json={"status": "finished"}).status_code == 200


def resolve(api, incident):
    for member in incident["layers"]:
        assert api.post(f"/v1/alerts/{member['alert_id']}/resolve", json=ADA).status_code == 200


def select(page, incident):
    page.locator(f'[data-incident="{incident["id"]}"] input[type=checkbox]').check()


def test_open_incidents_are_listed_and_lead_to_their_alert(watch, row, incident_of):
    incident = incident_of("listed", "baseline")
    watch.show("alerts")
    expect(row(incident)).to_contain_text("baseline")
    expect(row(incident)).to_contain_text("firing")
    row(incident).get_by_role("link").first.click()
    watch.tab.wait_for_url(re.compile(re.escape(f"#/alerts/{incident['layers'][0]['alert_id']}")))


def test_a_row_opens_to_its_message_and_its_alerts(watch, row, two_layers):
    incident = two_layers()
    watch.show("alerts")
    row(incident).locator("summary").click()
    expect(row(incident)).to_contain_text(incident["message"])
    expect(row(incident).locator("li a")).to_have_count(2)
    row(incident).locator("li a").last.click()
    watch.tab.wait_for_url(re.compile(re.escape(incident["layers"][1]["alert_id"])))


def test_an_open_row_stays_open_and_selected_when_its_incident_changes(watch, row, incident_of, api):
    incident = incident_of("changing")
    watch.show("alerts")
    select(watch.tab, incident)
    row(incident).locator("summary").click()
    member = incident["layers"][0]["alert_id"]
    assert api.post(f"/v1/alerts/{member}/acknowledge", json=ADA).status_code == 200
    expect(row(incident)).to_contain_text("acknowledged", timeout=30_000)
    expect(row(incident)).to_contain_text(incident["message"])
    expect(row(incident).get_by_role("checkbox")).to_be_checked()


def test_closed_incidents_say_how_they_ended(watch, row, incident_of, api):
    ended, closed = incident_of("ended"), incident_of("closed")
    finish(api, ended)
    resolve(api, closed)
    watch.show("alerts?tab=closed")
    expect(row(ended)).to_contain_text("ended d")  # dead or dying
    expect(row(closed)).to_contain_text("closed by Ada")
    watch.tab.get_by_role("tab", name="Open").click()
    expect(row(ended)).to_have_count(0)
    expect(row(closed)).to_have_count(0)


def test_filters_are_applied_by_the_server_and_kept_in_the_url(watch, row, incident_of):
    incident = incident_of("filtered")
    watch.show("alerts")
    expect(row(incident)).to_be_visible()
    watch.tab.get_by_role("combobox", name="Project", exact=True).fill("another")
    expect(row(incident)).to_have_count(0)
    expect(watch.tab).to_have_url(re.compile("project=another"))
    watch.tab.reload()
    expect(watch.tab.get_by_text("No incident matches these filters.")).to_be_visible()
    watch.tab.get_by_role("button", name="Clear the filters").click()
    expect(row(incident)).to_be_visible()


def test_a_filter_in_the_address_that_does_not_exist_is_left_out(watch, row, incident_of):
    incident = incident_of("nonsense")
    watch.show("alerts?cause=nonsense&severity=none")
    expect(row(incident)).to_be_visible()
    expect(watch.tab).to_have_url(re.compile("#/alerts$"))


def test_a_search_finds_incidents_by_run_and_layer(watch, row, incident_of):
    incident, other = incident_of("searched", "needle"), incident_of("unsearched", "hay")
    watch.show("alerts")
    watch.tab.get_by_label("Search in the list").fill("needle act1")
    expect(row(other)).to_have_count(0)
    expect(row(incident)).to_be_visible()


def test_selected_incidents_are_acknowledged_together(watch, row, incident_of):
    first, second = incident_of("bulk1"), incident_of("bulk2")
    watch.show("alerts")
    for incident in (first, second):
        select(watch.tab, incident)
    expect(watch.tab.get_by_text("2 incidents selected")).to_be_visible()
    watch.tab.get_by_label("Your name").fill("Ada")
    watch.tab.get_by_role("button", name="Acknowledge").click()
    for incident in (first, second):
        expect(row(incident)).to_contain_text("acknowledged")
    expect(watch.tab.locator(".bulk")).to_be_hidden()


def test_a_refused_action_is_reported_where_it_was_made(lenient_watch, incident_of, api):
    incident = incident_of("refused")
    lenient_watch.show("alerts")
    select(lenient_watch.tab, incident)
    lenient_watch.tab.get_by_label("Your name").fill("Ada")
    lenient_watch.tab.route("**/acknowledge", lambda route: route.fulfill(status=409, json={"detail": "Bob has it."}))
    lenient_watch.tab.get_by_role("button", name="Acknowledge").click()
    expect(lenient_watch.tab.locator(".bulk [role=alert]")).to_contain_text("Bob has it.")
    expect(lenient_watch.tab.get_by_text("1 incident selected")).to_be_visible()
    lenient_watch.tab.unroute("**/acknowledge")


@pytest.mark.parametrize(
    ("scope", "matchers"),
    [("incident", {"incident_id": "silenced.1"}), ("run", {"run_id": "silenced"}), ("project", {"project": "digits"})],
)
def test_an_incident_its_run_or_its_project_is_silenced(watch, row, incident_of, api, scope, matchers):
    incident = incident_of("silenced")
    watch.show("alerts")
    select(watch.tab, incident)
    watch.tab.locator("#bulk-scope").select_option(scope)
    watch.tab.get_by_label("Your name").fill("Ada")
    watch.tab.locator("#bulk-hours").select_option("8 hours")
    watch.tab.get_by_role("button", name="Silence", exact=True).click()
    expect(row(incident).locator("td.state")).to_have_text(re.compile("silenced"))
    (silence,) = api.get("/v1/silences").json()["items"]
    assert silence["matchers"] == matchers


def test_a_read_key_sees_no_form_and_a_write_key_sees_them(browser, tmp_path):
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url, httpx.Client(base_url=url) as client:
        body = {"run": {"id": "r1"}, "session": "s", "seq": 1, "records": list(series())}
        layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
        assert client.post("/v1/uploads", json={**body, "layers": layers}).status_code == 202
        client.headers["authorization"] = f"Bearer {client.post('/v1/keys', json={'scope': 'admin'}).json()['key']}"
        alert_id = client.get("/v1/alerts").json()["items"][0]["id"]
        for scope, count in (("read", 0), ("write", 1)):
            key = client.post("/v1/keys", json={"scope": scope}).json()["key"]
            page = browser.new_context(base_url=url).new_page()
            page.goto("/#/alerts")
            page.get_by_label("Key").fill(key)
            page.keyboard.press("Enter")
            page.locator(".incidents tbody tr").wait_for()
            expect(page.locator("td.select input[id^=select-r1]")).to_have_count(count)
            page.get_by_role("tab", name="Silences").click()
            expect(page.get_by_text("There is no silence.")).to_be_visible()
            expect(page.locator(".silence-form")).to_have_count(count)
            page.goto(f"/#/alerts/{alert_id}")
            page.locator(".timeline canvas").first.wait_for()
            expect(page.locator(".alert-form")).to_have_count(count)
            page.context.close()


def test_a_silence_is_created_with_several_matchers_and_ended(watch, api):
    watch.show("alerts?tab=silences")
    page = watch.tab
    expect(page.get_by_text("There is no silence.")).to_be_visible()
    page.locator("summary", has_text="New silence").click()
    page.get_by_label("Value or pattern").fill("digits*")
    page.get_by_role("button", name="Add a condition").click()
    page.get_by_label("What to compare").last.select_option("kind")
    page.get_by_label("Value or pattern").last.fill("dying")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Create the silence").click()
    expect(page.locator(".silences tbody tr")).to_contain_text("kind: dying")
    assert api.get("/v1/silences").json()["items"][0]["matchers"] == {"project": "digits*", "kind": "dying"}
    page.get_by_role("button", name="End now").click()
    expect(page.get_by_text("There is no silence.")).to_be_visible()
    assert api.get("/v1/silences").json()["items"] == []


def test_a_planned_silence_is_told_from_one_in_force(watch, api):
    start, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 2))
    body = {"matchers": {"project": "p"}, "starts_at": start.isoformat(), "ends_at": end.isoformat(), "author": "Ada"}
    assert api.post("/v1/silences", json=body).status_code == 201
    watch.show("alerts?tab=silences")
    expect(watch.tab.locator(".silences tbody tr")).to_contain_text("planned")


def test_the_bar_counts_open_incidents_and_hides_a_zero(watch, incident_of, api):
    for run in api.get("/v1/runs", params={"limit": 200}).json()["items"]:
        api.delete(f"/v1/runs/{run['run_id']}")
    watch.load("alerts")
    expect(watch.tab.get_by_text("No incident is open.")).to_be_visible()
    expect(watch.tab.locator("#open-alerts")).to_be_hidden()
    incident_of("counted")
    watch.load("alerts")
    expect(watch.tab.locator("#open-alerts")).to_have_text("1")


def test_older_incidents_stay_while_the_page_refreshes(watch, alerts_of):
    for number in range(MORE_THAN_A_PAGE):
        alerts_of(f"many-{number}")
    watch.load("alerts?q=many-")
    rows = watch.tab.locator(".incidents tbody tr")
    expect(rows.first).to_be_visible()
    watch.tab.get_by_role("button", name="Show older incidents").click()
    expect(rows).to_have_count(MORE_THAN_A_PAGE)
    with watch.tab.expect_response(re.compile("/v1/incidents"), timeout=30_000):
        pass
    expect(rows).to_have_count(MORE_THAN_A_PAGE)


def test_names_are_text_and_never_markup(watch, incident_of, row):
    name = "<img src=x onerror=window.pwned=1>" + "w" * 160
    incident = incident_of("hostile", name)
    watch.show("alerts")
    expect(row(incident)).to_contain_text(name)
    assert watch.tab.locator("main img, main b").count() == 0
    assert watch.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
