"""Whether a request comes the way it should: to a name of this server, and not from another site. Pure.

Without the first a page of somebody else could reach a server on loopback under a name of its own that it lets point
there; without the second it could post to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

ANY_HOST = "*"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def host_name(header: str) -> str | None:
    """The name in a Host header, without its port; None where it is none."""
    if not header or "@" in header or "/" in header:
        return None
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    return (parts.hostname or "").rstrip(".") or None


def is_known_host(header: str, names: Collection[str]) -> bool:
    """Whether a Host header names this server: by address, as localhost, or by one of its names.

    Any address will do: only a name can be made to point somewhere else.
    """
    name = host_name(header)
    if name is None:
        return False
    if ANY_HOST in names or name in names or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_cross_site(method: str, fetch_site: str | None, origin: str | None, own: Collection[str]) -> bool:
    """Whether a browser sends this on behalf of another site; ``own`` are the hosts, with ports, that are this one.

    A program that is no browser says neither ``Sec-Fetch-Site`` nor ``Origin``, and is none of anybody's victims.
    """
    if method in SAFE_METHODS:
        return False
    if fetch_site is not None:
        return fetch_site not in ("same-origin", "none")
    if origin is None:
        return False
    return urlsplit(origin).netloc.lower() not in own
