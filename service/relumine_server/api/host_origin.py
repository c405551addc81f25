"""Checks of the Host header and of the origin of a request. Pure.

Without the first, a page of another site could reach a server on loopback by a name of its own that resolves to it (DNS
rebinding). Without the second, it could send requests that change something.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from relumine_server.net.hostnames import has_valid_labels

ANY_HOST = "*"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_MAX_PORT = 65_535


def host_name(header: str) -> str | None:
    """Return the name or the address in a Host header, without its port; None if the header is malformed."""
    match = _HOST.fullmatch(header)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        return None
    if match["address"] is None:
        name: str = match["name"].lower().removesuffix(".")
        return name if has_valid_labels(name) else None
    try:
        return str(ipaddress.IPv6Address(match["address"]))
    except ValueError:
        return None


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
    try:
        return urlsplit(origin).netloc.lower() not in own_hosts
    except ValueError:  # not a URL, so not this server's
        return True
