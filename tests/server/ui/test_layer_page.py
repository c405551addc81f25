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


def test_a_unit_that_is_clicked_is_shown_alone_and_is_in_the_link(page, dying):
    open_layer(page, "run1")
    page.get_by_role("button", name="Unit 20", exact=True).click()
    unit = page.locator("#unit")
    expect(unit.get_by_role("heading")).to_contain_text("Unit 20 ✓active")
    expect(page.get_by_text("Active rate of unit 20")).to_be_visible()
    page.reload()
    expect(unit.get_by_role("heading")).to_contain_text("Unit 20 ✓active")
    page.locator(".lane-plot").nth(1).click(position={"x": 40, "y": 3})  # the row of a unit that fell silent
    expect(unit.get_by_role("heading")).to_contain_text("dead")
    unit.get_by_role("button", name="Close").click()
    expect(unit).to_be_hidden()
    assert "unit=" not in page.evaluate("location.hash")


def test_a_unit_that_the_layer_does_not_have_is_said(page, dying):
    open_layer(page, "run1", query="?unit=999")
    expect(page.get_by_text("This layer has no unit 999")).to_be_visible()


def test_what_shifted_the_pre_activations_is_said_by_state(page, api):
    shifts = {"shift_weight": [0.5] * 4, "shift_input": [-0.25] * 4, "shift_bias": [0.0] * 4, "mean": [-1.0] * 4}
    common = {"layer_id": 1, "n_examples": 64, "active": [32] * 4, **shifts}
    records = [{"first_step": step, "step": step, **common} for step in (1, 2)]
    body = {"run": {"id": "shifting"}, "session": "s1", "seq": 1, "records": records}
    body["layers"] = [{"layer_id": 1, "name": "fc", "units": 4}]
    assert api.post("/v1/uploads", json=body).status_code == 202
    open_layer(page, "shifting")
    row = page.get_by_role("region", name="What shifted the pre-activations").locator("tbody tr")
    expect(row).to_have_text("✓active 0.5 -0.25 0")


def test_without_measured_shifts_there_is_no_table_of_them(page, dying):
    open_layer(page, "run1")
    expect(page.get_by_role("heading", name="What shifted the pre-activations")).to_be_hidden()


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
