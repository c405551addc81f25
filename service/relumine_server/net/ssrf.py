"""Protection against server-side request forgery: parses webhook URLs and judges the addresses they resolve to.

A sender parses the URL here, resolves the host, has the addresses judged here, and connects to an address that was
judged. A URL is parsed in one place only, so that no two parts of the server see two hosts in it. By default https to
public addresses is allowed; an operator may allow more (``allowlist``), but never the metadata addresses of a cloud.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

import idna

from relumine_server.net.addresses import (
    METADATA_HOSTS,
    Address,
    embedded_ipv4,
    is_metadata,
    is_non_unicast,
    is_public,
    tunnels_to_this_host,
)
from relumine_server.net.allowlist import TargetAllowlist
from relumine_server.net.hostnames import has_valid_labels

MAX_URL_CHARS = 2_000
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MIN_OTHER_PORT = 1024
"""Other ports below it belong to mail, ssh and the like, which a POST may confuse."""
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes resolvers read a host as an address."""
_BRACKETED = re.compile(r"\[[0-9a-fA-F:.]+\](:[0-9]*)?")
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~-._"


class RefusedError(ValueError):
    """A URL or address to which no notification may be sent. The message gives the reason without the URL."""


class Target(NamedTuple):
    """A parsed URL. ``host`` is an ASCII name or an address without brackets; ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def url_problem(url: str, allowed: TargetAllowlist) -> str | None:
    """Return why a URL cannot be a receiver, or None. Reads the text only: a name is judged when it is resolved."""
    try:
        read_target(url, allowed)
    except RefusedError as refused:
        return str(refused)
    return None


def read_target(url: str, allowed: TargetAllowlist) -> Target:
    """Parse a URL. Raises RefusedError where its text alone shows that nothing may be sent there."""
    if len(url) > MAX_URL_CHARS:
        raise RefusedError(f"url is longer than {MAX_URL_CHARS:,} characters")
    if not all(char.isprintable() and not char.isspace() for char in url) or "\\" in url:
        raise RefusedError("url holds a character that no URL may hold")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RefusedError("url cannot be read") from None
    _check_shape(parts, port)
    path = quote(parts.path or "/", safe=_SAFE_IN_PATH)
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE_IN_PATH + "?")
    target = Target(parts.scheme, _normalized_host(parts), port or _DEFAULT_PORTS[parts.scheme], path)
    _check_host(target, allowed)
    return target


def refusal_reason(
    target: Target,
    addresses: Sequence[str],
    allowed: TargetAllowlist,
    is_own: Callable[[Address], bool] = lambda _address: False,
) -> str | None:
    """Return why no connection to these addresses of the target is allowed, or None.

    ``is_own`` tells whether this machine has an address. Such an address is treated like loopback: what listens there
    often trusts this machine. One refused address refuses them all: a name that points both outside and inside is an
    attack or a mistake.
    """
    if not addresses:
        return "the host has no address"
    for address in addresses:
        problem = _address_problem(target, address, allowed) or _own_problem(target, address, allowed, is_own)
        if problem is not None:
            return problem
    return None


def _check_shape(parts: SplitResult, port: int | None) -> None:
    if parts.scheme not in _DEFAULT_PORTS:
        raise RefusedError("url must start with https:// or http://")
    if not parts.hostname:
        raise RefusedError("url has no host")
    if "@" in parts.netloc:
        raise RefusedError("url must not hold credentials")
    if port is not None and port not in _DEFAULT_PORTS.values() and port < _MIN_OTHER_PORT:
        raise RefusedError(f"port must be 80, 443 or at least {_MIN_OTHER_PORT}")


def _normalized_host(parts: SplitResult) -> str:
    """Return the host as it will be resolved: one spelling of each, and none that a resolver could read otherwise."""
    try:
        host = _parse_host(parts)
    except (ValueError, UnicodeError):  # of ipaddress and of idna alike
        host = None
    if host is None:
        raise RefusedError("the host is neither a name nor an address in its usual spelling")
    return host


def _parse_host(parts: SplitResult) -> str | None:
    """Return the host in its usual spelling; None or a ValueError where it has none."""
    host = (parts.hostname or "").removesuffix(".")
    if parts.netloc.startswith("["):
        return str(IPv6Address(host)) if _BRACKETED.fullmatch(parts.netloc) else None
    if not host.isascii():
        host = idna.encode(host).decode()
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return str(IPv4Address(host))
    return host if has_valid_labels(host) else None


def _check_host(target: Target, allowed: TargetAllowlist) -> None:
    """Raise RefusedError where the host is refused without resolving it."""
    if target.host in METADATA_HOSTS:
        raise RefusedError("the host is the metadata service of a cloud")
    literal = _parse_address(target.host)
    if target.host == "localhost" or target.host.endswith(".localhost"):
        problem = _address_problem(target, "127.0.0.1", allowed)
    elif literal is not None:
        problem = _address_problem(target, str(literal), allowed)
    else:
        problem = _name_problem(target, allowed)
    if problem is not None:
        raise RefusedError(problem)


def _name_problem(target: Target, allowed: TargetAllowlist) -> str | None:
    may_use_http = allowed.loopback or allowed.networks or target.host in allowed.hosts
    if target.scheme == "http" and not may_use_http:
        return "url must start with https:// (http is for receivers that the server's operator allows)"
    return None


def _address_problem(target: Target, text: str, allowed: TargetAllowlist) -> str | None:
    address = _parse_address(text)
    if address is None:
        return "the host is no address that can be judged"
    if is_metadata(address):
        return f"{address} is the metadata service of a cloud"
    if address.is_loopback:
        return None if allowed.loopback else f"{address} is this host"
    if is_non_unicast(address) or tunnels_to_this_host(address):
        return f"{address} is no address of a receiver"
    if allowed.includes(target.host, address):
        return None
    return _default_problem(target, address)


def _own_problem(target: Target, text: str, allowed: TargetAllowlist, is_own: Callable[[Address], bool]) -> str | None:
    """Return why an address that is allowed otherwise is refused because it is this machine's own."""
    address = _parse_address(text)
    if address is None or address.is_loopback or allowed.loopback or allowed.names(target.host, address):
        return None
    if any(is_own(candidate) for candidate in (address, *embedded_ipv4(address))):
        return f"{address} is this host"
    return None


def _default_problem(target: Target, address: Address) -> str | None:
    """Return why the default rule refuses an address: only https to public addresses is allowed."""
    if not is_public(address):
        return f"{address} is not a public address"
    if target.scheme != "https":
        return "url must start with https:// where it leads to a public address"
    return None


def _parse_address(text: str) -> Address | None:
    """Parse an IP address, and unwrap one of IPv4 that is mapped into IPv6."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
