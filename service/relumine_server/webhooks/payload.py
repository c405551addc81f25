"""The body of a notification, in the format that its webhook asked for.

Pure: news in, text out, the same text for the same news. Every format keeps to the limits of whoever reads it,
and carries the worst alerts first, how many there are, and a link to them all.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from relumine_server.webhooks.formats import alertmanager, discord, slack, standard
from relumine_server.webhooks.news import News, Receiver

__all__ = ["FORMATS", "News", "Receiver", "body"]

FORMATS = ("standard", "slack", "discord", "alertmanager")
_WRITERS = {
    "standard": standard.body,
    "slack": slack.body,
    "discord": discord.body,
    "alertmanager": alertmanager.body,
}


def body(form: str, news: News, *, url: str = "") -> str:
    """The body of one notification for the receiver at ``url``.

    The URL matters to ``alertmanager`` alone: an Alertmanager's own API takes a list, its receivers take an object.
    Raises ValueError for a format that there is not, and for news of alerts without one.
    """
    writer = _WRITERS.get(form)
    if writer is None:
        raise ValueError(f"no format {form!r}")
    if news.event.startswith("alert.") and not news.alerts:
        raise ValueError("a notification about alerts needs one")
    if form == "alertmanager" and urlsplit(url).path.rstrip("/").endswith(alertmanager.API_PATH):
        writer = alertmanager.api_body
    return writer(news)
