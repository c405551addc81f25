"""Bodies that are bombs, lie, drip or never end, while others send as ever: what it costs the server and the others.

    python benchmarks/chaos/bombs.py [--seconds 30]

A real server with its default limits. Four clients send small uploads, first alone, then beside the attacks: bombs in
gzip, zstd and JSON, lengths that lie, one body of a gigabyte in chunks after the other, and 500 connections that send a
byte a second, half of them in the head and half in the body. Prints per attack what was answered, how much the server's
memory grew at its peak, and the latency of the others beside that without the attacks.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
import selectors
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import zstandard
from server_kills import Server, body

from relumine_server.settings import Settings

CLIENTS, PAUSE_S = 4, 0.05
SLOW = 500
GIB, MIB = 2**30, 2**20
LIMIT = Settings.model_fields["max_body_bytes"].default
GROWTH_MIB, TIMES = 50, 2.0  # what is promised

PLACE = b"POST /v1/uploads HTTP/1.1\r\nhost: localhost\r\n"


def lying_zstd(plain: bytes) -> bytes:
    """A frame whose header claims eight bytes."""
    frame = bytearray(zstandard.ZstdCompressor().compress(plain))
    at = bytes(frame).index(struct.pack("<I", len(plain)))
    frame[at : at + 4] = struct.pack("<I", 8)
    return bytes(frame)


def encoded(encoding: str, packed: bytes) -> bytes:
    """A whole request with an encoded body."""
    return PLACE + f"content-encoding: {encoding}\r\ncontent-length: {len(packed)}\r\n\r\n".encode() + packed


def plain(text: bytes) -> bytes:
    """A whole request with a body as it is."""
    return PLACE + f"content-length: {len(text)}\r\n\r\n".encode() + text


def requests() -> Mapping[str, bytes]:
    """Whole requests by name, made before anything is measured."""
    zeros = bytes(200 * MIB)
    just_fits = b" " * LIMIT
    return {
        "gzip 1,000:1": encoded("gzip", gzip.compress(zeros)),
        "gzip of gzip": encoded("gzip", gzip.compress(gzip.compress(zeros))),
        "gzip up to the limit": encoded("gzip", gzip.compress(just_fits)),
        "zstd 30,000:1": encoded("zstd", zstandard.ZstdCompressor(level=3).compress(zeros)),
        "zstd up to the limit": encoded("zstd", zstandard.ZstdCompressor().compress(just_fits)),
        "zstd that lies": encoded("zstd", lying_zstd(zeros)),
        "an encoding nobody knows": encoded("br", b"x" * 1000),
        "JSON objects up to the limit": plain(b'{"x":[' + b'{"a":0},' * (LIMIT // 8 - 8) + b"0]}"),
        "gzip of JSON lists": encoded("gzip", gzip.compress(b"[" + b"[],[[[[]]]]," * (2 * MIB) + b"0]")),
        "a length of 10^18": PLACE + b"content-length: 1000000000000000000\r\n\r\n{",
        "a length of 10^30": PLACE + b"content-length: 1" + b"0" * 30 + b"\r\n\r\n{",
        "a length below nothing": PLACE + b"content-length: -1\r\n\r\n{",
        "two lengths": PLACE + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        "a length and chunks": PLACE + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "less length than body": PLACE + b"content-length: 2\r\n\r\n{}" + b"x" * 5000,
        "a head of 1 MiB": PLACE + b"x: " + b"y" * MIB,
    }


def answers(connection: socket.socket, told: Counter[str]) -> None:
    """Note every status that comes until the end, or that there was none."""
    said = b""
    with suppress(OSError):
        while piece := connection.recv(65_536):
            said += piece
            if b"connection: close" not in said.lower() and re.search(rb"\r\n\r\n\{.*\}$", said, re.DOTALL):
                break
    found = re.findall(rb"HTTP/1\.1 (\d+)", said)
    told.update(status.decode() for status in found or [b"closed"])


def send(port: int, request: bytes, told: Counter[str]) -> None:
    """One request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(OSError):
            connection.sendall(request)
        answers(connection, told)


def endless(port: int, told: Counter[str]) -> None:
    """A gigabyte in chunks, as far as it is taken."""
    chunk = b"10000\r\n" + b" " * 2**16 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(PLACE + b"transfer-encoding: chunked\r\n\r\n")
        with suppress(OSError):
            for _ in range(GIB // 2**16):
                connection.sendall(chunk)
        answers(connection, told)


class Dripping:
    """Connections of which each sends a byte a second, and which are opened again when they are ended."""

    def __init__(self, port: int, told: Counter[str]) -> None:
        self._port, self._told = port, told
        self._open: dict[socket.socket, Iterator[bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._numbers = itertools.count()

    def run(self, stop: threading.Event) -> None:
        """Drip until told to stop."""
        while not stop.is_set():
            while len(self._open) < SLOW:
                self._begin()
            for connection, rest in list(self._open.items()):
                with suppress(OSError):
                    connection.send(next(rest))
            until = time.monotonic() + 1.0
            while (left := until - time.monotonic()) > 0:
                for key, _ in self._selector.select(left):
                    self._end(key.fileobj)
        for connection in list(self._open):
            self._selector.unregister(connection)
            connection.close()

    def _begin(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        in_head = next(self._numbers) % 2
        connection.sendall(PLACE if in_head else PLACE + b"content-length: 5000\r\n\r\n")
        connection.settimeout(0)
        self._open[connection] = itertools.repeat(b"x")
        self._selector.register(connection, selectors.EVENT_READ)

    def _end(self, connection: object) -> None:
        if not isinstance(connection, socket.socket):
            return
        said = b""
        with suppress(OSError):
            said = connection.recv(4096)
        self._told.update(status.decode() for status in re.findall(rb"HTTP/1\.1 (\d+)", said) or [b"closed"])
        self._selector.unregister(connection)
        del self._open[connection]
        connection.close()


def upload(url: str, run: str, stop: threading.Event, taken: list[float], told: Counter[str]) -> None:
    """What a training does: small uploads, one after the other."""
    with httpx.Client(base_url=url, timeout=30) as client:
        for seq in itertools.count(1):
            content = json.dumps(body(run, seq))
            began = time.perf_counter()
            told[str(client.post("/v1/uploads", content=content).status_code)] += 1
            taken.append(time.perf_counter() - began)
            if stop.wait(PAUSE_S):
                return


@contextmanager
def others(url: str, name: str) -> Iterator[tuple[list[float], Counter[str]]]:
    """Trainings that go on meanwhile: seconds of each upload, and their answers."""
    taken: list[float] = []
    told: Counter[str] = Counter()
    stop = threading.Event()
    threads = [threading.Thread(target=upload, args=(url, f"{name}{i}", stop, taken, told)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield taken, told
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def memory_mib(pid: int, what: str) -> float:
    """VmRSS (now) or VmHWM (the most since it was reset) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


@contextmanager
def growing(pid: int) -> Iterator[list[float]]:
    """By how many MiB a process grows at its peak meanwhile; new runs are states in memory, attacked or not."""
    grown: list[float] = []
    before = memory_mib(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted from here
    yield grown
    grown.append(memory_mib(pid, "VmHWM") - before)


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return 1e3 * sorted(seconds)[min(int(share * len(seconds)), len(seconds) - 1)]


def attack(server: Server, seconds: float, made: Mapping[str, bytes], told: dict[str, Counter[str]]) -> None:
    """All of it for a while: slow connections and endless bodies throughout, bombs one after the other."""
    stop = threading.Event()
    until = time.monotonic() + seconds

    def again(work: Callable[[], None], pause_s: float) -> None:
        while not stop.wait(pause_s):
            work()

    gigabyte = lambda: endless(server.port, told["1 GiB in chunks"])  # noqa: E731 - named for the thread
    threads = [
        threading.Thread(target=Dripping(server.port, told[f"{SLOW} slow connections"]).run, args=(stop,)),
        threading.Thread(target=again, args=(gigabyte, 1.0)),
    ]
    for thread in threads:
        thread.start()
    for name in itertools.cycle(made):
        if time.monotonic() > until:
            break
        send(server.port, made[name], told[name])
        time.sleep(0.2)  # five a second
    stop.set()
    for thread in threads:
        thread.join()


def measure(server: Server, seconds: float) -> bool:
    """Without, then with the attacks; whether all promises were kept."""
    made = requests()
    told = {name: Counter[str]() for name in (*made, "1 GiB in chunks", f"{SLOW} slow connections")}
    with others(server.url, "warm"):
        time.sleep(3)  # the first requests of a server are its slowest
    with growing(server.pid) as by_uploads, others(server.url, "alone") as (alone, _):
        time.sleep(seconds)  # as long as the attacks will take
    with growing(server.pid) as in_all, others(server.url, "beside") as (beside, kept):
        attack(server, seconds, made, told)
    growth = in_all[0] - by_uploads[0]
    for name, codes in told.items():
        print(f"{name:<28} {dict(sorted(codes.items()))}")
    strange = {code for codes in told.values() for code in codes if code != "closed" and not code.startswith("4")}
    p99 = percentile(alone, 0.99), percentile(beside, 0.99)
    print(f"answers other than 4xx and closed connections: {sorted(strange) or 'none'}")
    print(
        f"memory: at the peak {in_all[0]:.0f} MiB more, {by_uploads[0]:.0f} MiB of it by the uploads alone "
        f"(promised: at most {GROWTH_MIB} by the attacks)"
    )
    for share, place in ((0.5, "p50"), (0.99, "p99")):
        then, now = percentile(alone, share), percentile(beside, share)
        print(f"others, {place}: {then:.1f} ms alone ({len(alone)}), {now:.1f} ms beside ({len(beside)})")
    print(f"others were answered {dict(kept)}; p99 times {p99[1] / p99[0]:.2f} (promised: less than {TIMES:g})")
    return not strange and growth <= GROWTH_MIB and p99[1] < TIMES * p99[0] and set(kept) == {"202"}


def main() -> None:
    """Attack and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        server.start()
        try:
            good = measure(server, options.seconds)
        finally:
            server.kill()
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
