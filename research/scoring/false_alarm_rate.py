"""The rate of false alarms by chance alone: simulated units whose rates never change, so that every alert is false.

    python -m research.scoring.false_alarm_rate [--runs N] [--seed N] [--fallen SHARE] [--settings N] [--steps N]

A setting is a layer's size, its rates, its batch, and the number of sampled steps. Each run is one layer, judged by the
real detector. Printed per setting:

- alerts per run and runs alarmed (compare policy.alpha), both with 95 % intervals;
- units that were ever classified as dying or dead, per run (beside the J·T·exp(-nats) that a test at every sampled step
  allows);
- the price of few false alarms: after 30 % of the units fell from a rate of 0.2 to 0, the median examples (or
  positions) until such a unit is classified, until the layer has an alert (``info`` is enough), and until it is warned
  of. Only silence and pre-activations indicate that fall: no learning rate, no update.

The least possible delay, for a test that knows the rate and the correlation of positions, is ln(J·T/alpha) over the
nats of one silent example; for a single unit tested once, ln(1/alpha). Both are rounded up to whole records.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy
from research.scoring.alarms import alarms_of
from research.scoring.intervals import binomial_interval, poisson_interval
from research.scoring.simulated import Floats, Sampling, Simulation

Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
DrawRates: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Floats]

RATE_BEFORE_FALL = 0.2
RECORDS_BEFORE_FALL = 60
MAX_RECORDS_AFTER_FALL = 100
NARROW = 64
MIN_RUNS = 4
POLICY = Policy()


def _log_uniform(low: float, high: float) -> DrawRates:
    return lambda random, shape: np.exp(random.uniform(math.log(low), math.log(high), shape))


def _tenth_is_rare(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    rates = random.uniform(0.2, 0.8, shape)
    rates[:, : max(1, shape[1] // 10)] = 0.001
    return rates


RATES: dict[str, DrawRates] = {
    "dense 0.2–0.8": lambda random, shape: random.uniform(0.2, 0.8, shape),
    "sparse 0.01–0.1": _log_uniform(0.01, 0.1),
    "all 0.002": lambda _random, shape: np.full(shape, 0.002),
    "all 0.0005": lambda _random, shape: np.full(shape, 0.0005),
    "a tenth at 0.001": _tenth_is_rare,
    "wide 0.001–0.8": _log_uniform(0.001, 0.8),
}


@dataclass(frozen=True)
class Setting:
    """A layer, its sampling, and the number of records."""

    units: int
    rates: str
    sampling: Sampling
    records: int = 400


PIXELS = {"batch": 8, "positions": 49}
HARD = ("sparse 0.01–0.1", "a tenth at 0.001", "wide 0.001–0.8")
DENSE_AND_WIDE = ("dense 0.2–0.8", "wide 0.001–0.8")
DENSE_AND_SPARSE = ("dense 0.2–0.8", "sparse 0.01–0.1")
SETTINGS = (
    *(Setting(64, rates, Sampling(batch=32)) for rates in RATES),
    *(Setting(512, rates, Sampling(batch=32), records=200) for rates in HARD),
    *(Setting(64, rates, Sampling(batch=4), records=600) for rates in DENSE_AND_WIDE),
    *(Setting(64, rates, Sampling(batch=128), records=600) for rates in HARD),
    Setting(512, "wide 0.001–0.8", Sampling(batch=128)),
    *(Setting(64, rates, Sampling(batch=32, every=1), records=600) for rates in DENSE_AND_SPARSE),
    *(Setting(64, rates, Sampling(batch=32, merged=10), records=200) for rates in DENSE_AND_WIDE),
    *(Setting(64, rates, Sampling(correlation=0.02, **PIXELS), records=200) for rates in HARD),
    *(Setting(64, rates, Sampling(correlation=0.05, **PIXELS), records=200) for rates in RATES),
    Setting(512, "wide 0.001–0.8", Sampling(correlation=0.05, **PIXELS), records=200),
    Setting(64, "wide 0.001–0.8", Sampling(correlation=0.05, merged=4, **PIXELS), records=100),
)


@dataclass(frozen=True)
class Outcome:
    """Counts over ``runs`` healthy runs: alerts, runs with any, units ever dying or dead, units ever dead."""

    runs: int
    alerts: int
    alarmed: int
    dying: int
    dead: int


@dataclass(frozen=True)
class Delay:
    """Median delays after a fall, in the unit that a record counts; infinite if half never got there."""

    classified: float
    alerted: float
    warned: float


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=100, help="of 64 units; three quarters of them for 512")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--fallen", type=float, default=0.3, help="share of the units that fall; default 0.3")
    options.add_argument("--settings", type=int, default=len(SETTINGS), help="use only the first so many")
    options.add_argument("--steps", type=int, help="use at most so many records in every setting")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per setting."""
    options = parser().parse_args(arguments)
    start = time.perf_counter()
    _print_heads()
    for index, setting in enumerate(SETTINGS[: options.settings]):
        if options.steps is not None:
            setting = replace(setting, records=min(setting.records, options.steps))  # noqa: PLW2901 - a shorter one
        runs = max(MIN_RUNS, options.runs if setting.units <= NARROW else options.runs * 3 // 4)
        seed = 1000 * options.seed + 2 * index
        outcome = simulate_healthy(setting, runs, seed)
        delay = simulate_fall(setting, max(MIN_RUNS, runs // 5), seed + 1, options.fallen)
        _print_setting(setting, outcome, delay)
    print(f"{time.perf_counter() - start:.0f} s")


def simulate_healthy(setting: Setting, runs: int, seed: int) -> Outcome:
    """Judge ``runs`` healthy runs."""
    random = np.random.default_rng(seed)
    simulation = Simulation(RATES[setting.rates](random, (runs, setting.units)), setting.sampling, seed)
    state = detection_state.describe(detection_state.empty(), simulation.layers)
    findings = []
    dying = np.zeros((runs, setting.units), bool)
    dead = np.zeros((runs, setting.units), bool)
    for _ in range(setting.records):
        state, _readings, new_findings = detector.advance(state, list(simulation.next_records()), POLICY)
        findings += new_findings
        dying |= _is_dying_or_dead(state, runs)
        dead |= _codes(state, runs) == detection_state.DEAD
    alarms = [alarm for alarm in alarms_of(findings) if not alarm.is_info]
    alarmed = {alarm.layer_id for alarm in alarms}
    return Outcome(runs, len(alarms), len(alarmed), int(dying.sum()), int(dead.sum()))


def simulate_fall(setting: Setting, runs: int, seed: int, fallen: float) -> Delay:
    """Judge ``runs`` runs of which the share ``fallen`` of the units falls silent."""
    random = np.random.default_rng(seed)
    rates = RATES[setting.rates](random, (runs, setting.units))
    falling = random.permuted(np.arange(setting.units) < fallen * setting.units + np.zeros((runs, 1)), axis=1)
    simulation = Simulation(np.where(falling, RATE_BEFORE_FALL, rates), setting.sampling, seed)
    state = detection_state.describe(detection_state.empty(), simulation.layers)
    for _ in range(RECORDS_BEFORE_FALL):
        state, _readings, _findings = detector.advance(state, list(simulation.next_records()), POLICY)

    simulation.set_rates(np.where(falling, 0.0, rates))
    falling &= _codes(state, runs) == detection_state.ALIVE
    classified = np.full((runs, setting.units), np.inf)
    alerted = np.full(runs, np.inf)
    warned = np.full(runs, np.inf)
    for record in range(1, MAX_RECORDS_AFTER_FALL + 1):
        state, _readings, findings = detector.advance(state, list(simulation.next_records()), POLICY)
        delay = float(record * setting.sampling.counted)
        raised = [finding for finding in findings if finding.transition != "resolved"]
        _set_first(classified, _is_dying_or_dead(state, runs), delay)
        _set_first(alerted, [finding.layer_id - 1 for finding in raised], delay)
        _set_first(warned, [finding.layer_id - 1 for finding in raised if finding.severity != "info"], delay)
        if np.isfinite(classified[falling]).all() and np.isfinite(warned).all():
            break
    return Delay(float(np.median(classified[falling])), float(np.median(alerted)), float(np.median(warned)))


def _set_first(delays: Floats, which: Any, delay: float) -> None:
    """Set the delays that are not set yet."""
    delays[which] = np.minimum(delays[which], delay)


def _codes(state: detection_state.DetectorState, runs: int) -> Floats:
    """Return the codes of all units, shape (runs, units); a unit lost at the baseline keeps its code."""
    codes: Floats = np.mod(state.units[detection_state.CODE], detection_state.BASELINE_OFFSET).reshape(runs, -1)
    return codes


def _is_dying_or_dead(state: detection_state.DetectorState, runs: int) -> Flags:
    flags: Flags = np.isin(_codes(state, runs), (detection_state.DYING, detection_state.DEAD))
    return flags


def least_delay(setting: Setting, tests: int) -> float:
    """Return the examples or positions that any test needs that errs once in 1/alpha times in ``tests`` tests."""
    needed = math.log(tests / POLICY.alpha) / setting.sampling.silence_nats(RATE_BEFORE_FALL)
    return math.ceil(needed / setting.sampling.counted) * setting.sampling.counted


def _print_heads() -> None:
    print(f"alpha {POLICY.alpha}, early tier {POLICY.nats} nats, strict tier {POLICY.nats_strict} nats")
    false = "false"
    units = "units per run"
    fall = "delay after the fall to 0"
    print(f"{'':58s}|{false:>27s}{'':>17s} |{units:^34s}|{fall:^46s}")
    print(f"{'units  rates             a record counts          records':58s}|  runs   alerts per run", end="")
    print(f"{'runs alarmed':>20s} | ever dying  J·T·e^-nats  ever dead |   unit   least  (one)  alert  warned  counted")


def _print_setting(setting: Setting, outcome: Outcome, delay: Delay) -> None:
    runs = outcome.runs
    tests = setting.units * setting.records
    allowed = min(tests * math.exp(-POLICY.nats), setting.units)
    low, high = poisson_interval(outcome.alerts)
    low_share, high_share = binomial_interval(outcome.alarmed, runs)
    least = least_delay(setting, tests)
    least_of_one = least_delay(setting, 1)
    print(
        f"{setting.units:5d}  {setting.rates:18s}{_describe(setting.sampling):25s}{setting.records:6d} |"
        f"{runs:6d}  {outcome.alerts / runs:5.2f} [{low / runs:.2f} {high / runs:.2f}]"
        f"   {outcome.alarmed / runs:5.2f} [{low_share:.2f} {high_share:.2f}] |"
        f"{outcome.dying / runs:11.2f}{allowed:13.2f}{outcome.dead / runs:11.2f} |"
        f"{delay.classified:7.0f}{least:8.0f}{least_of_one:7.0f}{delay.alerted:7.0f}{delay.warned:8.0f}"
        f"  {'positions' if setting.sampling.positions > 1 else 'examples'}",
        flush=True,
    )


def _describe(sampling: Sampling) -> str:
    parts = [f"{sampling.batch}×{sampling.positions}" if sampling.positions > 1 else f"{sampling.batch}"]
    if sampling.correlation:
        parts.append(f"ICC {sampling.correlation}")
    if sampling.merged > 1:
        parts.append(f"{sampling.merged} merged")
    if sampling.every == 1:
        parts.append("each step")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
