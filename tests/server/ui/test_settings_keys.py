"""Settings → Keys, and what each key is offered on the pages of settings."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from tests.helpers.live_server import listening
from tests.server.ui.watched_tab import WatchedTab


@pytest.fixture
def server(tmp_path):
    """A server of its own for each test: its first key changes what every later request needs."""
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        yield url


@pytest.fixture
def page(browser, server):
    """A tab with cookies of its own."""
    watched = WatchedTab(browser.new_page(base_url=server))
    yield watched.tab
    watched.tab.close()
    assert watched.take_records() == ([], [], [])


@pytest.fixture
def keys(server):
    """A function that creates a key, with the admin key that the server has from then on."""
    with httpx.Client(base_url=server) as client:
        admin = client.post("/v1/keys", json={"scope": "admin", "name": "Ada"}).json()
        client.headers["authorization"] = f"Bearer {admin['key']}"

        def create(**fields):
            return client.post("/v1/keys", json=fields).json() if fields else admin

        yield create


def log_in(page, key):
    assert page.request.post("/v1/session", data={"key": key["key"]}).ok
    page.goto("about:blank")


def test_the_first_key_of_a_server_is_an_admin_key_and_logs_the_page_in(page, server):
    page.goto("/#/settings/keys")
    page.get_by_text("This server requires no key").wait_for()
    page.get_by_role("button", name="Create a key").click()
    expect(page.get_by_role("radio", name="read", exact=False).first).to_be_disabled()
    page.get_by_role("button", name="Create the key").click()
    key = page.get_by_label("Key", exact=True).input_value()
    assert key.startswith("rlm_admin_")
    page.get_by_text("You are logged in with").wait_for()
    page.get_by_role("button", name="Log out").wait_for()
    assert httpx.get(f"{server}/v1/keys").status_code == 401
    assert httpx.get(f"{server}/v1/keys", headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_a_key_is_created_for_a_project_with_an_end_and_revoked_after_a_question(page, keys):
    log_in(page, keys())
    page.goto("/#/settings/keys")
    page.get_by_role("button", name="Create a key").click()
    page.get_by_label("Name (optional)").fill("<i>cluster</i>")
    page.get_by_role("combobox", name="Project", exact=True).fill("digits")
    page.get_by_label("Expires").select_option("30")
    page.get_by_role("radio", name="ingest").check()
    page.get_by_role("button", name="Create the key").click()
    assert page.get_by_label("Key", exact=True).input_value().startswith("rlm_ingest_")
    row = page.locator("tbody tr", has_text="<i>cluster</i>")
    expect(row).to_contain_text("digits")
    row.get_by_role("button", name="Revoke").click()
    assert page.get_by_role("button", name="Cancel").evaluate("node => node === document.activeElement")
    row.get_by_role("button", name="Revoke it").click()
    expect(row).to_have_count(0)
    page.get_by_label("Show revoked and expired keys (1)").check()
    expect(row).to_contain_text("revoked")
    assert page.evaluate("location.hash").endswith("?all=1")


def test_a_read_key_is_offered_what_it_may_use_and_told_what_takes_an_admin_key(page, keys):
    log_in(page, keys(scope="read", project="digits"))
    page.goto("/#/settings")
    navigation = page.get_by_role("navigation", name="Settings")
    expect(navigation.get_by_role("link")).to_have_text(["Keys", "Projects", "Server"])
    page.get_by_text("webhooks take an admin key").wait_for()
    page.get_by_text("a key of scope read, in the project digits").wait_for()
    page.get_by_text("takes an admin key.").last.wait_for()
    assert page.get_by_role("button", name="Create a key").count() == 0
    page.goto("/#/settings/webhooks")
    page.get_by_text("You are logged in with a key of scope read.").wait_for()


def test_without_a_key_the_settings_ask_for_one(page, keys):
    key = keys()["key"]
    page.goto("/#/settings/keys")
    page.get_by_role("heading", name="Log in").wait_for()
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    page.get_by_text("You are logged in with").wait_for()
