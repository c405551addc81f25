"""What an operator allows beyond https to public addresses: loopback, hosts, networks. A value, read from settings."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple, TypeAlias

from relumine_server.names import is_name

Network: TypeAlias = IPv4Network | IPv6Network

_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class Allowed(NamedTuple):
    """Loopback by its own setting; hosts by their exact names; networks. To all of them plain http may go too."""

    loopback: bool = False
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def includes(self, host: str, address: IPv4Address | IPv6Address) -> bool:
        """Whether the operator named this host, or a network with this address in it."""
        return host in self.hosts or any(address in network for network in self.networks)


def allowed(text: str, *, loopback: bool) -> Allowed:
    """Read ``alertmanager.local, 10.0.0.0/8, fd12:3456::/32``. Raises ValueError where an entry says nothing."""
    hosts, networks = set(), []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        network = _network(entry)
        if network is None:
            hosts.add(entry.lower().rstrip("."))
        else:
            networks.append(network)
    return Allowed(loopback, frozenset(hosts), tuple(networks))


def _network(entry: str) -> Network | None:
    try:
        network = ip_network(entry)
    except ValueError as problem:
        if "/" in entry or ":" in entry or not is_name(entry):
            raise ValueError(f"{entry!r} is neither a host nor a network: {problem}") from None
        return None
    if any(network.version == own.version and network.subnet_of(own) for own in _LOOPBACK):  # type: ignore[arg-type] # the versions are equal
        raise ValueError(f"{entry} is this host: RELUMINE_WEBHOOK_ALLOW_LOOPBACK=true allows it")
    return network
