"""Text of others as one line that is safe to print: names, messages and reasons must not steer a terminal."""

from __future__ import annotations

import re

# Control characters, line and paragraph separators, characters that change the direction of text or are invisible, and
# lone surrogates, which no terminal's encoding has. Joiners (U+200C, U+200D) stay: scripts and emoji need them.
_UNPRINTABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)


def printable(text: object) -> str:
    r"""Return ``str(text)`` with everything that is no visible character written as an escape, such as ``\x1b``."""
    return _UNPRINTABLE.sub(_escape, str(text))


def printable_lines(text: object) -> str:
    """Return text of several lines, each as ``printable`` returns it. Lines end with a line feed only."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
