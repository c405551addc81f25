"""Settings → Projects: the list, the retention and the thresholds of a project, and backtests."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

HOSTILE = "<b>p/x</b> \u202egnp " + "w" * 150


@pytest.fixture
def project(api, alerts_of):
    """A project of a run in which a layer dies."""
    assert alerts_of("tried", "baseline")
    return "digits"


def thresholds(page):
    return page.get_by_role("region", name="Thresholds that are changed most often")


def test_a_project_is_listed_with_the_health_of_its_runs_and_its_name_is_text(page, api, project):
    body = {"run": {"id": "h1", "project": HOSTILE}, "session": "s1", "seq": 1, "layers": [], "records": []}
    api.post("/v1/uploads", json=body).raise_for_status()
    page.goto("/#/settings/projects")
    row = page.locator("tbody tr", has=page.get_by_role("link", name="digits", exact=True))
    expect(row).to_contain_text("damaged 1")
    page.get_by_role("link", name="<b>p/x</b>").first.click()
    page.get_by_role("heading", name="<b>p/x</b>").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("heading", name="Thresholds").wait_for()


def test_the_retention_of_a_project_is_changed_and_what_it_deletes_is_said_first(page, api, project):
    page.goto("/#/settings/projects/digits")
    page.get_by_label("Delete runs after").fill("90")
    page.get_by_text("Runs that ended more than 90 days ago are deleted").wait_for()
    page.get_by_role("button", name="Save the retention").click()
    page.get_by_text("Saved; applied within a minute.").wait_for()
    assert api.get("/v1/projects/digits/retention").json()["run_retention_days"] == 90


def test_other_thresholds_are_tried_on_stored_runs_and_shown_as_picture_and_table(page, project):
    page.goto("/#/settings/projects/digits?try=nats%3A200%2Cconfirm_records%3A6")
    thresholds(page).get_by_label("warmup records").fill("25")
    page.get_by_role("button", name="Try on stored runs").click()
    page.get_by_text("On 1 run: ").wait_for()
    picture = page.get_by_role("group", name="Problems of each run")
    assert picture.get_by_role("link", name="in force, step").count() >= 1
    table = page.get_by_role("region", name="Problems under both policies")
    expect(table.locator("tbody tr").first).to_contain_text(re.compile("later|no longer raised"))
    assert page.evaluate("location.hash").endswith("warmup_records%3A25")


def test_a_link_shows_the_thresholds_that_its_sender_tried(page, api, project):
    page.goto("/#/settings/projects/digits?try=risk%3A0.3%2Cnats%3A20")
    expect(page.get_by_label("risk", exact=True)).to_have_value("0.3")
    expect(page.get_by_label("nats", exact=True)).to_have_value("20")
    page.get_by_text("2 changes not saved").wait_for()
    assert api.get("/v1/projects/digits/policy").json()["changed"] == {}


def test_thresholds_are_saved_and_set_back_to_the_defaults(page, api, project):
    page.goto("/#/settings/projects/digits")
    field = thresholds(page).get_by_label("risk", exact=True)
    field.fill("0.4")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved; in force within two seconds").wait_for()
    page.get_by_text("changed in this project").wait_for()
    assert api.get("/v1/projects/digits/policy").json()["changed"] == {"risk": 0.4}
    page.get_by_role("button", name="Back to the defaults").click()
    expect(field).to_have_value("0.6")
    assert api.get("/v1/projects/digits/policy").json()["changed"] == {}


def test_a_value_out_of_its_range_is_not_sent(page, api, project):
    page.goto("/#/settings/projects/digits")
    thresholds(page).get_by_label("risk", exact=True).fill("7")
    page.get_by_role("button", name="Save", exact=True).click()
    assert page.get_by_label("risk", exact=True).evaluate("field => field === document.activeElement")
    assert api.get("/v1/projects/digits/policy").json()["changed"] == {}


def test_a_project_that_does_not_exist_says_so(lenient_watch):
    page = lenient_watch.tab
    page.goto(f"/#/settings/projects/{quote('nobody')}")
    page.get_by_role("heading", name="Not found").wait_for()
