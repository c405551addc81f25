"""Settings → Server: whether it can work, its version, its database, and figures of its work."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from tests.helpers.live_server import listening


def test_the_server_page_has_its_version_database_and_figures(page, api, dying):
    page.goto("/#/settings/server")
    page.get_by_text("The server accepts uploads.").wait_for()
    expect(page.get_by_role("region", name="Server")).to_contain_text(api.get("/v1/server").json()["version"])
    expect(page.get_by_role("region", name="Database")).to_contain_text("SQLite")
    expect(page.get_by_role("region", name="In the last hour")).to_contain_text("80")  # records of the dying run


@pytest.fixture
def key_of_one_project(tmp_path):
    """The URL of a server, and an admin key that is bound to a project."""
    with listening(f"sqlite:///{tmp_path / 'x.db'}") as url:
        admin = httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]
        headers = {"authorization": f"Bearer {admin}"}
        body = {"scope": "admin", "project": "digits"}
        yield url, httpx.post(f"{url}/v1/keys", json=body, headers=headers).json()["key"]


def test_a_key_of_one_project_is_told_which_key_the_figures_take(browser, key_of_one_project):
    url, key = key_of_one_project
    page = browser.new_page(base_url=url)
    assert page.request.post("/v1/session", data={"key": key}).ok
    page.goto("/#/settings/server")
    page.get_by_text("takes an admin key of all projects").wait_for()
    page.get_by_text("The server accepts uploads.").wait_for()
    assert page.get_by_role("region", name="Database").count() == 0
    page.close()
