"""Webhook targets that an operator allows beyond https to public addresses: loopback, hosts and networks."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple, TypeAlias

from relumine_server.net.hostnames import is_name

Network: TypeAlias = IPv4Network | IPv6Network

_LOOPBACK_NETWORKS = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class TargetAllowlist(NamedTuple):
    """Allowed targets: loopback, hosts by their exact names, and networks. Plain http may be used to all of them."""

    loopback: bool = False
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def includes(self, host: str, address: IPv4Address | IPv6Address) -> bool:
        """Return whether the operator listed this host, or a network that contains this address."""
        return host in self.hosts or any(address in network for network in self.networks)

    def names(self, host: str, address: IPv4Address | IPv6Address) -> bool:
        """Return whether the operator listed this very host or address, and not only a network around it."""
        single = (network for network in self.networks if network.num_addresses == 1)
        return host in self.hosts or any(address in network for network in single)


def parse_allowlist(text: str, *, loopback: bool) -> TargetAllowlist:
    """Parse ``alertmanager.local, 10.0.0.0/8, fd12:3456::/32``.

    Raises ValueError for an entry that is neither a host nor a network, or that is a part of loopback.
    """
    hosts: set[str] = set()
    networks: list[Network] = []
    for part in text.split(","):
        entry = part.strip()
        if not entry:
            continue
        network = _parse_network(entry)
        if network is None:
            hosts.add(entry.lower().rstrip("."))
        else:
            networks.append(network)
    return TargetAllowlist(loopback, frozenset(hosts), tuple(networks))


def _parse_network(entry: str) -> Network | None:
    """Return the network of an entry; None where it is the name of a host."""
    try:
        network = ip_network(entry)
    except ValueError as error:
        if "/" in entry or ":" in entry or not is_name(entry):
            raise ValueError(f"{entry!r} is neither a host nor a network: {error}") from None
        return None
    if _is_loopback(network):
        raise ValueError(f"{entry} is this host: RELUMINE_WEBHOOK_ALLOW_LOOPBACK=true allows it")
    return network


def _is_loopback(network: Network) -> bool:
    return any(
        network.version == loopback.version and network.subnet_of(loopback)  # type: ignore[arg-type]  # versions are equal
        for loopback in _LOOPBACK_NETWORKS
    )
