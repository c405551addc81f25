"""The ``discord`` format: one embed for a webhook of Discord.

No name can mention anybody, and Markdown in names is escaped. Links are part of the text: in the ``url`` of an embed
Discord rejects addresses of an intranet, and the whole message with them.
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

from relumine_server.webhooks.formats.text import (
    AlertItem,
    NotificationText,
    compact_json,
    fit,
    link_url,
    render_text,
    utf16_length,
)
from relumine_server.webhooks.notification import Notification

EMBED_CHARS = 6_000
TITLE_CHARS = 256
DESCRIPTION_CHARS = 4_096
NAME_CHARS = 256
_DETAILS_CHARS = 640  # with its link and its date the value of a field stays below 1,024
_COLOURS = {"🔴": 0xD7263D, "🟠": 0xF28F16, "🔵": 0x3178C6, "🟢": 0x2E9E5B, "🟡": 0xE0B400, "⚪": 0x8A939C}


def render_body(notification: Notification) -> str:
    """Return the message. Where it would be too long, alerts are omitted from the end."""
    text = render_text(notification)
    embed = _embed(text)
    while _chars(embed) > EMBED_CHARS and text.items:
        text = text.without_last_item()
        embed = _embed(text)
    embed["timestamp"] = notification.created_at.astimezone(UTC).isoformat()
    return compact_json({"username": "Relumine", "embeds": [embed], "allowed_mentions": {"parse": []}})


def escape(text: str) -> str:
    """Return text that Discord shows literally: no markup, no mention, no link."""
    return re.sub(r"([\\*_~`|<>\[\]#@]|(?<=:)/(?=/))", r"\\\1", text)


def _embed(text: NotificationText) -> dict[str, Any]:
    title = f"{text.mark} {fit(text.headline, TITLE_CHARS - 3, escape)}"
    embed: dict[str, Any] = {"title": title, "color": _COLOURS[text.mark], "fields": []}
    if len(text.items) == 1 and not text.lead and not text.omitted:
        return embed | {"description": _value(text.items[0], DESCRIPTION_CHARS // 2)}
    description = fit(text.lead, DESCRIPTION_CHARS // 2, escape)
    if description:
        description += "\n"
    if text.omitted:
        description += f"and {text.omitted:,} more. "
    embed["description"] = f"{description}[Open in Relumine]({link_url(text.url)})"
    embed["fields"] = [_field(item) for item in text.items]
    return embed


def _field(item: AlertItem) -> dict[str, Any]:
    name = f"{item.mark} {fit(item.title, NAME_CHARS - 3, escape)}"
    return {"name": name, "value": _value(item, _DETAILS_CHARS), "inline": False}


def _value(item: AlertItem, limit: int) -> str:
    """Return the details, the time of opening in the reader's own time zone, and the link."""
    opened = f"<t:{int(item.opened_at.timestamp())}:f>"
    return f"{fit(item.details, limit, escape)}\n{escape(item.note)}, {opened} · [open]({link_url(item.url)})"


def _chars(embed: dict[str, Any]) -> int:
    """Return the length that Discord limits: of title, description and fields together."""
    total = utf16_length(embed["title"]) + utf16_length(embed["description"])
    for field in embed["fields"]:
        total += utf16_length(field["name"]) + utf16_length(field["value"])
    return total
