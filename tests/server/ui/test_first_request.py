"""A page's data is asked for before the modules of the page are there."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

PAGES = {
    "runs/run1": ("**/pages/run.js", re.compile(r"/v1/runs/run1/overview$"), ".timeline canvas"),
    "runs/run1/layers/1": ("**/pages/layer.js", re.compile(r"/v1/runs/run1/layers$"), ".timeline canvas"),
    "runs?project=digits": ("**/pages/runs.js", re.compile(r"/v1/runs\?project=digits&limit=100$"), "tbody tr"),
}


@pytest.mark.parametrize("view", PAGES)
def test_the_data_of_a_page_is_asked_for_while_its_modules_are_on_their_way(own_tab, dying, view):
    module, address, content = PAGES[view]
    held = []
    own_tab.route(module, lambda route: held.append(route))  # noqa: PLW0108 - playwright cannot take a built-in
    asked = []
    own_tab.on("request", lambda request: asked.append(request.url) if address.search(request.url) else None)
    with own_tab.expect_request(address):
        own_tab.goto(f"/#/{view}", wait_until="commit")
    while not held:
        own_tab.wait_for_timeout(10)
    for route in held:
        route.continue_()
    own_tab.unroute(module)
    own_tab.locator(content).first.wait_for()
    assert len(asked) == 1  # the page takes the response that was asked for early


def test_a_run_that_does_not_exist_is_said_by_the_early_response_too(own_tab, server):
    own_tab.goto("/#/runs/nothing")
    expect(own_tab.get_by_role("heading", name="Not found")).to_be_visible()
