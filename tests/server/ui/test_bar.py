"""The bar of every page: the theme, which is there before anything is drawn, and the switch between projects."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

DARK, LIGHT = "rgb(18, 22, 28)", "rgb(247, 248, 250)"
GROUND = "() => getComputedStyle(document.body).backgroundColor"
HEAT_MAP = 2
HEALTHY_PIXEL = """() => {
  const canvas = document.querySelectorAll(".timeline canvas")[%d];
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 40, Math.floor(canvas.height / 2), 1, 1, 0, 0, 1, 1);
  return copy.getImageData(0, 0, 1, 1).data[0];
}"""


@pytest.fixture
def projects(api):
    """A run in each of two projects."""
    for project in ("text", "vision"):
        body = {"run": {"id": project, "name": f"{project} run", "project": project}, "session": "s1", "seq": 1}
        assert api.post("/v1/uploads", json=body).status_code == 202


def test_the_chosen_theme_is_there_before_any_module_has_run(own_tab):
    own_tab.goto("/#/runs")
    own_tab.get_by_label("Theme").select_option("dark")
    assert own_tab.evaluate(GROUND) == DARK
    held = []
    own_tab.route("**/*.js", lambda route: route.continue_() if "theme" in route.request.url else held.append(route))
    own_tab.reload(wait_until="commit")
    own_tab.wait_for_function("() => document.body?.querySelector('noscript')")
    assert own_tab.evaluate(GROUND) == DARK
    assert own_tab.locator("meta[name=color-scheme]").get_attribute("content") == "dark"
    for route in held:
        route.continue_()
    own_tab.unroute("**/*.js")
    expect(own_tab.get_by_label("Theme")).to_have_value("dark")


def test_the_system_s_theme_is_followed_until_another_is_chosen(own_tab):
    own_tab.goto("/#/runs")
    for scheme, ground in (("dark", DARK), ("light", LIGHT)):
        own_tab.emulate_media(color_scheme=scheme)
        own_tab.wait_for_function(f"() => ({GROUND})() === '{ground}'")
    own_tab.get_by_label("Theme").select_option("light")
    own_tab.emulate_media(color_scheme="dark")
    assert own_tab.evaluate(GROUND) == LIGHT
    own_tab.get_by_label("Theme").select_option("system")
    assert own_tab.evaluate(GROUND) == DARK


def test_another_tab_follows_the_choice(own_tab, server):
    own_tab.goto("/#/runs")
    other = own_tab.context.new_page()
    other.goto("/#/alerts")
    other.get_by_label("Theme").select_option("dark")
    own_tab.wait_for_function(f"() => ({GROUND})() === '{DARK}'")
    assert own_tab.get_by_label("Theme").input_value() == "dark"


def test_charts_have_the_colours_of_the_chosen_theme(own_tab, dying):
    own_tab.goto("/#/runs/run1")
    own_tab.locator(".timeline canvas").first.wait_for()
    pixel = HEALTHY_PIXEL % HEAT_MAP
    own_tab.wait_for_function(f"() => ({pixel})() > 180")
    own_tab.get_by_label("Theme").select_option("dark")
    own_tab.wait_for_function(f"() => ({pixel})() < 90")


def test_a_browser_that_keeps_no_data_shows_the_chosen_theme_until_the_page_is_left(own_tab):
    own_tab.add_init_script(
        "delete Storage.prototype.getItem; Storage.prototype.setItem = () => { throw new Error(); }"
    )
    own_tab.add_init_script("Storage.prototype.getItem = () => { throw new Error(); }")
    own_tab.goto("/#/settings")
    own_tab.get_by_label("Theme").select_option("dark")
    assert own_tab.evaluate(GROUND) == DARK


def test_the_bar_switches_between_projects_and_keeps_the_project_on_the_way(own_tab, dying, projects):
    own_tab.goto("/#/runs?sort=name")
    switch = own_tab.get_by_label("Project shown")
    expect(switch.locator("option")).to_have_text(["All projects", "digits", "text", "vision"])
    switch.select_option("vision")
    own_tab.wait_for_url("**/#/runs?sort=name&project=vision")
    expect(own_tab.locator("tbody tr")).to_have_count(1)
    expect(own_tab.get_by_role("link", name="vision run")).to_be_visible()
    expect(switch).to_be_focused()
    own_tab.get_by_role("link", name="Alerts").click()
    own_tab.wait_for_url("**/#/alerts?project=vision")
    expect(own_tab.locator("main .notice")).to_contain_text("No incident matches these filters.")
    own_tab.get_by_role("link", name="Compare", exact=True).click()
    own_tab.wait_for_url("**/#/compare?project=vision")
    expect(own_tab.locator(".found li")).to_have_count(1)
    own_tab.get_by_role("link", name="Settings").click()
    own_tab.wait_for_url("**/#/settings**")
    own_tab.get_by_role("link", name="Runs", exact=True).click()
    own_tab.wait_for_url("**/#/runs?project=vision")
    switch.select_option("")
    own_tab.wait_for_url("**/#/runs")
    expect(own_tab.locator("tbody tr")).to_have_count(3)


def test_a_project_that_is_typed_or_in_a_link_is_the_one_in_the_bar(own_tab, dying, projects):
    own_tab.goto("/#/alerts?project=gone")
    switch = own_tab.get_by_label("Project shown")
    expect(switch).to_have_value("gone")
    own_tab.goto("/#/runs")
    own_tab.locator("main").get_by_label("Project", exact=True).fill("text")
    expect(switch).to_have_value("text")
    own_tab.get_by_role("link", name="text run").click()
    own_tab.get_by_role("heading", name="text run").wait_for()
    switch.select_option("digits")
    own_tab.wait_for_url("**/#/runs?project=digits")
