"""The ``slack`` format: Block Kit for an incoming webhook of Slack, and for receivers compatible with it.

Slack reads ``&``, ``<`` and ``>`` as markup. They are escaped, so that the name of a layer cannot mention anybody.
Asterisks and underscores cannot be escaped there: at worst a name is shown in bold.
"""

from __future__ import annotations

from typing import Any

from relumine_server.webhooks.formats.text import AlertItem, NotificationText, compact_json, fit, link_url, render_text
from relumine_server.webhooks.notification import Notification

MAX_CHARS = 12_000  # of all blocks: near 13,000 Slack answers msg_blocks_too_long, whatever its manual allows
_SECTION_CHARS = 3_000
_TITLE_CHARS = 300
_LEAD_CHARS = 1_500
_DETAILS_CHARS = 2_000
_SUMMARY_CHARS = 300


def render_body(notification: Notification) -> str:
    """Return the message. Where it would be too long, alerts are omitted from the end."""
    text = render_text(notification)
    message = _message(text)
    while len(message) > MAX_CHARS and text.items:
        text = text.without_last_item()
        message = _message(text)
    return message


def escape(text: str) -> str:
    """Return text that Slack shows literally."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _message(text: NotificationText) -> str:
    summary = fit(f"{text.mark} {text.headline}", _SUMMARY_CHARS, escape)
    return compact_json({"text": summary, "blocks": _blocks(text), "unfurl_links": False, "unfurl_media": False})


def _blocks(text: NotificationText) -> list[dict[str, Any]]:
    if len(text.items) == 1 and not text.lead and not text.omitted:
        return _item_blocks(text.items[0]._replace(mark=text.mark, title=text.headline))
    blocks = [_section(f"{text.mark} {_link(text.headline, text.url)}")]
    if text.lead:
        blocks.append(_section(fit(text.lead, _LEAD_CHARS, escape)))
    for item in text.items:
        blocks += _item_blocks(item)
    if text.omitted:
        blocks.append(_context(f"<{escape(link_url(text.url))}|and {text.omitted:,} more>"))
    return blocks


def _item_blocks(item: AlertItem) -> list[dict[str, Any]]:
    details = fit(item.details, _DETAILS_CHARS, escape)
    fallback = f"{item.opened_at:%Y-%m-%d %H:%M} UTC"
    opened = f"<!date^{int(item.opened_at.timestamp())}^{{date_short_pretty}} {{time}}|{fallback}>"
    return [
        _section(f"{item.mark} {_link(item.title, item.url)}\n{details}"),
        _context(f"{escape(item.note)}, {opened}"),
    ]


def _link(text: str, url: str) -> str:
    return f"*<{escape(link_url(url))}|{fit(text, _TITLE_CHARS, escape)}>*"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text[:_SECTION_CHARS])}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    """Return a text object. ``verbatim``: Slack makes no links of names of people, channels and sites."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}
