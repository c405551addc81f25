"""Finds out which addresses are this machine's own. The system is asked each time, because addresses come and go."""

from __future__ import annotations

import socket

from relumine_server.net.addresses import Address


def is_own_address(address: Address) -> bool:
    """Return whether this machine has an address. Nothing is sent.

    A socket can be bound to an own address only. Where the system allows others as well, as beside a load balancer,
    the source address that it chooses for a destination tells: for an own address it is the same.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        [(*_, target), *_] = socket.getaddrinfo(
            str(address), 9, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
        with socket.socket(family, socket.SOCK_DGRAM) as bound, socket.socket(family, socket.SOCK_DGRAM) as unbound:
            bound.bind((target[0], 0, *target[2:]))
            unbound.connect(target)
            return bool(unbound.getsockname()[0] == target[0])
    except OSError:
        return False
