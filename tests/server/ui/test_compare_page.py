"""The comparison of runs: which runs, what became of them, charts over one axis, differences of their configuration."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.server.ui.conftest import UNITS, series


@pytest.fixture(scope="module")
def runs(api):
    """Three runs: two that differ in their configuration, and one with a hostile name and no configuration."""
    configs = {
        "hot": {"lr": 1.0, "optimizer": {"name": "sgd", "momentum": 0.9}, "epochs": 3},
        "cool": {"lr": 0.1, "optimizer": {"name": "sgd", "momentum": 0.9}, "epochs": 3, "warmup": [0.1, 0.2]},
        "plain": {},
    }
    names = {"hot": "hot run", "cool": "cool run", "plain": "<b>plain</b>" + "w" * 180}
    for run_id, config in configs.items():
        records = [record for record in series() if run_id != "cool" or record["step"] < 200]
        run = {"id": run_id, "project": "digits", "name": names[run_id], "config": config}
        layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
        body = {"run": run, "session": "s1", "seq": 1, "layers": layers, "records": records}
        assert api.post("/v1/uploads", json=body).status_code == 202
    return names


@pytest.fixture
def summary(page):
    """A function that returns the row of a run in the table of what became of each."""
    return lambda name: page.locator(".compared tbody tr", has_text=name)


def test_runs_are_searched_added_and_removed_and_the_url_names_them(watch, runs):
    watch.show("compare")
    page = watch.tab
    expect(page.get_by_text("Choose two to eight runs.")).to_be_visible()
    page.get_by_label("Add a run").fill("hot")
    expect(page.get_by_role("list", name="Runs to add").get_by_role("listitem")).to_have_count(1)
    page.get_by_role("button", name="Add hot run").click()
    expect(page).to_have_url(re.compile("runs=hot$"))
    page.get_by_label("Add a run").fill("cool")
    expect(page.get_by_role("button", name="Add cool run")).to_be_visible()
    page.get_by_label("Add a run").press("Enter")
    expect(page).to_have_url(re.compile("runs=hot%2Ccool$"))
    page.get_by_role("button", name="Remove hot run").click()
    expect(page).to_have_url(re.compile("runs=cool$"))
    expect(page.get_by_role("list", name="Compared runs")).to_have_text(re.compile("cool run"))


def test_what_became_of_each_run_is_one_table(watch, runs, summary, api):
    watch.show("compare?runs=hot,cool")
    alert = api.get("/v1/alerts", params={"run_id": "hot"}).json()["items"][0]
    expect(summary("hot run")).to_contain_text(alert["title"])
    expect(summary("hot run")).to_contain_text(str(alert["opened_step"]))
    expect(summary("cool run")).to_contain_text("none")
    expect(summary("cool run")).to_contain_text("0 of 1")


def test_only_differences_of_the_configuration_are_shown_until_all_are_asked_for(watch, runs):
    watch.show("compare?runs=hot,cool")
    rows = watch.tab.locator(".differences tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_have_text("lr10.1")
    expect(rows.last).to_have_text("warmup–[0.1,0.2]")
    watch.tab.get_by_role("button", name="Show what is equal, too").click()
    expect(watch.tab.locator(".differences")).to_contain_text("optimizer.momentum")
    expect(watch.tab).to_have_url(re.compile("config=all"))


def test_charts_share_one_axis_and_each_run_has_its_heat_map(watch, runs):
    watch.show("compare?runs=hot,cool")
    watch.tab.locator(".timeline canvas").first.wait_for()
    titles = watch.tab.locator(".timeline .lane-title").all_text_contents()
    assert titles == ["Lost units of the worst layer", "Loss", "Learning rate", "hot run", "cool run", "step"]
    colours = watch.tab.locator(".compare-legend line").evaluate_all(
        "(lines) => lines.map((line) => line.style.stroke)"
    )
    assert len(set(colours)) == 2


def test_a_zoom_is_in_the_url_and_survives_a_refresh(watch, runs):
    watch.show("compare?runs=hot,cool&from=100&to=200")
    watch.tab.locator(".timeline canvas").first.wait_for()
    expect(watch.tab.get_by_role("button", name="Show all steps")).to_be_visible()
    with watch.tab.expect_response(re.compile("/overview"), timeout=30_000):
        pass
    expect(watch.tab).to_have_url(re.compile("from=100&to=200"))
    watch.tab.get_by_role("button", name="Show all steps").click()
    expect(watch.tab).not_to_have_url(re.compile("from="))


def test_what_is_shown_is_saved_as_a_picture_and_as_a_table(watch, runs):
    watch.show("compare?runs=hot,cool")
    watch.tab.locator(".timeline canvas").first.wait_for()
    with watch.tab.expect_download() as saved:
        watch.tab.get_by_role("button", name="Charts as PNG").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    with watch.tab.expect_download() as saved:
        watch.tab.get_by_role("button", name="Values as CSV").click()
    rows = list(csv.DictReader(Path(saved.value.path()).read_text().splitlines()))
    assert {row["run_id"] for row in rows} == {"hot", "cool"}
    first = next(row for row in rows if row["run_id"] == "hot")
    assert (first["step"], first["loss"], first["learning_rate"]) == ("1", "1", "0.1")


def test_the_loss_is_smoothed_and_that_is_in_the_link(watch, runs):
    watch.show("compare?runs=hot,cool")
    watch.tab.get_by_label("Loss smoothing").select_option("strong")
    expect(watch.tab.locator(".timeline .lane-title").nth(1)).to_have_text("Loss (smoothed)")
    expect(watch.tab).to_have_url(re.compile("smoothing=strong"))
    watch.show("compare?runs=hot,cool&smoothing=light")
    expect(watch.tab.get_by_label("Loss smoothing")).to_have_value("light")


def test_a_run_that_is_gone_does_not_hide_the_others(lenient_watch, runs):
    lenient_watch.show("compare?runs=hot,deleted-long-ago")
    expect(lenient_watch.tab.locator(".compared tbody tr")).to_have_count(1)
    gone = lenient_watch.tab.get_by_role("list", name="Compared runs").get_by_role("listitem").last
    expect(gone.locator(".problem")).not_to_be_empty()


def test_a_run_keeps_its_colour_when_another_is_removed(watch, runs):
    watch.show("compare?runs=hot,cool")
    stroke = watch.tab.locator(".chosen li", has_text="cool run").locator("line")
    colour = stroke.evaluate("(line) => line.style.stroke")
    watch.tab.get_by_role("button", name="Remove hot run").click()
    expect(watch.tab.locator(".compared tbody tr")).to_have_count(1)
    assert stroke.evaluate("(line) => line.style.stroke") == colour


def test_hostile_names_break_no_line_of_the_page_on_a_phone(watch, runs):
    watch.tab.set_viewport_size({"width": 390, "height": 844})
    try:
        watch.show("compare?runs=hot,plain")
        watch.tab.locator(".timeline canvas").first.wait_for()
        expect(watch.tab.locator(".compared")).to_contain_text(runs["plain"])
        assert watch.tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert watch.tab.locator("main b").count() == 0
    finally:
        watch.tab.set_viewport_size({"width": 1280, "height": 720})
