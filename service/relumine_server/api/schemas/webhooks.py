"""Request bodies for webhooks, and the validation of their addresses and filters."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from fastapi import Path
from pydantic import Field

from relumine.schemas.alert import Severity
from relumine.schemas.webhook import EVENTS, WebhookFormat
from relumine_server.api.schemas.common import RequestBody, ShortName
from relumine_server.errors import InvalidWebhook, ProjectForbidden
from relumine_server.net.ssrf import url_problem
from relumine_server.outbox.endpoints import is_pattern
from relumine_server.settings import Settings

MAX_PROJECT_CHARS = 200
MAX_OVERLAP_S = 30 * 86_400

SLACK_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
DISCORD_HOSTS = frozenset(
    f"{client}{domain}" for client in ("", "ptb.", "canary.") for domain in ("discord.com", "discordapp.com")
)
DISCORD_PATH = re.compile(r"/api(/v\d+)?/webhooks/")
ALERTMANAGER_PATH = "/api/v2/alerts"

WebhookId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
GroupWait: TypeAlias = Annotated[float, Field(ge=0, le=3600)]


class NewWebhook(RequestBody):
    """A webhook to create. Its filters may match nothing today. Without ``format`` its URL decides."""

    url: str
    name: ShortName | None = None
    events: list[str] = Field(default=["alert.firing", "alert.resolved"])
    min_severity: Severity = "warning"
    project: str | None = None
    format: WebhookFormat | None = None
    group_wait_s: GroupWait | None = None


class WebhookChange(RequestBody):
    """Changes to a webhook. Omitted fields stay as they are; a null project means every project."""

    url: str = ""
    name: ShortName | None = None
    events: list[str] = Field(default=[])
    min_severity: Severity = "warning"
    project: str | None = None
    format: WebhookFormat = "standard"
    group_wait_s: GroupWait = 0.0
    enabled: bool = True


class SecretRotation(RequestBody):
    """The seconds for which the previous secrets sign beside the new one; a day by default."""

    overlap_s: Annotated[float, Field(ge=0, le=MAX_OVERLAP_S)] = 86_400.0


def validated_columns(body: NewWebhook | WebhookChange, settings: Settings, key_project: str | None) -> dict[str, Any]:
    """Return the columns that a body sets. A new webhook sets all, except a ``group_wait_s`` left to the settings.

    ``key_project`` is the project that the caller's key is bound to, if any. Raises InvalidWebhook and
    ProjectForbidden.
    """
    values = body.model_dump(exclude_unset=isinstance(body, WebhookChange))
    problems = []
    if "url" in values:
        problems.append(url_problem(values["url"], settings.webhook_targets))
    if "events" in values:
        problems.append(_events_problem(values["events"]))
    problems.append(_project_problem(values.get("project")))
    for problem in problems:
        if problem is not None:
            raise InvalidWebhook(problem)
    if values.get("group_wait_s", 0.0) is None:
        del values["group_wait_s"]
    if values.get("format", "") is None:
        values["format"] = format_of(values["url"])
    return _within_project(values, key_project)


def format_of(url: str) -> WebhookFormat:
    """Return the format that the receiver at a valid URL expects, as far as the URL shows it.

    Discord has addresses that accept messages for Slack: they end in ``/slack``.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    path = parts.path.rstrip("/")
    if host in SLACK_HOSTS:
        return "slack"
    if host in DISCORD_HOSTS and DISCORD_PATH.match(path):
        return "slack" if path.endswith("/slack") else "discord"
    return "alertmanager" if path.endswith(ALERTMANAGER_PATH) else "standard"


def _within_project(values: dict[str, Any], key_project: str | None) -> dict[str, Any]:
    """Return the columns with the project of the caller's key. Raises ProjectForbidden for another project."""
    if key_project is None or "project" not in values:
        return values
    if values["project"] not in (None, key_project):
        raise ProjectForbidden("a key that is bound to a project can only create webhooks for that project")
    if is_pattern(key_project):
        raise ProjectForbidden("the name of the key's project contains * or ?, which a webhook would read as a pattern")
    return {**values, "project": key_project}


def _events_problem(events: list[str]) -> str | None:
    if not events:
        return "events is empty: such a webhook would never be called"
    if any(event not in EVENTS for event in events):
        return f"events must be among {', '.join(EVENTS)}"
    return "events names one twice" if len(set(events)) < len(events) else None


def _project_problem(project: str | None) -> str | None:
    if project is None:
        return None
    if not project or len(project) > MAX_PROJECT_CHARS:
        return f"project must have 1 to {MAX_PROJECT_CHARS} characters"
    return "project holds a NUL" if "\x00" in project else None
