"""The ``slack`` format: Block Kit for an incoming webhook of Slack, and of what speaks like it.

Slack reads ``&``, ``<`` and ``>`` as markup: they are escaped, so that a layer's name can mention nobody.
Stars and underscores cannot be escaped there; a name may look bold, and no worse.
"""

from __future__ import annotations

from typing import Any

from relumine_server.webhooks.formats.fitting import address, compact, fitted
from relumine_server.webhooks.formats.wording import Item, Words, worded
from relumine_server.webhooks.news import News

MAX_CHARS = 12_000  # of all blocks: near 13,000 Slack answers msg_blocks_too_long, whatever its manual allows
_SECTION_CHARS = 3_000
_TITLE_CHARS = 300
_LEAD_CHARS = 1_500
_STORY_CHARS = 2_000
_SHORT_CHARS = 300


def body(news: News) -> str:
    """The message; alerts are left out from the end where it would be too long."""
    words = worded(news)
    text = _message(words)
    while len(text) > MAX_CHARS and words.items:
        words = words.shorter()
        text = _message(words)
    return text


def _message(words: Words) -> str:
    summary = fitted(f"{words.mark} {words.headline}", _SHORT_CHARS, escaped)
    return compact({"text": summary, "blocks": _blocks(words), "unfurl_links": False, "unfurl_media": False})


def _blocks(words: Words) -> list[dict[str, Any]]:
    if len(words.items) == 1 and not words.lead and not words.more:
        return _of_item(words.items[0]._replace(mark=words.mark, title=words.headline))
    blocks = [_section(f"{words.mark} {_link(words.headline, words.url)}")]
    if words.lead:
        blocks.append(_section(fitted(words.lead, _LEAD_CHARS, escaped)))
    for item in words.items:
        blocks += _of_item(item)
    if words.more:
        blocks.append(_context(f"<{escaped(address(words.url))}|and {words.more:,} more>"))
    return blocks


def _of_item(item: Item) -> list[dict[str, Any]]:
    story = fitted(item.story, _STORY_CHARS, escaped)
    when = f"<!date^{int(item.since.timestamp())}^{{date_short_pretty}} {{time}}|{item.since:%Y-%m-%d %H:%M} UTC>"
    return [
        _section(f"{item.mark} {_link(item.title, item.url)}\n{story}"),
        _context(f"{escaped(item.note)}, {when}"),
    ]


def escaped(text: str) -> str:
    """Text that Slack shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _link(text: str, url: str) -> str:
    return f"*<{escaped(address(url))}|{fitted(text, _TITLE_CHARS, escaped)}>*"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text[:_SECTION_CHARS])}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    """``verbatim``: names of people, channels and sites in the text become no links."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}
