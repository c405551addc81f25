"""The login to the dashboard of a server that requires keys, in a real browser."""

from __future__ import annotations

import httpx
import pytest

from tests.helpers.live_server import listening


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A server that requires keys: its URL, and a function that creates keys."""
    with listening(f"sqlite:///{tmp_path_factory.mktemp('login') / 'x.db'}") as url:
        admin = httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]

        def create_key(scope):
            headers = {"authorization": f"Bearer {admin}"}
            return httpx.post(f"{url}/v1/keys", json={"scope": scope}, headers=headers).json()["key"]

        yield url, create_key


@pytest.fixture
def tab(browser, closed):
    """A page of the closed server. Its 401 responses are expected: by them the page learns that a key is required."""
    tab = browser.new_page(base_url=closed[0])
    tab.set_default_timeout(60_000)
    errors = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    tab.close()
    assert [error for error in errors if "the server responded with a status of 40" not in error] == []


def test_a_person_logs_in_with_a_key_and_logs_out(tab, closed):
    _, create_key = closed
    tab.goto("/#/alerts")
    tab.get_by_role("heading", name="Log in").wait_for()
    tab.get_by_label("Key").fill("rlm_read_nonsense")
    tab.keyboard.press("Enter")
    tab.get_by_text("This key does not exist on this server.").wait_for()
    tab.get_by_label("Key").fill(create_key("ingest"))
    tab.keyboard.press("Enter")
    tab.get_by_text("The dashboard needs a read, a write or an admin key.").wait_for()
    tab.get_by_label("Key").fill(create_key("read"))
    tab.keyboard.press("Enter")
    tab.get_by_text("No incident is open.").wait_for()
    tab.get_by_text("read key").wait_for()
    assert tab.evaluate("document.cookie") == ""
    [cookie] = tab.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("relumine", True, "Strict")
    tab.reload()
    tab.get_by_text("No incident is open.").wait_for()
    tab.get_by_role("button", name="Log out").click()
    tab.get_by_role("heading", name="Log in").wait_for()
    assert tab.context.cookies() == []
    assert tab.get_by_role("button", name="Log out").count() == 0
