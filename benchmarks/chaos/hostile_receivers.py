"""Receivers that answer with ten gigabytes, a gzip bomb, one byte a second, headers without end, and worse.

    python benchmarks/chaos/hostile_receivers.py

The receivers run in a process of their own; the sender is the one that couriers use, with its default timeout. Prints
for each how long the attempt took, by how much the process grew at most meanwhile, and what came of it; exits 1 where
an attempt took more than 20 s or 10 MiB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from relumine_server.settings import Settings
from relumine_server.webhooks.allowed import Allowed
from relumine_server.webhooks.retry import Outcome
from relumine_server.webhooks.sender import Sender

RECEIVERS = Path(__file__).resolve().parents[2] / "tests" / "support" / "hostile_receivers.py"
MAX_S = 20.0
MAX_MIB = 10.0
BODY = "x" * 20_000
MUCH = "x" * 6_000_000  # more than the kernel takes off our hands


def resident_kib(what: str) -> int:
    """``VmRSS``, what this process holds, or ``VmHWM``, what it held at most."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1])


def attempt(sender: Sender, url: str, body: str = BODY) -> tuple[Outcome, float, float]:
    """One attempt: what came of it, its seconds, and the MiB by which the process grew at most."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = resident_kib("VmRSS")
    started = time.monotonic()
    outcome = sender.post(url, {}, body)
    return outcome, time.monotonic() - started, (resident_kib("VmHWM") - before) / 1024


def main() -> None:
    """Try them all and print."""
    process = subprocess.Popen(
        [sys.executable, str(RECEIVERS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    ports = json.loads(process.stdout.readline())  # type: ignore[union-attr] # it is a pipe
    sender = Sender(Allowed(loopback=True), timeout_s=Settings().webhook_timeout_s)
    attempt(sender, f"http://127.0.0.1:{ports['a_thousand_headers']}/")  # what is loaded once is no growth
    attempt(sender, f"https://127.0.0.1:{ports['garbage']}/")
    worst_s = worst_mib = 0.0
    print(f"{'receiver':<32}{'seconds':>9}{'MiB':>8}   outcome")
    for name, port in ports.items():
        scheme = "https" if name == "slow_tls" else "http"
        outcome, seconds, mib = attempt(
            sender, f"{scheme}://127.0.0.1:{port}/", MUCH if name == "takes_a_byte_a_second" else BODY
        )
        worst_s, worst_mib = max(worst_s, seconds), max(worst_mib, mib)
        kept = "" if outcome.answer is None else f", {len(outcome.answer)} characters kept"
        print(f"{name:<32}{seconds:>9.2f}{mib:>8.1f}   {outcome.error or f'answered {outcome.status}{kept}'}")
    process.communicate(timeout=20)  # closes its input, which ends it
    print(f"at most {worst_s:.1f} s (allowed {MAX_S:g}) and {worst_mib:.1f} MiB (allowed {MAX_MIB:g})")
    sys.exit(worst_s > MAX_S or worst_mib > MAX_MIB)


if __name__ == "__main__":
    main()
