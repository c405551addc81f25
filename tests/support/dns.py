"""A name server that says what a test wants, each time anew, and who asks it: RFC 1035, as little as is needed."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

KINDS = {1: 4, 28: 6}  # A and AAAA, and the version of the addresses in them


def _name(message: bytes) -> tuple[str, int]:
    """The name asked for, and where it ends."""
    at, labels = 12, []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 1


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        message, asking = self.request
        name, end = _name(message)
        (kind,) = struct.unpack_from(">H", message, end)
        found = [ip_address(text) for text in self.server.answer(name.lower())]  # type: ignore[attr-defined]
        found = [address for address in found if address.version == KINDS.get(kind)]
        head = message[:2] + struct.pack(">HHHHH", 0x8580, 1, len(found), 0, 0)
        rows = [struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(a.packed)) + a.packed for a in found]
        asking.sendto(head + message[12 : end + 4] + b"".join(rows), self.client_address)


@contextmanager
def serving(answer: Callable[[str], list[str]], port: int = 0) -> Iterator[int]:
    """A name server on loopback that asks ``answer`` for every query; its port. No answer is kept by anyone."""
    with socketserver.ThreadingUDPServer(("127.0.0.1", port), _Handler) as server:
        server.answer = answer  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def ask(port: int, host: str) -> list[str]:
    """The addresses of a name, asked of the server on this port."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".")) + b"\x00"
    found: list[str] = []
    for kind, version in KINDS.items():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            asked = struct.pack(">HHHHHH", kind, 0x0100, 1, 0, 0, 0) + question + struct.pack(">HH", kind, 1)
            client.sendto(asked, ("127.0.0.1", port))
            answer = client.recv(4096)
        size = 4 if version == 4 else 16
        rows = answer[len(asked) :]
        found += [str(ip_address(rows[at + 12 : at + 12 + size])) for at in range(0, len(rows), 12 + size)]
    return found
