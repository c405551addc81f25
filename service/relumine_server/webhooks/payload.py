"""The body of a notification, in the format that its webhook asked for.

Pure: news in, text out, the same text for the same news. Every format keeps to the limits of whoever reads it,
and carries the worst alerts first, how many there are, and a link to them all.
"""

from __future__ import annotations

from relumine_server.webhooks.formats import standard
from relumine_server.webhooks.news import News, Receiver

__all__ = ["FORMATS", "News", "Receiver", "body"]

FORMATS = ("standard", "slack", "discord", "alertmanager")
_WRITERS = {"standard": standard.body}


def body(form: str, news: News) -> str:
    """The body of one notification. Raises ValueError for a format that there is not."""
    writer = _WRITERS.get(form)
    if writer is None:
        raise ValueError(f"no format {form!r}")
    return writer(news)
