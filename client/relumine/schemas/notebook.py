"""HTML for notebooks: small cards that are readable on light and dark pages, and hold no markup of others.

Colours of text and background are those of the page, except for labels, which have both of their own. There are no
scripts, no style sheets and no external resources, so that a notebook that is not trusted shows a card as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from relumine.schemas.printable import printable

# Rows of a table; more are counted.
MAX_ROWS = 20

# Backgrounds of labels with white text: a contrast of at least 4.5 on any page.
RED = "#b42318"
AMBER = "#8a5300"
GREEN = "#1a7f37"
GREY = "#57606a"
BACKGROUNDS: Mapping[str, str] = {
    "critical": RED,
    "diverged": RED,
    "collapsed": RED,
    "damaged": RED,
    "flagged": RED,
    "warning": AMBER,
    "at_risk": AMBER,
    "unwatched": AMBER,
    "healthy": GREEN,
    "passed": GREEN,
}

_CARD = "border:1px solid currentColor;border-radius:4px;padding:8px 12px;margin:4px 0;max-width:960px"
_LABEL = "color:#fff;border-radius:3px;padding:1px 6px;font-weight:600"
_TABLE = "border-collapse:collapse;background:transparent;margin-top:6px"
_CELL = "text-align:left;padding:2px 12px 2px 0;background:transparent;color:inherit"


def card(title: str, word: str, lines: Iterable[str], *parts: str) -> str:
    """Return a card: a title with a label, lines of text, and parts, which are HTML of this module."""
    body = [f"<div><strong>{text(title)}</strong> {label(word)}</div>"]
    body += [f"<div>{text(line)}</div>" for line in lines if line]
    body += parts
    return f'<div style="{_CARD}">{"".join(body)}</div>'


def text(value: object) -> str:
    """Return text of others as HTML."""
    return escape(printable(value))


def label(word: str) -> str:
    """Return a word of the API, such as a severity or a health, as a coloured label."""
    background = BACKGROUNDS.get(word, GREY)
    return f'<span style="{_LABEL};background:{background}">{text(word.replace("_", " "))}</span>'


def link(url: str) -> str:
    """Return a link; plain text for an address that no browser should follow."""
    if not url.startswith(("http://", "https://")):
        return f"<div>{text(url)}</div>"
    return f'<div><a href="{text(url)}" target="_blank" rel="noopener noreferrer">{text(url)}</a></div>'


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells, which are HTML of this module; empty where there are no rows."""
    if not rows:
        return ""
    body = [_row("th", [text(heading) for heading in headings]), *(_row("td", row) for row in rows[:MAX_ROWS])]
    more = f"<div>and {len(rows) - MAX_ROWS:,} more</div>" if len(rows) > MAX_ROWS else ""
    return f'<table style="{_TABLE}">{"".join(body)}</table>{more}'


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f'<{tag} style="{_CELL}">{cell}</{tag}>' for cell in cells) + "</tr>"
