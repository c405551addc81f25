"""Text of the user's as every part takes it: the wire, both databases, a terminal. And what cannot be taken."""

from __future__ import annotations

import re
import zlib

# The longest name of a run, a layer or a metric (``schemas.base.Name``).
MAX_NAME = 200

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class UnusableValue(Exception):
    """A value that was passed to a monitor and cannot be sent, with the reason."""


def sendable_text(text: str, limit: int) -> str:
    """Return text without control characters and lone surrogates, which are escaped, of at most ``limit`` characters.

    Of longer text a checksum is the end, so that names that begin alike stay apart.
    """
    text = _CONTROL_CHARACTERS.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= limit:
        return text
    return f"{text[: limit - 9]}~{zlib.crc32(text.encode()):08x}"


def sendable_name(value: object, limit: int = MAX_NAME) -> str:
    """Return ``value`` as a name; empty where it is empty."""
    if type(value) is str and len(value) <= limit and value.isascii() and value.isprintable():  # nearly every name
        return value
    if isinstance(value, str):
        return sendable_text(str.__str__(value), limit)
    return sendable_text(text_of(value), limit)


def text_of(value: object) -> str:
    """Return ``str(value)``, or the name of its type where that fails."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - it is the user's code
        return type(value).__name__
