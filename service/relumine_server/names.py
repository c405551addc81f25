"""What a host may be called, and where people may be sent. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
MAX_NAME_CHARS = 253


def is_name(text: str) -> bool:
    """A name as a request carries it, and no number: a mistyped address must not become a host that is never met."""
    labels = text.removesuffix(".").split(".")
    return len(text) <= MAX_NAME_CHARS and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def is_address(text: str) -> bool:
    """Whether this is an address of IPv4 or IPv6, without brackets."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def url_problem(text: str) -> str | None:
    """Why links cannot begin with this, without repeating it: it may hold a password. None where they can."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return "this is no URL"
    if parts.scheme not in ("http", "https"):
        return "a URL begins with https:// or http://"
    if "@" in parts.netloc:
        return "a URL that everybody is shown must not hold credentials"
    host = parts.hostname or ""
    if not (is_name(host) or is_address(host)) or not all(char.isprintable() and char != " " for char in text):
        return "the URL has no host that requests could name, in ASCII"
    return "links go on where this ends: no ? and no #" if "?" in text or "#" in text else None
