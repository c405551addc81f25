"""Measures one attack on a real server with its default limits, while other clients upload as usual."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tests.chaos.payload_bombs import (
    MAX_GROWTH_MIB,
    MAX_SLOWDOWN,
    measured_growth,
    other_clients,
    percentile_ms,
)
from tests.chaos.server import Server

WARM_UP_S = 3

Attack: TypeAlias = Callable[[Server, float], Counter[str]]
"""Attacks a server for so many seconds; returns how often which answer came."""


def measure(server: Server, attack: Attack, seconds: float) -> bool:
    """Measure without and with the attack, and print; return whether both promises held.

    Memory of the uploads alone is measured too: each new run is detector state in memory, attacked or not.
    """
    with other_clients(server.url, "warm"):
        time.sleep(WARM_UP_S)  # the first requests of a server are its slowest
    with measured_growth(server.pid) as growth_alone, other_clients(server.url, "alone") as (alone, _):
        time.sleep(seconds)  # as long as the attack will take
    with measured_growth(server.pid) as growth_beside, other_clients(server.url, "beside") as (beside, accepted):
        answers = attack(server, seconds)
    print(f"answers to the attack: {dict(sorted(answers.items()))}")
    growth_mib = growth_beside[0] - growth_alone[0]
    print(
        f"memory: at the peak {growth_beside[0]:.0f} MiB more, {growth_alone[0]:.0f} MiB of it by the uploads alone "
        f"(promised: at most {MAX_GROWTH_MIB} by the attack)"
    )
    p99_alone = percentile_ms(alone, 0.99)
    p99_beside = percentile_ms(beside, 0.99)
    print(
        f"other clients: {dict(accepted)}, p50 {percentile_ms(alone, 0.5):.1f} ms alone, "
        f"{percentile_ms(beside, 0.5):.1f} ms beside; p99 {p99_alone:.1f} and {p99_beside:.1f} ms, "
        f"times {p99_beside / p99_alone:.2f} "
        f"(promised: at most {MAX_SLOWDOWN:g})"
    )
    is_served = set(accepted) == {"202"} and p99_beside <= MAX_SLOWDOWN * p99_alone
    return is_served and growth_mib <= MAX_GROWTH_MIB


def main(description: str | None, attack: Attack, arguments: Sequence[str] | None = None) -> None:
    """Run the command of a rig: attack, measure, and exit with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(f"sqlite:///{folder}/relumine.db")
        server.start()
        try:
            is_good = measure(server, attack, options.seconds)
        finally:
            server.kill()
    raise SystemExit(0 if is_good else 1)
