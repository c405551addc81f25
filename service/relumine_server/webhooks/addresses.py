"""What an address is: public, nowhere, a cloud's metadata service, or a tunnel to something else. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

METADATA_HOSTS = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
        "metadata.packet.net",
        "metadata.platformequinix.com",
    }
)
_METADATA_4 = frozenset(
    IPv4Address(text)
    for text in (
        "169.254.169.254",  # nearly everybody
        "169.254.170.2",  # containers on AWS
        "169.254.170.23",  # pods on AWS
        "169.254.0.23",  # Tencent
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure: a public address that is the host's own agent
    )
)
_METADATA_6 = (
    IPv6Network("fd00:ec2::/32"),  # AWS
    IPv6Network("fd20:ce::/32"),  # Google
    IPv6Network("fe80::a9fe:a9fe/128"),  # OpenStack
)
_GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
_RELAY_4 = IPv4Network("192.88.99.0/24")  # 6to4 relays: deprecated, still counted as global
_DOCUMENTATION_6 = IPv6Network("3fff::/20")  # newer than the tables of Python 3.11
_THIS_NETWORK_4 = IPv4Network("0.0.0.0/8")  # Linux connects to itself there
_WITH_IPV4_LAST = tuple(
    IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible, long deprecated
        "::ffff:0:0:0/96",  # translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a network's own
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_metadata(address: Address) -> bool:
    """Whether a cloud gives out credentials there, directly or at the end of a tunnel."""
    if isinstance(address, IPv4Address):
        return address in _METADATA_4
    return any(address in network for network in _METADATA_6) or any(map(is_metadata, tunnelled(address)))


def is_nowhere(address: Address) -> bool:
    """Whether no receiver can be there, whatever is allowed: no host, or a crowd of them."""
    if isinstance(address, IPv4Address):
        return address in _THIS_NETWORK_4 or address.is_multicast or address.is_reserved
    return address.is_unspecified or address.is_multicast


def leads_home(address: Address) -> bool:
    """Whether a tunnel leads back to this host."""
    return any(inner.is_loopback or is_nowhere(inner) for inner in tunnelled(address))


def is_public(address: Address) -> bool:
    """Whether an address lies in the open Internet. Tunnels can lead inside, so they do not."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return address not in _RELAY_4
    return address in _GLOBAL_UNICAST_6 and address not in _DOCUMENTATION_6 and not tunnelled(address)


def tunnelled(address: Address) -> list[IPv4Address]:
    """The addresses of IPv4 that one of IPv6 stands for: 6to4, Teredo, NAT64, ISATAP and their kin."""
    if isinstance(address, IPv4Address):
        return []
    last = IPv4Address(int(address) & 0xFFFF_FFFF)
    if any(address in network for network in _WITH_IPV4_LAST):
        return [last]
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return [last]
    return [*([address.sixtofour] if address.sixtofour else []), *(address.teredo or ())]
