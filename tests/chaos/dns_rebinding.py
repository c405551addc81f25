"""Hostile URLs and a name server that changes its answer, in a network namespace where every address answers.

    python -m tests.chaos.dns_rebinding

Needs the right to create a network namespace (root). On its loopback interface every IPv4 and IPv6 address leads to a
listener that counts connections by address, the kernel counts every connection that is opened, and the system's
resolver asks a name server that answers each query differently. Prints how often a refused address was reached: by the
webhook client, and for comparison by a client that checks a name and then connects by name.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from relumine_server.net.allowlist import TargetAllowlist
from relumine_server.net.ssrf import read_target, refusal_reason
from relumine_server.webhooks.http_client import WebhookHttpClient, system_addresses
from tests.chaos.harness import ROOT
from tests.helpers.dns_server import run_dns_server
from tests.helpers.hostile_urls import HOSTILE_HOSTS, HOSTILE_URLS

PUBLIC = "93.184.216.34"
OWN = "198.51.100.7"
OWN_IPV6 = "2001:db8::7"
CHANGING_ANSWERS = (PUBLIC, "127.0.0.1", PUBLIC, "10.0.0.1", PUBLIC, "::1", "169.254.169.254")
PORTS = (80, 443, 8080, 8443, 9093)
ATTEMPTS = 300
CLIENT = "the webhook client"
CONTROL = "check, then connect"
INSIDE = "RELUMINE_CHAOS_IN_NETWORK_NAMESPACE"
"""Environment variable of the process inside the namespace."""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def main(arguments: Sequence[str] | None = None) -> None:
    """Enter a network namespace, and report from there."""
    parser().parse_args(arguments)
    if INSIDE not in os.environ:
        command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.chaos.dns_rebinding"]
        completed = subprocess.run(command, env=os.environ | {INSIDE: "1"}, cwd=ROOT, check=False)
        raise SystemExit(completed.returncode)
    with prepared_network() as reached:
        is_good = report(reached)
    raise SystemExit(0 if is_good else 1)


@contextmanager
def prepared_network() -> Iterator[collections.Counter[str]]:
    """Prepare the namespace; yield the number of connections by address."""
    for command in (
        "link set lo up",
        # Otherwise the source address would be that of the destination, and every address this machine's own.
        f"addr add {OWN}/32 dev lo",
        f"-6 addr add {OWN_IPV6}/128 dev lo",
        f"route add local 0.0.0.0/0 dev lo src {OWN}",
        f"-6 route add local ::/0 dev lo src {OWN_IPV6}",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    with tempfile.NamedTemporaryFile("w") as resolver:
        resolver.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        resolver.flush()
        subprocess.run(["mount", "--bind", resolver.name, os.path.realpath("/etc/resolv.conf")], check=True)
        with ExitStack() as stack:
            stack.enter_context(run_dns_server(name_server_answers(), 53))
            yield listen_everywhere(stack)


def name_server_answers() -> Callable[[str], list[str]]:
    """Return the name server's function: ``flip.test`` is sometimes public, sometimes internal."""
    chance = random.Random(1)

    def answer(name: str) -> list[str]:
        if name == "flip.test":
            return [chance.choice(CHANGING_ANSWERS)]
        return [PUBLIC] if name == "public.test" else HOSTILE_HOSTS.get(name, [])

    return answer


def listen_everywhere(stack: ExitStack) -> collections.Counter[str]:
    """Listen on all addresses; return the counter of connections by the address the client used."""
    reached: collections.Counter[str] = collections.Counter()

    def accept(server: socket.socket) -> None:
        while True:
            with suppress(OSError):
                connection, _ = server.accept()
                reached[connection.getsockname()[0].removeprefix("::ffff:")] += 1
                connection.close()

    for port in PORTS:
        server = stack.enter_context(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
        threading.Thread(target=accept, args=(server,), daemon=True).start()
    return reached


def opened_connections() -> int:
    """Return the kernel's count of connections opened in this namespace, answered or not."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")]
    names, values = lines
    return int(values[names.index("ActiveOpens")])


def report(reached: collections.Counter[str]) -> bool:
    """Try everything and print; return whether the webhook client reached no refused address.

    The controls show that both kinds of address can be reached here at all.
    """
    client = WebhookHttpClient(TargetAllowlist(), timeout_s=5)
    opened_for_hostile = try_hostile_urls(client)
    opened_at_start = opened_connections()
    client.post("https://public.test/", {}, "{}")
    opened = opened_connections() - opened_at_start
    is_reachable = dict(reached) == {PUBLIC: 1}
    print(f"control, https://public.test: {opened} connections opened, to {dict(reached)}")
    refused = count_refused_reached(reached, CLIENT, lambda: client.post("https://flip.test/", {}, "{}"))
    refused_of_control = count_refused_reached(reached, CONTROL, check_then_connect)
    return is_reachable and refused_of_control > 0 and not opened_for_hostile and not refused


def try_hostile_urls(client: WebhookHttpClient) -> int:
    """Post to each hostile URL and print; return the connections that were opened."""
    opened_at_start = opened_connections()
    outcomes = [client.post(url.format(port=8443), {}, "{}") for url in HOSTILE_URLS]
    opened = opened_connections() - opened_at_start
    refused = sum((outcome.error or "").startswith("refused") for outcome in outcomes)
    print(
        f"{len(HOSTILE_URLS)} hostile URLs: {refused} refused, {len(HOSTILE_URLS) - refused} without an address, ",
        end="",
    )
    print(f"{opened} connections opened")
    return opened


def count_refused_reached(reached: collections.Counter[str], name: str, attempt: Callable[[], object]) -> int:
    """Attempt to reach the name that changes, and print; return how often a refused address was reached."""
    reached.clear()
    opened_at_start = opened_connections()
    for _ in range(ATTEMPTS):
        attempt()
    opened = opened_connections() - opened_at_start
    refused = sum(times for address, times in reached.items() if address != PUBLIC)
    print(f"a name that changes, {ATTEMPTS} attempts, {name}: {opened} connections opened, ", end="")
    print(f"{reached[PUBLIC]} to the public address, {refused} to refused ones")
    return refused


def check_then_connect() -> None:
    """Resolve and judge a name, then connect by the name, as is often done."""
    target = read_target("https://flip.test/", TargetAllowlist())
    with suppress(OSError):
        if refusal_reason(target, system_addresses(target.host, target.port), TargetAllowlist()) is None:
            client = http.client.HTTPConnection(target.host, target.port, timeout=2)
            client.connect()
            client.close()


if __name__ == "__main__":
    main()
