"""What a reader does with the list of runs: group it, rename a run, save views; by keyboard and on a phone, too."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

SWEEPS = {"a1": ("vision", "sweep"), "a2": ("vision", "sweep"), "a3": ("vision", None), "b1": ("text", "sweep")}


@pytest.fixture(scope="module")
def sweeps(api):
    """Four runs in two projects; a1 lost its only layer."""
    for number, (run_id, (project, group)) in enumerate(SWEEPS.items()):
        active = [0] * 4 if run_id == "a1" else [30] * 4
        records = [
            {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": active}
            for step in range(1, 12 + number)
        ]
        run = {"id": run_id, "name": f"run {run_id}", "project": project, "group": group}
        layers = [{"layer_id": 1, "name": "fc", "units": 4}]
        body = {"run": run, "session": "s1", "seq": 1, "layers": layers, "records": records}
        assert api.post("/v1/uploads", json=body).status_code == 202
    return list(SWEEPS)


def open_list(page, query=""):
    page.goto("about:blank")
    page.goto(f"/#/runs{query}")
    page.locator("tbody tr:visible, main .notice:visible").first.wait_for()


def groups(page):
    return page.locator("tr.group th .fold")


def runs(page):
    return page.locator("tbody tr:not(.group)")


def test_runs_are_grouped_by_project_with_the_health_of_each(page, sweeps):
    open_list(page)
    page.get_by_label("Group by").select_option("project")
    expect(groups(page)).to_have_text([re.compile("text"), re.compile("vision")])
    head = page.locator("tr.group", has_text="vision")
    expect(head).to_contain_text("3 runs")
    expect(head).to_contain_text("damaged 1")
    expect(head).to_contain_text("healthy 2")
    assert page.url.endswith("#/runs?by=project")


def test_groups_of_the_same_name_in_two_projects_are_two(page, sweeps):
    open_list(page, "?by=group")
    expect(groups(page)).to_have_count(3)
    expect(page.locator("tr.group", has_text="vision / no group")).to_contain_text("1 run")


def test_a_folded_group_stays_folded_over_refresh_reload_and_the_back_button(page, sweeps):
    open_list(page, "?by=group")
    expect(runs(page)).to_have_count(4)
    fold = page.get_by_role("button", name="vision / sweep")
    fold.focus()
    page.keyboard.press("Enter")
    expect(runs(page)).to_have_count(2)
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(fold).to_be_focused()
    with page.expect_response(re.compile("/v1/runs[?]")):
        pass  # the page refreshes by itself
    expect(runs(page)).to_have_count(2)
    page.reload()
    expect(runs(page)).to_have_count(2)
    page.get_by_role("link", name="run b1").click()
    page.get_by_role("heading", name="run b1").wait_for()
    page.go_back()
    expect(runs(page)).to_have_count(2)


def test_what_an_address_should_not_have_is_ignored(page, sweeps):
    open_list(page, "?by=constructor&folded=%25,%E0%A4%A")
    expect(runs(page)).to_have_count(4)
    expect(groups(page)).to_have_count(0)


def test_all_runs_of_a_group_are_selected_at_once(page, sweeps):
    open_list(page, "?by=project")
    page.get_by_label("Select all runs of vision").check()
    expect(page.get_by_role("region", name="Selected runs")).to_contain_text("3 runs selected")
    page.get_by_label("Select run a2").uncheck()
    expect(page.get_by_role("region", name="Selected runs")).to_contain_text("2 runs selected")
    assert page.get_by_label("Select all runs of vision").evaluate("box => box.indeterminate")


def test_a_run_is_renamed_from_the_list_and_keeps_its_name_while_it_trains(page, sweeps, api):
    open_list(page)
    page.get_by_label("Select run a3").check()
    name = page.get_by_label("Name of the run")
    assert name.input_value() == "run a3"
    name.fill("the <b>best</b> one \U0001f600")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="the <b>best</b> one \U0001f600")).to_be_visible()
    body = {"run": {"id": "a3", "name": "run a3", "project": "vision"}, "session": "s1", "seq": 2}
    assert api.post("/v1/uploads", json=body).status_code == 202
    assert api.get("/v1/runs/a3").json()["name"] == "the <b>best</b> one \U0001f600"
    assert api.patch("/v1/runs/a3", json={"name": "run a3"}).status_code == 200


def test_a_name_of_spaces_or_for_two_runs_is_not_given(page, sweeps, api):
    open_list(page)
    page.get_by_label("Select run a1").check()
    page.get_by_label("Name of the run").fill("   ")
    page.get_by_role("button", name="Rename").click()
    assert api.get("/v1/runs/a1").json()["name"] == "run a1"
    page.get_by_label("Select run a2").check()
    expect(page.get_by_role("button", name="Rename")).to_have_count(0)


def test_a_row_whose_checkbox_has_the_focus_is_still_refreshed(page, sweeps, api):
    open_list(page)
    box = page.get_by_label("Select run b1")
    box.check()
    expect(box).to_be_focused()
    assert api.patch("/v1/runs/b1", json={"tags": ["seen"], "name": "run b1 again"}).status_code == 200
    expect(page.get_by_role("link", name="run b1 again")).to_be_visible()
    expect(page.get_by_label("Select run b1 again")).to_be_focused()
    expect(page.get_by_label("Select run b1 again")).to_be_checked()
    assert api.patch("/v1/runs/b1", json={"name": "run b1"}).status_code == 200


def menu(page):
    return page.locator("details.views")


def save(page, name):
    menu(page).locator("summary").click()
    menu(page).get_by_label("Name of the view").fill(name)
    menu(page).get_by_role("button", name="Save this view").click()


def test_a_view_is_saved_shown_again_after_a_reload_and_deleted(page, sweeps):
    open_list(page, "?project=vision&by=group")
    menu(page).locator("summary").click()
    expect(menu(page)).to_contain_text("None yet")
    menu(page).get_by_label("Name of the view").fill("<i>vision</i>")
    page.keyboard.press("Enter")
    expect(menu(page).locator("summary")).to_have_text("Saved views (1)")
    open_list(page)
    expect(runs(page)).to_have_count(4)
    menu(page).locator("summary").click()
    menu(page).get_by_role("link", name="<i>vision</i>").click()
    expect(runs(page)).to_have_count(3)
    assert page.url.endswith("#/runs?project=vision&by=group")
    assert page.get_by_label("Project", exact=True).input_value() == "vision"
    menu(page).locator("summary").click()
    expect(menu(page).get_by_role("link", name="<i>vision</i>")).to_have_attribute("aria-current", "true")
    menu(page).get_by_role("button", name="Delete the view").click()
    expect(menu(page)).to_contain_text("None yet")
    page.keyboard.press("Escape")
    assert menu(page).evaluate("node => node.open") is False


def test_a_second_view_of_a_name_replaces_the_first(page, sweeps):
    open_list(page, "?project=vision")
    save(page, "mine")
    open_list(page, "?project=text")
    save(page, "mine")
    expect(menu(page).get_by_role("link", name="mine")).to_have_attribute("href", "#/runs?project=text")


@pytest.mark.parametrize("stored", ["nonsense", "{}", '[null, 1, {"name": 3}]', json.dumps([{"name": "x"}])])
def test_what_is_no_view_in_the_store_is_left_out(page, sweeps, stored):
    open_list(page)
    page.evaluate("text => localStorage.setItem('relumine.views /v1/', text)", stored)
    page.reload()
    runs(page).first.wait_for()
    expect(menu(page).locator("summary")).to_have_text("Saved views")


@pytest.fixture
def phone(page):
    """A page as wide as a phone."""
    page.set_viewport_size({"width": 390, "height": 800})
    yield page
    page.set_viewport_size({"width": 1280, "height": 720})


def test_on_a_phone_runs_are_grouped_selected_and_saved_without_sideways_scrolling(phone, sweeps):
    open_list(phone, "?by=group")
    phone.get_by_label("Select run a1").check()
    expect(phone.get_by_label("Name of the run")).to_be_visible()
    menu(phone).locator("summary").click()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_columns_are_sorted_by_the_server(page, sweeps):
    open_list(page)
    page.get_by_role("button", name="Layers lost").click()
    expect(runs(page).locator("td.run").first).to_have_text("run a1")
    page.get_by_role("button", name="Project").click()
    page.wait_for_url(re.compile("sort=project"))
    expect(runs(page).locator("td.run").first).to_have_text("run b1")
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Project")
    for title, field in (("Worst layer", "lost_fraction"), ("Open alerts", "open_alerts")):
        page.locator("thead").get_by_role("button", name=title).click()
        page.wait_for_url(re.compile(f"sort=-{field}"))
        expect(runs(page).locator("td.run").first).to_have_text("run a1")
        expect(page.locator("th[aria-sort=descending]")).to_contain_text(title)
    expect(runs(page).first.locator("td.worst")).to_contain_text("100%")
    page.locator("thead").get_by_role("button", name="Duration").click()
    page.wait_for_url(re.compile("sort=-duration_s"))
    page.reload()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Duration")
