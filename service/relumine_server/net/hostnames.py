"""Host names, and the URL under which people reach this server."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
MAX_NAME_CHARS = 253


def has_valid_labels(host: str) -> bool:
    """Return whether a host fits into DNS and consists of labels of letters, digits, ``-`` and ``_``."""
    return len(host) <= MAX_NAME_CHARS and all(_LABEL.fullmatch(label) for label in host.split("."))


def is_name(text: str) -> bool:
    """Return whether this is a host name as a request carries it, with or without the dot at its end.

    One that ends in a number is not: a mistyped address must not become a host that no request ever names.
    """
    name = text.removesuffix(".")
    return len(text) <= MAX_NAME_CHARS and has_valid_labels(name) and not name.rpartition(".")[2].isdigit()


def is_address(text: str) -> bool:
    """Return whether this is an IPv4 or IPv6 address, without brackets."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def base_url_problem(text: str) -> str | None:
    """Return why links cannot begin with this URL, or None. The reason does not repeat it: it may hold a password."""
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
    is_printable = all(char.isprintable() and char != " " for char in text)
    if not is_printable or not (is_name(host) or is_address(host)):
        return "the URL has no host that requests could name, in ASCII"
    if "?" in text or "#" in text:
        return "links go on where this ends: no ? and no #"
    return None
