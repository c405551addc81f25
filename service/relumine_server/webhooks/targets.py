"""Where a notification may go: reads URLs, and judges the addresses they resolved to.

Pure: whoever connects reads the URL here, resolves, asks here, and connects to the very address that was judged.
There is one reading of a URL, so that no two parts see two hosts in it. The default is https to a public address;
an operator may allow more (``allowed``), but never the metadata addresses of a cloud.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

import idna

from relumine_server.webhooks.addresses import METADATA_HOSTS, Address, is_metadata, is_nowhere, is_public, leads_home
from relumine_server.webhooks.allowed import Allowed

MAX_URL_CHARS = 2_000
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FIRST_FREE_PORT = 1024  # below it live mail, ssh and the like, which a POST may confuse
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label like this makes resolvers read the host as an address
_BRACKETED = re.compile(r"\[[0-9a-fA-F:.]+\](:[0-9]*)?")
_IN_PATH = "/%:@!$&'()*+,;=~-._"


class RefusedError(ValueError):
    """A notification may not go there. The message says why, without the URL."""


class Target(NamedTuple):
    """A URL that was read. ``host`` is a name in ASCII or an address without brackets; ``path`` holds the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def url_problem(url: str, allowed: Allowed) -> str | None:
    """Why a URL cannot be a receiver, or None. Looks at the text only; a name is judged when it is resolved."""
    try:
        read_target(url, allowed)
    except RefusedError as refused:
        return str(refused)
    return None


def read_target(url: str, allowed: Allowed) -> Target:
    """The URL in its parts. Raises RefusedError where the text alone says that nothing may go there."""
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
    path = quote(parts.path or "/", safe=_IN_PATH) + (
        f"?{quote(parts.query, safe=_IN_PATH + '?')}" if parts.query else ""
    )
    target = Target(parts.scheme, _host(parts), port or _DEFAULT_PORTS[parts.scheme], path)
    _check_host(target, allowed)
    return target


def refusal(target: Target, addresses: Sequence[str], allowed: Allowed) -> str | None:
    """Why none of these addresses of the target may be connected to, or None.

    One bad address refuses them all: a name that points both outside and inside is an attack or a mistake.
    """
    if not addresses:
        return "the host has no address"
    return next(filter(None, (_address_problem(target, address, allowed) for address in addresses)), None)


def _check_shape(parts: SplitResult, port: int | None) -> None:
    if parts.scheme not in _DEFAULT_PORTS:
        raise RefusedError("url must start with https:// or http://")
    if not parts.hostname:
        raise RefusedError("url has no host")
    if "@" in parts.netloc:
        raise RefusedError("url must not hold credentials")
    if port is not None and port not in _DEFAULT_PORTS.values() and port < _FIRST_FREE_PORT:
        raise RefusedError(f"port must be 80, 443 or at least {_FIRST_FREE_PORT}")


def _host(parts: SplitResult) -> str:
    """The host as it will be resolved: one spelling for each, and none that a resolver could read otherwise."""
    host = (parts.hostname or "").removesuffix(".")
    try:
        if parts.netloc.startswith("["):
            return str(IPv6Address(host)) if _BRACKETED.fullmatch(parts.netloc) else _unreadable()
        if not host.isascii():
            host = idna.encode(host).decode()
        return str(IPv4Address(host)) if _NUMBER.fullmatch(host.rpartition(".")[2]) else _name(host)
    except (ValueError, UnicodeError):  # of ipaddress and of idna alike
        return _unreadable()


def _name(host: str) -> str:
    fits = len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.split("."))
    return host if fits else _unreadable()


def _unreadable() -> str:
    raise RefusedError("the host is neither a name nor an address in its usual spelling") from None


def _check_host(target: Target, allowed: Allowed) -> None:
    """What can be said without resolving."""
    if target.host in METADATA_HOSTS:
        raise RefusedError("the host is the metadata service of a cloud")
    if target.host == "localhost" or target.host.endswith(".localhost"):
        _refuse(_address_problem(target, "127.0.0.1", allowed))
    elif (literal := _read(target.host)) is not None:
        _refuse(_address_problem(target, str(literal), allowed))
    elif target.scheme == "http" and not (allowed.loopback or allowed.networks or target.host in allowed.hosts):
        raise RefusedError("url must start with https:// (http is for receivers that the server's operator allows)")


def _refuse(problem: str | None) -> None:
    if problem:
        raise RefusedError(problem)


def _address_problem(target: Target, text: str, allowed: Allowed) -> str | None:
    address = _read(text)
    if address is None:
        return "the host is no address that can be judged"
    if is_metadata(address):
        return f"{address} is the metadata service of a cloud"
    if address.is_loopback:
        return None if allowed.loopback else f"{address} is this host"
    if is_nowhere(address) or leads_home(address):
        return f"{address} is no address of a receiver"
    if allowed.includes(target.host, address):
        return None
    return _default_problem(target, address)


def _default_problem(target: Target, address: Address) -> str | None:
    if not is_public(address):
        return f"{address} is not a public address"
    return None if target.scheme == "https" else "url must start with https:// where it leads to a public address"


def _read(text: str) -> Address | None:
    """An address; one of IPv4 in the clothes of IPv6 is what it is."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
