"""A DNS server whose answers a test decides for every query, and a client for it: as much of RFC 1035 as needed."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

ADDRESS_VERSIONS = {1: 4, 28: 6}
"""IP version of the addresses in records of type A (1) and AAAA (28)."""
HEADER_BYTES = 12
RECORD_HEADER_BYTES = 12
CLASS_INTERNET = 1
QUERY_RECURSIVELY = 0x0100
AUTHORITATIVE_ANSWER = 0x8580
POINTER_TO_QUESTION = 0xC00C


def _parse_question(message: bytes) -> tuple[str, int, int]:
    """Return the name asked for, the record type, and the offset behind the question."""
    offset = HEADER_BYTES
    labels = []
    while message[offset]:
        end = offset + 1 + message[offset]
        labels.append(message[offset + 1 : end].decode())
        offset = end
    (record_type,) = struct.unpack_from(">H", message, offset + 1)
    return ".".join(labels), record_type, offset + 5


def _address_record(record_type: int, address: IPv4Address | IPv6Address) -> bytes:
    """Return a record that no resolver may cache: its time to live is 0."""
    header = struct.pack(">HHHIH", POINTER_TO_QUESTION, record_type, CLASS_INTERNET, 0, len(address.packed))
    return header + address.packed


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        query, sender = self.request
        name, record_type, question_end = _parse_question(query)
        addresses = [ip_address(text) for text in self.server.answer(name.lower())]  # type: ignore[attr-defined]
        version = ADDRESS_VERSIONS.get(record_type)
        records = [_address_record(record_type, address) for address in addresses if address.version == version]
        header = query[:2] + struct.pack(">HHHHH", AUTHORITATIVE_ANSWER, 1, len(records), 0, 0)
        sender.sendto(header + query[HEADER_BYTES:question_end] + b"".join(records), self.client_address)


@contextmanager
def run_dns_server(answer: Callable[[str], list[str]], port: int = 0) -> Iterator[int]:
    """Run a server on loopback that answers each query with the addresses ``answer(name)``; yield its port."""
    with socketserver.ThreadingUDPServer(("127.0.0.1", port), _Handler) as server:
        server.answer = answer  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def resolve(port: int, host: str) -> list[str]:
    """Return the addresses of a host, of both IP versions, from the server on this port."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
    addresses: list[str] = []
    for record_type, version in ADDRESS_VERSIONS.items():
        header = struct.pack(">HHHHHH", record_type, QUERY_RECURSIVELY, 1, 0, 0, 0)
        query = header + labels + b"\x00" + struct.pack(">HH", record_type, CLASS_INTERNET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(60)
            client.sendto(query, ("127.0.0.1", port))
            response = client.recv(4096)
        records = response[len(query) :]
        size = 4 if version == 4 else 16
        for offset in range(0, len(records), RECORD_HEADER_BYTES + size):
            start = offset + RECORD_HEADER_BYTES
            addresses.append(str(ip_address(records[start : start + size])))
    return addresses
