"""The ``discord`` format: one embed for a webhook of Discord.

Nobody is mentioned, whatever the names in it say. Markdown in names is escaped. Links stand in the text: in the
embed's own ``url`` Discord refuses addresses of an intranet, and the whole message with them.
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

from relumine_server.webhooks.formats.fitting import address, compact, fitted, width
from relumine_server.webhooks.formats.wording import Item, Words, worded
from relumine_server.webhooks.news import News

EMBED_CHARS = 6_000
TITLE_CHARS = 256
DESCRIPTION_CHARS = 4_096
NAME_CHARS = 256
VALUE_CHARS = 1_024
_STORY_CHARS = 640  # with its link and its date a value stays below 1,024
_COLOURS = {"🔴": 0xD7263D, "🟠": 0xF28F16, "🔵": 0x3178C6, "🟢": 0x2E9E5B, "🟡": 0xE0B400}


def body(news: News) -> str:
    """The message; alerts are left out from the end where it would be too long."""
    words = worded(news)
    embed = _embed(words)
    while _chars(embed) > EMBED_CHARS and words.items:
        words = words.shorter()
        embed = _embed(words)
    embed["timestamp"] = news.at.astimezone(UTC).isoformat()
    return compact({"username": "Relumine", "embeds": [embed], "allowed_mentions": {"parse": []}})


def _embed(words: Words) -> dict[str, Any]:
    title = f"{words.mark} {fitted(words.headline, TITLE_CHARS - 3, escaped)}"
    embed: dict[str, Any] = {"title": title, "color": _COLOURS[words.mark], "fields": []}
    if len(words.items) == 1 and not words.lead and not words.more:
        return embed | {"description": _value(words.items[0], DESCRIPTION_CHARS // 2)}
    link = f"[Open in Relumine]({address(words.url)})"
    more = f"and {words.more:,} more. " if words.more else ""
    lead = fitted(words.lead, DESCRIPTION_CHARS // 2, escaped)
    embed["description"] = (f"{lead}\n" if lead else "") + more + link
    embed["fields"] = [_field(item) for item in words.items]
    return embed


def _field(item: Item) -> dict[str, Any]:
    name = f"{item.mark} {fitted(item.title, NAME_CHARS - 3, escaped)}"
    return {"name": name, "value": _value(item, _STORY_CHARS), "inline": False}


def _value(item: Item, chars: int) -> str:
    """The story, since when in the reader's own time zone, and the link."""
    when = f"<t:{int(item.since.timestamp())}:f>"
    return f"{fitted(item.story, chars, escaped)}\n{escaped(item.note)}, {when} · [open]({address(item.url)})"


def escaped(text: str) -> str:
    """Text that Discord shows as it is: no markup, no mention, no link of its own making."""
    return re.sub(r"([\\*_~`|<>\[\]#@]|(?<=:)/(?=/))", r"\\\1", text)


def _chars(embed: dict[str, Any]) -> int:
    texts = [embed["title"], embed["description"], *(text for f in embed["fields"] for text in (f["name"], f["value"]))]
    return sum(width(text) for text in texts)
