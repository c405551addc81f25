"""Webhook receivers that answer with ten gigabytes, a gzip bomb, one byte a second, headers without end, and worse.

    python -m tests.chaos.hostile_receivers

The receivers run in their own process; the client is the dispatcher's, with its default timeout. Prints for each how
long the attempt took, by how much this process grew at its peak, and the outcome. Exits with 1 if an attempt took more
than 20 s or 10 MiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from relumine_server.net.allowlist import TargetAllowlist
from relumine_server.outbox.retry import Outcome
from relumine_server.settings import Settings
from relumine_server.webhooks.http_client import WebhookHttpClient
from tests.chaos.harness import ROOT

MAX_S = 20.0
MAX_MIB = 10.0
BODY = "x" * 20_000
LARGE_BODY = "x" * 6_000_000  # more than the kernel buffers


def memory_kib(field: str) -> int:
    """Return ``VmRSS`` (now) or ``VmHWM`` (peak) of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def attempt(client: WebhookHttpClient, url: str, body: str = BODY) -> tuple[Outcome, float, float]:
    """Make one attempt; return its outcome, its seconds, and the MiB by which this process grew at its peak."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    memory_at_start_kib = memory_kib("VmRSS")
    start = time.monotonic()
    outcome = client.post(url, {}, body)
    return outcome, time.monotonic() - start, (memory_kib("VmHWM") - memory_at_start_kib) / 1024


def print_outcome(name: str, outcome: Outcome, seconds: float, mib: float) -> None:
    """Print a line."""
    text = outcome.error or f"answered {outcome.response_status}"
    if outcome.response_body is not None:
        text += f", {len(outcome.response_body)} characters kept"
    print(f"{name:<32}{seconds:>9.2f}{mib:>8.1f}   {text}")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make an attempt at each receiver and print the outcome."""
    parser().parse_args(arguments)
    command = [sys.executable, "-m", "tests.helpers.hostile_receivers"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    ports = json.loads(process.stdout.readline())  # type: ignore[union-attr] # it is a pipe
    client = WebhookHttpClient(TargetAllowlist(loopback=True), timeout_s=Settings().webhook_timeout_s)
    attempt(client, f"http://127.0.0.1:{ports['a_thousand_headers']}/")  # memory that is loaded once is no growth
    attempt(client, f"https://127.0.0.1:{ports['garbage']}/")
    longest_s = 0.0
    largest_mib = 0.0
    print(f"{'receiver':<32}{'seconds':>9}{'MiB':>8}   outcome")
    for name, port in ports.items():
        scheme = "https" if name == "slow_tls" else "http"
        body = LARGE_BODY if name == "takes_a_byte_a_second" else BODY
        outcome, seconds, mib = attempt(client, f"{scheme}://127.0.0.1:{port}/", body)
        longest_s = max(longest_s, seconds)
        largest_mib = max(largest_mib, mib)
        print_outcome(name, outcome, seconds, mib)
    process.communicate(timeout=20)  # closes its input, which ends it
    print(f"at most {longest_s:.1f} s (allowed {MAX_S:g}) and {largest_mib:.1f} MiB (allowed {MAX_MIB:g})")
    raise SystemExit(int(longest_s > MAX_S or largest_mib > MAX_MIB))


if __name__ == "__main__":
    main()
