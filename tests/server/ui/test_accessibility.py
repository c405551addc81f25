"""No page breaks a rule of axe-core: on a phone, on a desk and on a wide screen, in light and in dark colours."""

from __future__ import annotations

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


@pytest.fixture
def view(page, dying, alerts_of):
    """A function that shows a view in a window of some width and colours."""
    alerts_of("run2")

    def show(address, width, scheme):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.goto("about:blank")
        page.goto(f"/#/{address}")
        page.locator(VIEWS.get(address, "h1")).first.wait_for()
        page.wait_for_load_state("networkidle")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        return page

    yield show
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400, 2560])
def test_no_page_breaks_a_rule(view, dying, width, scheme):
    assert AXE.is_file(), "axe-core is not installed: make axe"
    problems = {}
    for address in [*VIEWS, f"alerts/{dying[0]['id']}"]:
        violations = view(address, width, scheme).evaluate(RUN)
        if violations:
            problems[address] = violations
    assert problems == {}


def test_the_help_drawer_breaks_no_rule_and_is_closed_by_its_button(view, page):
    view("runs", 1400, "light")
    page.keyboard.press("?")
    page.get_by_role("heading", name="Words").wait_for()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate(RUN) == []
    page.get_by_role("button", name="Close").click()
    assert page.locator("#help").is_hidden()
