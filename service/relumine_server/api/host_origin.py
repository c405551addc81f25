"""Checks of the Host header and of the origin of a request. Pure.

Without the first, a page of another site could reach a server on loopback by a name of its own that resolves to it (DNS
rebinding). Without the second, it could send requests that change something.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

ANY_HOST = "*"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def host_name(header: str) -> str | None:
    """Return the name in a Host header, without its port; None if the header is malformed."""
    if not header or "@" in header or "/" in header:
        return None
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    return (parts.hostname or "").rstrip(".") or None


def is_known_host(header: str, names: Collection[str]) -> bool:
    """Return True if a Host header names this server: by address, as localhost, or by one of ``names``.

    Any address is accepted: only a name can be made to resolve to another machine.
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


def is_cross_site(method: str, fetch_site: str | None, origin: str | None, own_hosts: Collection[str]) -> bool:
    """Return True if a browser sends a changing request on behalf of another site.

    ``own_hosts`` are the hosts of this server, with ports. Programs other than browsers send neither
    ``Sec-Fetch-Site`` nor ``Origin``, and cannot be abused by another site.
    """
    if method in SAFE_METHODS:
        return False
    if fetch_site is not None:
        return fetch_site not in ("same-origin", "none")
    if origin is None:
        return False
    return urlsplit(origin).netloc.lower() not in own_hosts
