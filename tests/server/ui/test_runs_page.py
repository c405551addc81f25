"""The list of runs in a real browser: filters, order and selection are done by the server and kept in the address."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

UNITS = 4


@pytest.fixture(scope="module")
def runs(api):
    """130 runs: two projects, every third one is lost from its start, the newest is called run129."""
    for number in range(130):
        active = [0] * UNITS if number % 3 == 0 else [30] * UNITS
        records = [
            {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": active}
            for step in range(1, 8 + number % 5)
        ]
        run = {"id": f"run{number}", "name": f"run {number}", "project": f"p{number % 2}", "tags": [f"t{number % 10}"]}
        layers = [{"layer_id": 1, "name": "fc", "units": UNITS}]
        body = {"run": run, "session": "s1", "seq": 1, "layers": layers, "records": records}
        assert api.post("/v1/uploads", json=body).status_code == 202
    return [f"run{number}" for number in range(130)]


def rows(page):
    return page.locator("tbody tr")


def open_list(page, query=""):
    page.goto("about:blank")
    page.goto(f"/#/runs{query}")
    page.locator("tbody tr:visible, main .notice:visible").first.wait_for()


def test_without_runs_the_page_shows_how_to_start_one(page):
    open_list(page, "?project=nothing")
    page.get_by_role("button", name="Clear all filters").click()
    page.get_by_text("There are no runs yet").wait_for()
    assert "relumine.watch(model, optimizer" in page.locator("pre").inner_text()


def test_each_run_has_its_health_and_what_was_lost(page, runs):
    open_list(page, "?q=run128")
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text("healthy")
    expect(rows(page).first).to_contain_text("0 of 1")
    open_list(page, "?q=run126")
    expect(rows(page).first).to_contain_text("damaged")
    expect(rows(page).first).to_contain_text("1 of 1")


def test_filters_and_order_are_in_the_address_and_survive_a_reload(page, runs):
    open_list(page)
    page.get_by_label("Search").fill("run 11")
    page.get_by_label("Project", exact=True).fill("p1")
    expect(rows(page)).to_have_count(6)  # 11, 111, 113, … 119
    page.get_by_label("Health").select_option("damaged")
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="Run").click()
    page.wait_for_url(re.compile("sort=name"))
    expect(rows(page).locator("td.run")).to_have_text(["run 111", "run 117"])
    page.reload()
    expect(rows(page)).to_have_count(2)
    assert page.get_by_label("Project", exact=True).input_value() == "p1"


def test_a_counter_filters_by_what_it_counts(page, runs):
    open_list(page)
    counter = page.get_by_role("button", name="Died in 7 days")
    expect(counter).to_contain_text("44")
    counter.click()
    expect(page.locator("caption")).to_have_text("44 runs")
    expect(counter).to_have_attribute("aria-pressed", "true")
    counter.click()
    expect(page.locator("caption")).to_contain_text("100 runs shown")


def test_older_runs_stay_while_the_list_refreshes(page, runs, api):
    open_list(page)
    page.get_by_role("button", name="Show more runs").click()
    expect(rows(page)).to_have_count(130)
    body = {"run": {"id": "newest", "name": "newest"}, "session": "s1", "seq": 1}
    assert api.post("/v1/uploads", json=body).status_code == 202
    expect(page.get_by_role("link", name="newest")).to_be_visible(timeout=60_000)
    expect(rows(page)).to_have_count(131)
    assert api.delete("/v1/runs/newest").status_code == 204


def test_a_refresh_keeps_the_rows_that_did_not_change(page, runs):
    open_list(page, "?q=run 12")
    rows(page).first.locator(".sparkline").wait_for()  # it comes after the row, which it replaces
    page.evaluate("document.querySelector('tbody tr').marked = true")
    with page.expect_response(lambda response: "/v1/runs?" in response.url, timeout=60_000):
        pass  # the page refreshes by itself
    page.wait_for_timeout(200)
    assert page.evaluate("document.querySelector('tbody tr').marked") is True


def test_selected_runs_are_tagged_compared_and_deleted(page, api):
    for name in ("first", "second"):
        api.post(
            "/v1/uploads", json={"run": {"id": name, "name": name, "project": "selection"}, "session": "s1", "seq": 1}
        )
    open_list(page, "?project=selection")
    for box in page.get_by_role("checkbox").all():
        box.check()
    expect(page.get_by_role("link", name="Compare", exact=True).last).to_have_attribute(
        "href", re.compile("runs=(first|second)")
    )
    page.get_by_label("Tag to add").fill("kept")
    page.get_by_role("button", name="Add the tag").click()
    expect(page.get_by_text("2 runs selected")).to_be_hidden()
    assert api.get("/v1/runs/first").json()["tags"] == ["kept"]
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name=re.compile("Delete 2 runs")).click()
    page.get_by_text("No run matches these filters").wait_for()
    assert api.get("/v1/runs?project=selection").json()["items"] == []
