"""The sockets of a server: bound once, before anything else is created or printed, and then handed to uvicorn."""

from __future__ import annotations

import errno
import socket
from typing import Any

BACKLOG = 2048  # connections that wait to be accepted; the same as uvicorn asks for

NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of an address family that the machine lacks, as often IPv6: the host's other address is enough."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind a socket for every address of ``host``, without listening yet.

    With ``port`` 0 the system chooses a free port, the same one for every address.

    Raises OSError if the host is unknown, if a port is in use, or if none of the addresses exists on this machine.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in _addresses(host, port):
        try:
            sockets.append(_bind(family, address, port or _port_of(sockets)))
        except OSError as error:
            if error.errno not in NO_SUCH_ADDRESS:
                close(sockets)
                raise
            missing = missing or error
    if not sockets and missing is not None:
        raise missing
    return sockets


def listen(sockets: list[socket.socket]) -> None:
    """Start to listen. Raises OSError if another process has done so on the same port since the sockets were bound."""
    for bound in sockets:
        bound.listen(BACKLOG)


def port_of(sockets: list[socket.socket]) -> int:
    """Return the port that the sockets are bound to."""
    port: int = sockets[0].getsockname()[1]
    return port


def close(sockets: list[socket.socket]) -> None:
    """Close all sockets."""
    for bound in sockets:
        bound.close()


def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the different addresses of a host, as sockets take them."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # too long, or with an empty label
        raise OSError(errno.EINVAL, "not a valid host name") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in infos))


def _port_of(sockets: list[socket.socket]) -> int:
    return port_of(sockets) if sockets else 0


def _bind(family: int, address: tuple[Any, ...], port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        host, _, *scope = address
        bound.bind((host, port, *scope))
    except OSError:
        bound.close()
        raise
    return bound
