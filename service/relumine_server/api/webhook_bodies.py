"""What people send about webhooks, and whether it can be used: address, filters, format."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Path
from pydantic import Field

from relumine.views import Severity
from relumine_server.api.schemas import Sent
from relumine_server.errors import InvalidWebhook, OtherProject
from relumine_server.settings import Settings
from relumine_server.storage.webhooks import is_pattern
from relumine_server.webhooks.targets import url_problem

EVENTS = (
    "alert.firing",
    "alert.resolved",
    "alert.acknowledged",
    "run.finished",
    "webhook.test",
    "webhook.disabled",
)
MAX_PROJECT_CHARS = 200
MAX_OVERLAP_S = 30 * 86_400

WebhookId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
Format: TypeAlias = Literal["standard", "slack", "discord", "alertmanager"]
GroupWait: TypeAlias = Annotated[float, Field(ge=0, le=3600)]


class NewWebhook(Sent):
    """A receiver to be told of alerts. A filter may match nothing today."""

    url: str
    events: list[str] = Field(default=["alert.firing", "alert.resolved"])
    severity: Severity = "warning"
    project: str | None = None
    format: Format = "standard"
    group_wait_s: GroupWait | None = None


class WebhookChange(Sent):
    """What is to change; fields left out stay as they are, a null project means every project."""

    url: str = ""
    events: list[str] = Field(default=[])
    severity: Severity = "warning"
    project: str | None = None
    format: Format = "standard"
    group_wait_s: GroupWait = 0.0
    enabled: bool = True


class Rotation(Sent):
    """How long the secrets of before go on to sign beside the new one; a day where nothing is said."""

    overlap_s: Annotated[float, Field(ge=0, le=MAX_OVERLAP_S)] = 86_400.0


def checked(body: NewWebhook | WebhookChange, settings: Settings, own: str | None) -> dict[str, Any]:
    """The columns that the body sets; a new webhook sets all but what it leaves to settings.

    ``own`` is the one project of the caller's key, if it is bound to one. Raises InvalidWebhook, OtherProject.
    """
    new = isinstance(body, NewWebhook)
    values = body.model_dump() if new else body.model_dump(exclude_unset=True)
    problem = (
        ("url" in values and url_problem(values["url"], settings.webhook_allowed))
        or ("events" in values and _events_problem(values["events"]))
        or _project_problem(values.get("project"))
    )
    if problem:
        raise InvalidWebhook(problem)
    return _bound({name: one for name, one in values.items() if name != "group_wait_s" or one is not None}, own)


def _bound(values: dict[str, Any], own: str | None) -> dict[str, Any]:
    """The columns, within what the caller may: a key of one project has no other."""
    if own is None or "project" not in values:
        return values
    if values["project"] not in (None, own):
        raise OtherProject("a key of one project makes webhooks of that project only")
    if is_pattern(own):
        raise OtherProject("the name of the key's project holds * or ?, which a webhook would take for a pattern")
    return {**values, "project": own}


def _events_problem(events: list[str]) -> str | None:
    if not events:
        return "events is empty: such a webhook would never be called"
    if any(event not in EVENTS for event in events):
        return f"events must be among {', '.join(EVENTS)}"
    return "events names one twice" if len(set(events)) < len(events) else None


def _project_problem(project: str | None) -> str | None:
    """A name, or a pattern of ``*`` and ``?``."""
    if project is None:
        return None
    if not project or len(project) > MAX_PROJECT_CHARS:
        return f"project must have 1 to {MAX_PROJECT_CHARS} characters"
    return "project holds a NUL" if "\x00" in project else None
