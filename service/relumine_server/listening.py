"""Where a server will listen: tried for a moment before anything is made or printed."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import NamedTuple

MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # as of IPv6 where a machine has none: the other address will do


class Place(NamedTuple):
    """One address of a host, as sockets take it."""

    family: int
    address: tuple[str | int | bytes, ...]


def places(host: str, port: int) -> list[Place]:
    """Where a host leads. Raises OSError where it is none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # too long, or an empty label
        raise OSError(errno.EINVAL, "this is no name of a host") from None
    return [Place(family, address) for family, *_, address in found]


def try_out(found: Sequence[Place]) -> None:
    """Bind every place for a moment. Raises OSError where one is taken, or where none can be had."""
    missing = []
    for place in found:
        try:
            _bind(place)
        except OSError as error:
            if error.errno not in MISSING:
                raise
            missing.append(error)
    if len(missing) == len(found):
        raise missing[0]


def _bind(place: Place) -> None:
    with socket.socket(place.family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(place.address)
