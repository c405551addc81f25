"""Classes of IP addresses: public, without a host, a cloud's metadata service, or a tunnel to another address."""

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
        "169.254.169.254",  # most clouds
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
_SIXTOFOUR_RELAYS_4 = IPv4Network("192.88.99.0/24")  # deprecated, still counted as global
_DOCUMENTATION_6 = IPv6Network("3fff::/20")  # newer than the tables of Python 3.11
_THIS_NETWORK_4 = IPv4Network("0.0.0.0/8")  # Linux connects to itself there
_IPV4_IN_LAST_32_BITS = tuple(
    IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible, long deprecated
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a local network
    )
)
_ISATAP_IDENTIFIERS = (0x00005EFE, 0x02005EFE)
_MASK_32 = 0xFFFF_FFFF


def is_metadata(address: Address) -> bool:
    """Return whether a cloud gives out credentials at this address, directly or at the end of a tunnel."""
    if isinstance(address, IPv4Address):
        return address in _METADATA_4
    if any(address in network for network in _METADATA_6):
        return True
    return any(is_metadata(inner) for inner in embedded_ipv4(address))


def is_non_unicast(address: Address) -> bool:
    """Return whether no single receiver can be at this address: unspecified, broadcast, multicast or reserved."""
    if isinstance(address, IPv4Address):
        return address in _THIS_NETWORK_4 or address.is_multicast or address.is_reserved
    return address.is_unspecified or address.is_multicast


def tunnels_to_this_host(address: Address) -> bool:
    """Return whether a tunnel leads back to this host, or to no host at all."""
    return any(inner.is_loopback or is_non_unicast(inner) for inner in embedded_ipv4(address))


def is_public(address: Address) -> bool:
    """Return whether an address is of the public Internet. One that embeds another is not: it may lead inside."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return address not in _SIXTOFOUR_RELAYS_4
    return address in _GLOBAL_UNICAST_6 and address not in _DOCUMENTATION_6 and not embedded_ipv4(address)


def embedded_ipv4(address: Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address embeds: 6to4, Teredo, NAT64, ISATAP and the like."""
    if isinstance(address, IPv4Address):
        return []
    value = int(address)
    last_32_bits = IPv4Address(value & _MASK_32)
    if any(address in network for network in _IPV4_IN_LAST_32_BITS):
        return [last_32_bits]
    if (value >> 32) & _MASK_32 in _ISATAP_IDENTIFIERS:
        return [last_32_bits]
    embedded: list[IPv4Address] = []
    if address.sixtofour:
        embedded.append(address.sixtofour)
    if address.teredo:
        embedded.extend(address.teredo)
    return embedded
