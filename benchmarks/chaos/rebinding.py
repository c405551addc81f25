"""Hostile URLs and a name server that changes its mind, in a network of their own where every address answers.

    python benchmarks/chaos/rebinding.py

Needs the right to make a network namespace (root). There, on loopback, every address of IPv4 and IPv6 leads to a
listener that notes which one was called, the kernel counts every connection that is begun, and the machine's own
resolver asks a name server that answers each query anew. Prints how often a refused address was called: by the
sender, and beside it by a client that checks a name and then connects by name.
"""

from __future__ import annotations

import collections
import http.client
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from dns import serving
from hostile_urls import HOSTILE, NAMES

from relumine_server.webhooks.allowed import Allowed
from relumine_server.webhooks.sender import Sender, system_addresses
from relumine_server.webhooks.targets import read_target, refusal

PUBLIC = "93.184.216.34"
TURNS = (PUBLIC, "127.0.0.1", PUBLIC, "10.0.0.1", PUBLIC, "::1", "169.254.169.254")
PORTS = (80, 443, 8080, 8443, 9093)
ATTEMPTS = 300
INSIDE = "RELUMINE_IN_A_NETWORK_OF_ITS_OWN"


def main() -> None:
    """Enter a network namespace, and report from there."""
    if INSIDE not in os.environ:
        command = ["unshare", "--net", "--mount", sys.executable, __file__]
        sys.exit(subprocess.run(command, env=os.environ | {INSIDE: "1"}, check=False).returncode)
    with network() as called:
        report(called)


@contextmanager
def network() -> Iterator[collections.Counter[str]]:
    """The namespace made ready; counts the addresses that were called."""
    for command in (
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    with tempfile.NamedTemporaryFile("w") as resolver:
        resolver.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        resolver.flush()
        subprocess.run(["mount", "--bind", resolver.name, os.path.realpath("/etc/resolv.conf")], check=True)
        with ExitStack() as stack:
            stack.enter_context(serving(answers(), 53))
            yield listening(stack)


def answers():  # noqa: ANN201 - a function of a name
    """What names resolve to: ``flip.test`` is now public, now inside."""
    chance = random.Random(1)

    def answer(name: str) -> list[str]:
        if name == "flip.test":
            return [chance.choice(TURNS)]
        return [PUBLIC] if name == "public.test" else NAMES.get(name, [])

    return answer


def listening(stack: ExitStack) -> collections.Counter[str]:
    """Listen everywhere; note by which address each caller came."""
    called: collections.Counter[str] = collections.Counter()

    def take(server: socket.socket) -> None:
        while True:
            with suppress(OSError):
                connection, _ = server.accept()
                called[connection.getsockname()[0].removeprefix("::ffff:")] += 1
                connection.close()

    for port in PORTS:
        server = stack.enter_context(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
        threading.Thread(target=take, args=(server,), daemon=True).start()
    return called


def begun() -> int:
    """Connections begun in this network since it is there, to whatever address, answered or not."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    )
    return int(values[names.index("ActiveOpens")])


def report(called: collections.Counter[str]) -> None:
    """Try it all and print."""
    sender = Sender(Allowed(), timeout_s=5)
    before = begun()
    outcomes = [sender.post(url.format(port=8443), {}, "{}") for url in HOSTILE]
    refused = sum((outcome.error or "").startswith("refused") for outcome in outcomes)
    print(f"{len(HOSTILE)} hostile URLs: {refused} refused, {len(HOSTILE) - refused} without an address, ", end="")
    print(f"{begun() - before} connections begun")
    before = begun()
    sender.post("https://public.test/", {}, "{}")
    print(f"control, https://public.test: {begun() - before} begun, to {dict(called)}")
    for name, attempt in (
        ("the sender", lambda: sender.post("https://flip.test/", {}, "{}")),
        ("check, then connect", naive),
    ):
        called.clear()
        before = begun()
        for _ in range(ATTEMPTS):
            attempt()
        wrong = sum(times for address, times in called.items() if address != PUBLIC)
        print(f"a name that changes, {ATTEMPTS} attempts, {name}: {begun() - before} connections begun, ", end="")
        print(f"{called[PUBLIC]} to the public address, {wrong} to refused ones")


def naive() -> None:
    """What is often done: resolve and judge, then connect by the name."""
    target = read_target("https://flip.test/", Allowed())
    with suppress(OSError):
        if refusal(target, system_addresses(target.host, target.port), Allowed()) is None:
            client = http.client.HTTPConnection(target.host, target.port, timeout=2)
            client.connect()
            client.close()


if __name__ == "__main__":
    main()
