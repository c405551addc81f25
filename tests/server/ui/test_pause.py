"""A reader can stop the live updates of a page, and start them again, by mouse and by keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.server.ui.conftest import UNITS

VIEWS = {
    "runs/run1": (re.compile(r"/v1/runs/run1/overview"), ".run-head", "1,000"),
    "runs/run1/layers/1": (re.compile(r"/v1/runs/run1/layers$"), ".facts", "63%"),
    "runs?q=run1": (re.compile(r"/v1/runs\?q=run1"), "tbody tr", "3,000"),
}


@pytest.fixture
def grow(api):
    """A function that uploads one more step of the run."""

    def upload(step, active):
        record = {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": [active] * UNITS}
        run = {"id": "run1", "project": "digits"}
        body = {"run": run, "session": "s1", "seq": step, "records": [record]}
        assert api.post("/v1/uploads", json=body).status_code == 202

    return upload


@pytest.mark.parametrize(("number", "view"), list(enumerate(VIEWS)))
def test_a_paused_page_asks_for_nothing_says_so_and_goes_on_when_it_is_told_to(timed_tab, dying, grow, number, view):
    address, content, news = VIEWS[view]
    timed_tab.goto(f"/#/{view}")
    timed_tab.locator(content).first.wait_for()
    timed_tab.wait_for_load_state("networkidle")
    timed_tab.get_by_role("button", name="Pause").focus()
    timed_tab.keyboard.press("Enter")
    expect(timed_tab.locator("#paused")).to_have_text(re.compile(r"^paused, as of \d\d:\d\d:\d\d$"))
    assert timed_tab.locator("#updated:visible").count() == 0
    asked = []
    timed_tab.on("request", lambda request: asked.append(request.url) if address.search(request.url) else None)
    grow(1000 * (1 + number), active=20 * (1 + number))
    timed_tab.clock.run_for(60_000)
    assert asked == []
    assert timed_tab.get_by_text(news).count() == 0
    expect(timed_tab.get_by_role("button", name="Resume")).to_be_focused()
    timed_tab.keyboard.press("Enter")
    expect(timed_tab.get_by_text(news).first).to_be_visible()
    expect(timed_tab.locator("#paused")).to_have_text("")
    assert asked


def test_what_a_reader_does_on_a_paused_page_shows(timed_tab, alerts_of):
    alerts_of("acted", "acted on")
    timed_tab.goto("/#/runs/acted")
    timed_tab.locator(".timeline canvas").first.wait_for()
    timed_tab.get_by_role("button", name="Pause").click()
    card = timed_tab.locator("#incident")
    card.locator("summary", has_text="Acknowledge").click()
    card.get_by_label("Your name").fill("Ada")
    card.get_by_role("button", name="Acknowledge").click()
    expect(card).to_contain_text("cknowledged by Ada")
    expect(timed_tab.locator("#paused")).to_contain_text("paused")
