"""The body of a notification in the format of its webhook.

Pure: the same notification gives the same body. Every format keeps the limits of its receiver, and carries the most
severe alerts first, the number of all alerts, and a link to them.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from relumine_server.webhooks.formats import alertmanager, discord, slack, standard
from relumine_server.webhooks.notification import Notification

_RENDERERS: dict[str, Callable[[Notification], str]] = {
    "standard": standard.render_body,
    "slack": slack.render_body,
    "discord": discord.render_body,
    "alertmanager": alertmanager.render_body,
}


def render_body(webhook_format: str, notification: Notification, *, url: str = "") -> str:
    """Return the body of one notification for the endpoint at ``url``.

    The URL matters for ``alertmanager`` only: the API of an Alertmanager expects a list, receivers of its webhooks an
    object. Raises ValueError for an unknown format, and for an alert event without alerts.
    """
    renderer = _RENDERERS.get(webhook_format)
    if renderer is None:
        raise ValueError(f"no format {webhook_format!r}")
    if notification.event.startswith("alert.") and not notification.alerts:
        raise ValueError("a notification about alerts needs one")
    if webhook_format == "alertmanager" and urlsplit(url).path.rstrip("/").endswith(alertmanager.API_PATH):
        renderer = alertmanager.render_api_body
    return renderer(notification)
