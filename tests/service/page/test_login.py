"""The way into the page where keys are asked for, in a real browser."""

from __future__ import annotations

import httpx
import pytest
from live_server import listening


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A server with an admin and a read key: its address, and a function that makes keys."""
    with listening(f"sqlite:///{tmp_path_factory.mktemp('login') / 'x.db'}") as url:
        admin = httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]

        def make(scope):
            headers = {"authorization": f"Bearer {admin}"}
            return httpx.post(f"{url}/v1/keys", json={"scope": scope}, headers=headers).json()["key"]

        yield url, make


@pytest.fixture
def tab(browser, closed):
    """A page of the closed server; answers 401 are no complaint, they are how it learns that a key is needed."""
    tab = browser.new_page(base_url=closed[0])
    tab.set_default_timeout(15_000)
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    tab.close()
    assert [said for said in complaints if "the server responded with a status of 40" not in said] == []


def test_a_person_logs_in_with_a_key_looks_around_and_leaves(tab, closed):
    _, make = closed
    tab.goto("/#/alerts")
    tab.get_by_role("heading", name="Log in").wait_for()
    tab.get_by_label("Key").fill("rlm_read_nonsense")
    tab.keyboard.press("Enter")
    tab.get_by_text("This server knows no such key.").wait_for()
    tab.get_by_label("Key").fill(make("ingest"))
    tab.keyboard.press("Enter")
    tab.get_by_text("The page needs a read or an admin key.").wait_for()
    tab.get_by_label("Key").fill(make("read"))
    tab.keyboard.press("Enter")
    tab.get_by_text("No alert is open.").wait_for()
    tab.get_by_text("read key").wait_for()
    assert tab.evaluate("document.cookie") == ""
    [kept] = tab.context.cookies()
    assert (kept["name"], kept["httpOnly"], kept["sameSite"]) == ("relumine", True, "Strict")
    tab.reload()
    tab.get_by_text("No alert is open.").wait_for()
    tab.get_by_role("button", name="Log out").click()
    tab.get_by_role("heading", name="Log in").wait_for()
    assert tab.context.cookies() == []
    assert tab.get_by_role("button", name="Log out").count() == 0
