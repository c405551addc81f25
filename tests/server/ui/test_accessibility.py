"""No page breaks a rule of axe-core: on a phone, on a desk and on a wide screen, in light and in dark colours."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const lines = ({ id, nodes }) => nodes.map((node) => [id, node.target.join(" "), node.failureSummary]);
  return violations.flatMap(lines);
}"""
VIEWS = {
    "runs": "tbody tr",
    "runs?by=project": "tr.group",
    "runs/run1": ".timeline canvas",
    "runs/run1?tab=alerts": ".timeline canvas",
    "runs/run1?tab=config": ".timeline canvas",
    "runs/run1?tab=coverage": ".timeline canvas",
    "runs/run1/layers/1": "tbody tr",
    "alerts": "tbody tr",
    "alerts?tab=silences": "h1",
    "compare?runs=run1,run2": ".timeline canvas",
    "settings/webhooks": "h1",
    "settings/keys": "h1",
    "settings/projects": "h1",
}


ONE_ALERT = "an alert"
WIDTHS = (390, 1400, 2560)
SCHEMES = ("light", "dark")


@pytest.fixture
def show(page, api, alerts_of):
    """A function that shows a view, with axe-core in its page."""
    assert AXE.is_file(), "axe-core is not installed: make axe"
    alerts_of("run2")
    body = {"run": {"id": "other", "project": "another"}, "session": "s1", "seq": 1}  # the bar has a switch then
    assert api.post("/v1/uploads", json=body).status_code == 202

    def show_view(address):
        page.goto("about:blank")
        page.goto(f"/#/{address}")
        page.locator(VIEWS.get(address, "h1")).first.wait_for()
        page.wait_for_load_state("networkidle")
        page.evaluate(AXE.read_text(encoding="utf-8"))

    yield show_view
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.parametrize("address", [*VIEWS, ONE_ALERT])
def test_no_page_breaks_a_rule(show, page, dying, address):
    show(f"alerts/{dying[0]['id']}" if address == ONE_ALERT else address)
    problems = {}
    for width, scheme in itertools.product(WIDTHS, SCHEMES):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"() => document.documentElement.dataset.theme === '{scheme}'")
        violations = page.evaluate(RUN)
        if violations:
            problems[width, scheme] = violations
    assert problems == {}


def test_the_help_drawer_breaks_no_rule_and_is_closed_by_its_button_or_escape(show, page):
    show("runs")
    page.keyboard.press("?")
    page.get_by_role("heading", name="Words").wait_for()
    assert page.evaluate(RUN) == []
    page.get_by_role("button", name="Close").click()
    assert page.locator("#help").is_hidden()
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    assert page.evaluate("document.activeElement.id") == "help-button"
