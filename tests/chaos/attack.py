"""Measures one attack on a real server with its default limits, while other clients upload as usual."""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.chaos.other_clients import measured_growth, other_clients, percentile_ms
from tests.chaos.server import Server

WARM_UP_S = 3
ROUNDS = 3

# What is promised: memory of the attack, and the p99 of other clients as a multiple of that without it.
MAX_GROWTH_MIB = 50
MAX_SLOWDOWN = 2.0

Attack: TypeAlias = Callable[[int, float], Counter[str]]
"""Attacks the server on a port of this machine for so many seconds; returns how often which answer came."""
RunAttack: TypeAlias = Callable[[float], Counter[str]]
"""Attacks for so many seconds."""
Prepare: TypeAlias = Callable[[], None]
"""Makes what an attack needs."""
IsExpected: TypeAlias = Callable[[str], bool]
"""Returns whether an attack may be answered so."""


@dataclass
class Measured:
    """Latencies and answers of the other clients, and growth of the server, in all rounds of one kind."""

    seconds: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    growth_mib: list[float] = field(default_factory=list)

    @contextmanager
    def round(self, server: Server, name: str) -> Iterator[None]:
        """Measure during the block."""
        with measured_growth(server.pid) as growth, other_clients(server.url, name) as (seconds, answers):
            yield
        self.seconds += seconds
        self.answers += answers
        self.growth_mib += growth


@contextmanager
def attacker(attack: Attack, port: int, prepare: Prepare) -> Iterator[RunAttack]:
    """Yield a function that attacks from a process of its own.

    In the process of the other clients, the attack would hold up their threads, and they would measure that.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        process.submit(prepare).result()
        yield lambda seconds: process.submit(attack, port, seconds).result()


def measure(server: Server, run_attack: RunAttack, seconds: float, is_expected: IsExpected) -> bool:
    """Measure without and with the attack in turn, and print; return whether all promises held.

    Memory of the uploads alone is measured too: each new run is detector state in memory, attacked or not.
    """
    alone = Measured()
    beside = Measured()
    answers: Counter[str] = Counter()
    with other_clients(server.url, "warm"):
        time.sleep(WARM_UP_S)  # the first requests of a server are its slowest
    for number in range(ROUNDS):  # in turn: other work of the machine slows down both alike
        with alone.round(server, f"alone{number}"):
            time.sleep(seconds / ROUNDS)  # as long as the attack will take
        with beside.round(server, f"beside{number}"):
            answers += run_attack(seconds / ROUNDS)
    is_refused = print_answers(answers, is_expected)
    return all([is_refused, print_memory(alone, beside), print_latency(alone, beside)])


def print_answers(answers: Counter[str], is_expected: IsExpected) -> bool:
    """Print how often which answer came; return whether all were expected."""
    for answer, count in sorted(answers.items()):
        print(f"{answer:<40} {count:>8,}{'' if is_expected(answer) else '   UNEXPECTED'}")
    return all(map(is_expected, answers))


def print_memory(alone: Measured, beside: Measured) -> bool:
    """Print by how much the server's memory grew; return whether that is as promised."""
    pairs = list(zip(beside.growth_mib, alone.growth_mib, strict=True))
    most = max(pairs, key=lambda pair: pair[0] - pair[1])
    print(
        f"memory: in the worst round {most[0]:.0f} MiB more at the peak, {most[1]:.0f} MiB in the round without the "
        f"attack (promised: at most {MAX_GROWTH_MIB} by the attack)"
    )
    return most[0] - most[1] <= MAX_GROWTH_MIB


def print_latency(alone: Measured, beside: Measured) -> bool:
    """Print how long the other clients waited; return whether that is as promised."""
    p99_alone = percentile_ms(alone.seconds, 0.99)
    p99_beside = percentile_ms(beside.seconds, 0.99)
    print(
        f"other clients: {dict(beside.answers)}, p50 {percentile_ms(alone.seconds, 0.5):.1f} ms alone, "
        f"{percentile_ms(beside.seconds, 0.5):.1f} ms beside; p99 {p99_alone:.1f} and {p99_beside:.1f} ms, "
        f"times {p99_beside / p99_alone:.2f} (promised: at most {MAX_SLOWDOWN:g})"
    )
    return set(beside.answers) == {"202"} and p99_beside <= MAX_SLOWDOWN * p99_alone


def prepare_nothing() -> None:
    """Make nothing: the attack needs nothing that takes long to make."""


def expect_anything(_answer: str) -> bool:
    """Accept every answer: what matters is what the attack costs the others."""
    return True


def main(
    description: str | None,
    attack: Attack,
    *,
    prepare: Prepare = prepare_nothing,
    is_expected: IsExpected = expect_anything,
) -> None:
    """Run the command of a rig: attack, measure, and exit with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45, help="of the attack, in all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(f"sqlite:///{folder}/relumine.db")
        server.start()
        try:
            with attacker(attack, server.port, prepare) as run_attack:
                is_good = measure(server, run_attack, options.seconds, is_expected)
        finally:
            server.kill()
    raise SystemExit(0 if is_good else 1)
