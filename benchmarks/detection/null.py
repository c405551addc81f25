"""How often chance alone alarms: simulated units whose rates never change, so that every alert is a false one.

    python benchmarks/detection/null.py [--runs N] [--seed N] [--fallen SHARE]

A setting is a layer's size, its rates, its batch, and how many looks there are. Each run is one layer, folded by the
real detector. Printed per setting: alerts per run and runs alarmed (beside policy.alpha), both with 95 % intervals;
units that were ever coded dying or dead, per run (beside what J·T·exp(-nats) allows, a test at every look); and what
that calm costs: after 30 % of the units fell from a rate of 0.2 to 0, the median examples (or positions) until such a
unit is coded, until the layer is told of (``info`` is enough), and until it is warned of. Nothing but their silence
and their pre-activations speaks of that fall: no learning rate, no update.

The least possible, for someone who knows the rate and how positions go together, is ln(J·T/alpha) over the nats of one
silent example; for a single unit asked once, ln(1/alpha). Both are rounded up to whole records: nobody knows earlier.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from alarms import alarms_of
from rarities import binomial_interval, poisson_interval
from simulated import Floats, Look, Simulation

from relumine_server.detection import onset
from relumine_server.detection import state as st
from relumine_server.detection.policy import Policy

Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Rates: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Floats]

FROM = 0.2
"""The rate from which units fall to none …"""
AFTER = 60
"""… after so many looks; no longer than ``PATIENCE`` looks are waited for."""
PATIENCE = 100
POLICY = Policy()


def _log_uniform(low: float, high: float) -> Rates:
    return lambda random, shape: np.exp(random.uniform(math.log(low), math.log(high), shape))


def _rare_tenth(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    rates = random.uniform(0.2, 0.8, shape)
    rates[:, : max(1, shape[1] // 10)] = 0.001
    return rates


KINDS: dict[str, Rates] = {
    "dense 0.2–0.8": lambda random, shape: random.uniform(0.2, 0.8, shape),
    "sparse 0.01–0.1": _log_uniform(0.01, 0.1),
    "all 0.002": lambda _random, shape: np.full(shape, 0.002),
    "all 0.0005": lambda _random, shape: np.full(shape, 0.0005),
    "a tenth at 0.001": _rare_tenth,
    "wide 0.001–0.8": _log_uniform(0.001, 0.8),
}


@dataclass(frozen=True)
class Setting:
    """A layer, its looks, and how many of them."""

    units: int
    rates: str
    look: Look
    looks: int = 400


PIXELS = {"batch": 8, "positions": 49}
HARD = ("sparse 0.01–0.1", "a tenth at 0.001", "wide 0.001–0.8")
SETTINGS = (
    *(Setting(64, rates, Look(batch=32)) for rates in KINDS),
    *(Setting(512, rates, Look(batch=32), looks=200) for rates in HARD),
    *(Setting(64, rates, Look(batch=4), looks=600) for rates in ("dense 0.2–0.8", "wide 0.001–0.8")),
    *(Setting(64, rates, Look(batch=128), looks=600) for rates in HARD),
    Setting(512, "wide 0.001–0.8", Look(batch=128)),
    *(Setting(64, rates, Look(batch=32, every=1), looks=600) for rates in ("dense 0.2–0.8", "sparse 0.01–0.1")),
    *(Setting(64, rates, Look(batch=32, merged=10), looks=200) for rates in ("dense 0.2–0.8", "wide 0.001–0.8")),
    *(
        Setting(64, rates, Look(correlation=correlation, **PIXELS), looks=200)
        for correlation, kinds in ((0.02, HARD), (0.05, KINDS))
        for rates in kinds
    ),
    Setting(512, "wide 0.001–0.8", Look(correlation=0.05, **PIXELS), looks=200),
    Setting(64, "wide 0.001–0.8", Look(correlation=0.05, merged=4, **PIXELS), looks=100),
)


@dataclass(frozen=True)
class Outcome:
    """Of ``runs`` runs: alerts, runs with any, units ever coded dying or beyond, units ever coded dead."""

    runs: int
    alerts: int
    alarmed: int
    dying: int
    dead: int


@dataclass(frozen=True)
class Delay:
    """Medians in what a record counts; infinite where half were never told."""

    unit: float
    told: float
    warned: float


def main() -> None:
    """Print a line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="of 64 units; three quarters of them for 512")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fallen", type=float, default=0.3, help="share of the units that fall; default 0.3")
    arguments = parser.parse_args()
    began = time.perf_counter()
    print(f"alpha {POLICY.alpha}, early tier {POLICY.nats} nats, strict tier {POLICY.nats_strict} nats")
    print(f"{'':58s}|{'false':>27s}{'':>17s} |{'units per run':^34s}|{'delay after the fall to 0':^46s}")
    print(f"{'units  rates             a record counts           looks':58s}|  runs   alerts per run"
          f"{'runs alarmed':>20s} | ever dying  J·T·e^-nats  ever dead |   unit   least  (one)   told  warned  counted"
    )  # fmt: skip
    for place, setting in enumerate(SETTINGS):
        runs = max(4, arguments.runs if setting.units <= 64 else arguments.runs * 3 // 4)
        seed = 1000 * arguments.seed + 2 * place
        _show(setting, healthy(setting, runs, seed), delay(setting, max(4, runs // 5), seed + 1, arguments.fallen))
    print(f"{time.perf_counter() - began:.0f} s")


def healthy(setting: Setting, runs: int, seed: int) -> Outcome:
    """Fold ``runs`` healthy runs."""
    random = np.random.default_rng(seed)
    simulation = Simulation(KINDS[setting.rates](random, (runs, setting.units)), setting.look, seed)
    state = st.describe(st.empty(), simulation.layers)
    told = []
    dying, dead = np.zeros((2, runs, setting.units), bool)
    for _ in range(setting.looks):
        state, _readings, findings = onset.advance(state, list(simulation.look()), POLICY)
        told += findings
        dying |= _is_lost(state, runs)
        dead |= _codes(state, runs) == st.DEAD
    alerts = [alarm for alarm in alarms_of(told) if not alarm.is_info]
    return Outcome(runs, len(alerts), len({a.layer_id for a in alerts}), int(dying.sum()), int(dead.sum()))


def delay(setting: Setting, runs: int, seed: int, fallen: float) -> Delay:
    """Fold ``runs`` runs of which the share ``fallen`` of the units falls silent."""
    random = np.random.default_rng(seed)
    rates = KINDS[setting.rates](random, (runs, setting.units))
    falling = random.permuted(np.arange(setting.units) < fallen * setting.units + np.zeros((runs, 1)), axis=1)
    simulation = Simulation(np.where(falling, FROM, rates), setting.look, seed)
    state = st.describe(st.empty(), simulation.layers)
    units, (told, warned) = np.full((runs, setting.units), np.inf), np.full((2, runs), np.inf)
    for place in range(AFTER + PATIENCE):
        if place == AFTER:
            simulation.set_rates(np.where(falling, 0.0, rates))
            falling &= _codes(state, runs) == st.ALIVE
        state, _readings, findings = onset.advance(state, list(simulation.look()), POLICY)
        if place >= AFTER:
            waited = float((place - AFTER + 1) * setting.look.counted)
            _first(units, _is_lost(state, runs), waited)
            spoken = [f for f in findings if f.transition != "resolved"]
            _first(told, [f.layer_id - 1 for f in spoken], waited)
            _first(warned, [f.layer_id - 1 for f in spoken if f.severity != "info"], waited)
            if np.isfinite(units[falling]).all() and np.isfinite(warned).all():
                break
    return Delay(float(np.median(units[falling])), float(np.median(told)), float(np.median(warned)))


def _first(known: Floats, places: Any, now: float) -> None:
    known[places] = np.minimum(known[places], now)


def _codes(state: st.DetectorState, runs: int) -> Floats:
    """Present codes of all units, shape (runs, units): what is counted as of the baseline keeps its code."""
    codes: Floats = np.mod(state.units[st.CODE], st.EXCLUDED).reshape(runs, -1)
    return codes


def _is_lost(state: st.DetectorState, runs: int) -> Flags:
    lost: Flags = np.isin(_codes(state, runs), (st.DYING, st.DEAD))
    return lost


def least(setting: Setting, tests: int) -> float:
    """Examples or positions that nobody can do without who may be wrong once in 1/alpha times in ``tests`` tests."""
    needed = math.log(tests / POLICY.alpha) / setting.look.silence_nats(FROM)
    return math.ceil(needed / setting.look.counted) * setting.look.counted


def _show(setting: Setting, outcome: Outcome, late: Delay) -> None:
    tests = setting.units * setting.looks
    allowed = min(tests * math.exp(-POLICY.nats), setting.units)
    low, high = (bound / outcome.runs for bound in poisson_interval(outcome.alerts))
    few, many = binomial_interval(outcome.alarmed, outcome.runs)
    print(
        f"{setting.units:5d}  {setting.rates:18s}{_counted(setting.look):25s}{setting.looks:6d} |"
        f"{outcome.runs:6d}  {outcome.alerts / outcome.runs:5.2f} [{low:.2f} {high:.2f}]"
        f"   {outcome.alarmed / outcome.runs:5.2f} [{few:.2f} {many:.2f}] |"
        f"{outcome.dying / outcome.runs:11.2f}{allowed:13.2f}{outcome.dead / outcome.runs:11.2f} |"
        f"{late.unit:7.0f}{least(setting, tests):8.0f}{least(setting, 1):7.0f}{late.told:7.0f}{late.warned:8.0f}"
        f"  {'positions' if setting.look.positions > 1 else 'examples'}",
        flush=True,
    )


def _counted(look: Look) -> str:
    base = f"{look.batch}×{look.positions}" if look.positions > 1 else f"{look.batch}"
    marks = [f"ICC {look.correlation}"] * bool(look.correlation) + [f"{look.merged} merged"] * (look.merged > 1)
    return ", ".join([base, *marks, *["each step"] * (look.every == 1)])


if __name__ == "__main__":
    main()
