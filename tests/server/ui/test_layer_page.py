"""The page of a layer in a real browser: its states over steps, its unit map and its table of units."""

from __future__ import annotations

import csv
import io

import pytest
from playwright.sync_api import expect


def open_layer(page, run_id, layer_id=1, query=""):
    page.goto("about:blank")
    page.goto(f"/#/runs/{run_id}/layers/{layer_id}{query}")
    page.locator("table tbody tr").first.wait_for()


def test_a_layer_shows_its_state_and_every_unit(page, dying):
    open_layer(page, "run1")
    expect(page.locator(".run-head")).to_contain_text("dead")
    expect(page.locator("caption")).to_have_text("Units 1 to 24 of 24")
    page.get_by_role("button", name="dead: 18 units").click()
    expect(page.locator("caption")).to_have_text("Units 1 to 18 of 18")
    assert "state=dead" in page.evaluate("location.hash")


def test_the_table_is_sorted_by_its_heads_and_the_order_is_in_the_link(page, dying):
    open_layer(page, "run1")
    page.get_by_role("button", name="Unit", exact=True).click()
    expect(page.locator("tbody tr").first.locator("td").first).to_have_text("0")
    page.get_by_role("button", name="Unit ↑").click()
    expect(page.locator("tbody tr").first.locator("td").first).to_have_text("23")
    page.reload()
    expect(page.locator("tbody tr").first.locator("td").first).to_have_text("23")


def test_all_units_are_saved_as_csv(page, dying, api, server):
    open_layer(page, "run1")
    address = page.get_by_role("link", name="All units as CSV").get_attribute("href")
    rows = list(csv.DictReader(io.StringIO(api.get(address).text)))
    assert [row["unit"] for row in rows if row["state"] == "dead"] == [str(unit) for unit in range(18)]


def test_the_unit_map_names_the_unit_and_its_rate_under_the_cursor(page, dying):
    open_layer(page, "run1")
    lane = page.locator(".lane-plot").nth(1)
    box = lane.bounding_box()
    page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 3)  # the row of a unit that fell silent
    expect(page.locator(".tooltip")).to_contain_text("active on 0%")


@pytest.fixture(scope="module")
def wide(api):
    """A run of one layer with 20,000 units; every unit with an odd number is active."""
    units = 20_000
    for seq, step in enumerate((1, 2, 3, 4), 1):
        record = {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": [0, 32] * (units // 2)}
        body = {"run": {"id": "wide"}, "session": "s1", "seq": seq, "records": [record]}
        body["layers"] = [{"layer_id": 1, "name": "fc", "units": units}]
        assert api.post("/v1/uploads", json=body).status_code == 202
    return units


def test_a_layer_of_twenty_thousand_units_is_shown_in_parts(page, wide):
    open_layer(page, "wide")
    expect(page.locator("caption")).to_have_text("Units 1 to 100 of 20,000")
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.locator("caption")).to_have_text("Units 101 to 200 of 20,000")
    expect(page.get_by_text("Unit map: rows 1 to 512 of 20,000")).to_be_visible()
    page.get_by_role("button", name="Next units").click()
    expect(page.get_by_text("Unit map: rows 513 to 1,024 of 20,000")).to_be_visible()


def test_a_layer_that_the_run_does_not_have_is_said(page, dying):
    page.goto("about:blank")
    page.goto("/#/runs/run1/layers/99")
    expect(page.get_by_text("This run has no layer 99")).to_be_visible()
    expect(page.get_by_role("heading", name="Units")).to_be_hidden()
