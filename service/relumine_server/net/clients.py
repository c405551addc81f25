"""The address that a client is counted by, directly or behind proxies that the operator named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeAlias

from relumine_server.net.addresses import Address

Network: TypeAlias = IPv4Network | IPv6Network

UNKNOWN = "?"
"""Counts all clients that have no address, as those of a Unix socket."""
MAX_ADDRESS_CHARS = 64
_HOP = re.compile(r"\[(?P<bracketed>[^\]]*)\](:[0-9]{1,5})?|(?P<with_port>[0-9.]+):[0-9]{1,5}|(?P<plain>[^\[\]]*)")


def counted_address(text: str) -> str:
    """Return what a client is counted by: its IPv4 address, or its /64 network, because every customer has one.

    A text that is no address is never returned: a sender could make up any number of them.
    """
    address = parse_address(text)
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def parse_address(text: str) -> Address | None:
    """Parse an address, and unwrap one of IPv4 that is mapped into IPv6; None for any other text."""
    return None if len(text) > MAX_ADDRESS_CHARS else _parse(text)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Address | None:
    """Parse a short text. Every request of a client asks twice for the same address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


class TrustedProxies(NamedTuple):
    """The networks of proxies whose ``X-Forwarded-*`` headers are believed."""

    networks: tuple[Network, ...] = ()

    def includes(self, text: str) -> bool:
        """Return whether an address is that of a named proxy."""
        address = parse_address(text)
        return address is not None and any(address in network for network in self.networks)

    def client_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """Return the address of the client, from the connection's own and the values of ``X-Forwarded-For``.

        Each proxy adds the address that it was called from, so the list is read from its end, as far as named proxies
        wrote it. What is no address ends it: then the last proxy that is known stands for the client.
        """
        client = peer
        for hop in reversed(",".join(forwarded_for).split(",")):
            address = _parse_hop(hop.strip()) if self.includes(client) else None
            if address is None:
                break
            client = str(address)
        return client


def parse_proxies(text: str) -> TrustedProxies:
    """Parse ``127.0.0.1, 10.0.0.0/8, fd12::/32``. Raises ValueError for anything but addresses and networks."""
    networks: list[Network] = []
    for entry in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(ip_network(entry))
        except ValueError as error:
            raise ValueError(f"{entry!r} is neither an address nor a network: {error}") from None
    return TrustedProxies(tuple(networks))


def _parse_hop(text: str) -> Address | None:
    """Parse an entry of ``X-Forwarded-For``, with or without a port."""
    match = _HOP.fullmatch(text)
    return None if match is None else parse_address(next(part for part in match.group(1, 3, 4) if part is not None))
