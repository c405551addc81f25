"""A webhook over HTTP: its name, and the format that the server chooses by the URL where none is given."""

from __future__ import annotations

import pytest

BY_URL = {
    "https://hooks.slack.com/services/T0/B0/x": "slack",
    "https://HOOKS.Slack.com:443/services/T0/B0/x": "slack",
    "https://hooks.slack.com./services/T0/B0/x": "slack",
    "https://hooks.slack.com/workflows/T0/A0/1/x": "slack",
    "https://hooks.slack-gov.com/services/T0/B0/x": "slack",
    "https://discord.com/api/webhooks/1/x": "discord",
    "https://discordapp.com/api/webhooks/1/x?wait=true": "discord",
    "https://canary.discord.com/api/v10/webhooks/1/x/": "discord",
    "https://discord.com/api/webhooks/1/x/slack": "slack",
    "https://alertmanager.example/api/v2/alerts": "alertmanager",
    "https://example.org/prefix/api/v2/alerts/": "alertmanager",
    "https://example.org/hook": "standard",
    "https://example.org/api/v2/alerts/relay": "standard",
    "https://example.org/?to=https://hooks.slack.com/services/x": "standard",
    "https://hooks.slack.com.example.org/services/x": "standard",
    "https://myhooks.slack.com.evil.example/x": "standard",
    "https://notdiscord.com/api/webhooks/1/x": "standard",
    "https://discord.com/channels/1": "standard",
    "https://example.org/api/webhooks/1/x": "standard",
}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("url", "chosen"), BY_URL.items())
def test_without_a_format_the_url_decides_and_the_answer_says_which(url, chosen, api):
    for fields in ({}, {"format": None}):
        created = api("POST", "/webhooks", 201, url=url, **fields)
        assert created["format"] == chosen
        assert api("GET", f"/webhooks/{created['webhook_id']}")["format"] == chosen


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_format_that_is_given_is_used_whatever_the_url(api):
    for url in BY_URL:
        assert api("POST", "/webhooks", 201, url=url, format="standard")["format"] == "standard"


def test_a_new_url_keeps_the_format(api):
    path = f"/webhooks/{api('POST', '/webhooks', 201, url='https://example.org/hook')['webhook_id']}"
    assert api("PATCH", path, url="https://hooks.slack.com/services/x")["format"] == "standard"
    assert api("PATCH", path, format="slack")["format"] == "slack"
    assert api("PATCH", path, 422, format=None)["code"] == "invalid_request"


def test_a_webhook_has_a_name_that_can_be_changed_and_removed(api):
    url = "https://example.org/hook"
    assert api("POST", "/webhooks", 201, url=url)["name"] is None
    created = api("POST", "/webhooks", 201, url=url, name="on call 📟")
    path = f"/webhooks/{created['webhook_id']}"
    assert created["name"] == api("GET", path)["name"] == "on call 📟"
    assert {item["name"] for item in api("GET", "/webhooks")["items"]} == {None, "on call 📟"}
    assert api("PATCH", path, name="night")["name"] == "night"
    assert api("PATCH", path, enabled=False)["name"] == "night"
    assert api("PATCH", path, name=None)["name"] is None
    for invalid in ("", "x" * 201, "a\0b", 7):
        assert api("PATCH", path, 422, name=invalid)["code"] == "invalid_request"
        assert api("POST", "/webhooks", 422, url=url, name=invalid)["code"] == "invalid_request"
