"""The worth of forecasts: the step at which half of a layer will be dead, as an alert states it, against the truth.

    python -m research.scoring.forecasts [--split tune|heldout_1] [--from DIR] [--seeds N] [--why TEXT]

An alert is each ``dying`` that is raised or changed; its outcome is the collapse of that layer, or never. Alerts after
the collapse are left out, and runs that diverge. Coverage is how often the collapse was within the stated 80 %
interval; a layer that never collapsed counts as not covered. The chance of a collapse within H steps is read from the
interval: log-normal around the stated step, with the lower and the upper half as wide as stated, times the forecast's
``chance`` that it comes at all (1 unless it states one). Its Brier score is compared to that of the base rate: the
share of dying alerts whose layer collapsed within H, over all other recipes. Only alerts after which the run went on
for H steps are scored, whatever happened. Skill is 1 - score / score of the base rate, with a 95 % interval over
recipes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Any, TypeAlias

import numpy as np

from relumine_server.detection.findings import Forecast
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay
from research import cli
from research.corpus.cases import Case
from research.corpus.run_store import Run

HORIZONS = (50, 100, 200)
TENTH = NormalDist().inv_cdf(0.9)
"""Standard deviations from the middle of a normal distribution to either end of its 80 % interval."""
RESAMPLES = 1000

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class DyingAlert:
    """A dying alert. ``outcome`` is the step of the collapse, or None; ``end`` is the run's last step."""

    step: int
    forecast: Forecast | None
    outcome: int | None
    end: int
    recipe: str

    def collapses_within(self, steps: int) -> bool:
        """Return whether the layer collapsed within so many steps."""
        return self.outcome is not None and self.outcome - self.step <= steps


@dataclass(frozen=True)
class Interval:
    """The interval of a forecast beside the collapse it is about."""

    low: float
    high: float
    collapse: int
    raised_at: int

    @property
    def covers(self) -> bool:
        """True if the collapse was within the interval."""
        return self.low <= self.collapse <= self.high

    @property
    def relative_width(self) -> float:
        """Width as a multiple of the time to the collapse."""
        return (self.high - self.low) / (self.collapse - self.raised_at)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return cli.corpus_parser(__doc__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print coverage, width and Brier scores."""
    namespace = cli.parse(parser(), arguments)
    alerts = [alert for run, case in cli.load_pairs(namespace) for alert in dying_alerts(run, case)]
    early = [alert for alert in alerts if alert.outcome is None or alert.outcome > alert.step]
    print(f"{len(alerts)} dying alerts, {len(alerts) - len(early)} of them after the collapse and left out")
    for line in report(early):
        print(line)


def dying_alerts(run: Run, case: Case, policy: Policy | None = None) -> Iterator[DyingAlert]:
    """Yield the dying alerts of a run with their outcomes; none of a run that diverged."""
    if run.diverged:
        return
    _readings, findings = replay(run.infos(), run.records(), policy or Policy())
    for finding in findings:
        if finding.kind == "dying" and finding.transition in ("raised", "changed"):
            outcome = case.collapses.get(finding.layer_id)
            yield DyingAlert(finding.step, finding.forecast, outcome, run.truth.steps[-1], run.recipe.base)


def report(alerts: Sequence[DyingAlert]) -> Iterator[str]:
    """Yield the lines of the table on alerts that were raised before any collapse of their layer."""
    with_forecast = [alert for alert in alerts if alert.forecast is not None]
    intervals = _intervals(with_forecast)
    collapsing = sum(alert.outcome is not None for alert in alerts)
    covered = sum(interval.covers for interval in intervals)
    yield f"with a forecast: {_share(len(with_forecast), len(alerts))}"
    yield f"  of alerts whose layer collapses: {_share(len(intervals), collapsing)}"
    yield f"80 % interval covers: {_share(covered, len(with_forecast))}"
    yield f"  of layers that collapse: {_share(covered, len(intervals))}"
    if intervals:
        earlier = sum(interval.collapse < interval.low for interval in intervals)
        later = sum(interval.collapse > interval.high for interval in intervals)
        never = len(with_forecast) - len(intervals)
        width = median(interval.relative_width for interval in intervals)
        yield f"  collapsed before the interval {earlier}, after it {later}, never {never}"
        yield f"  its width / time to collapse, median: {width:.2f}"
    yield f"{'Brier score within':24s}alerts  came true   forecast  base rate   skill"
    for steps in HORIZONS:
        yield _brier_line(alerts, steps)


def _intervals(alerts: Sequence[DyingAlert]) -> list[Interval]:
    """Return the stated intervals of alerts whose layer collapsed."""
    return [
        Interval(alert.forecast.low, alert.forecast.high, alert.outcome, alert.step)
        for alert in alerts
        if alert.forecast is not None and alert.outcome is not None
    ]


def chance_within(forecast: Forecast, step: int, steps: int) -> float:
    """Return the chance that half of the layer is dead within ``steps`` after ``step``."""
    low, middle, high = (math.log(max(t - step, 0.5)) for t in (forecast.low, forecast.step, forecast.high))
    distance = math.log(steps) - middle
    half_width = high - middle if distance > 0 else middle - low
    sigma = max(half_width, 1e-6) / TENTH
    return float(getattr(forecast, "chance", 1.0)) * NormalDist().cdf(distance / sigma)


def base_rates(alerts: Sequence[DyingAlert], steps: int) -> list[float]:
    """Return for each alert the share of alerts of all other recipes that collapsed within so many steps."""
    collapsed = sum(alert.collapses_within(steps) for alert in alerts)
    collapsed_of: dict[str, int] = {}
    count_of: dict[str, int] = {}
    for alert in alerts:
        collapsed_of[alert.recipe] = collapsed_of.get(alert.recipe, 0) + alert.collapses_within(steps)
        count_of[alert.recipe] = count_of.get(alert.recipe, 0) + 1
    rates = []
    for alert in alerts:
        others = len(alerts) - count_of[alert.recipe]
        rates.append((collapsed - collapsed_of[alert.recipe]) / max(others, 1))
    return rates


def _brier_line(alerts: Sequence[DyingAlert], steps: int) -> str:
    """Return a line; base rates are of all alerts, scores of those with a forecast."""
    observed = [alert for alert in alerts if alert.end >= alert.step + steps]
    scored = []
    for alert, base_rate in zip(observed, base_rates(observed, steps), strict=True):
        if alert.forecast is not None:
            scored.append((alert, chance_within(alert.forecast, alert.step, steps), base_rate))
    if not scored:
        return f"  {steps:4d} steps            {0:8d}"
    outcomes = np.array([alert.collapses_within(steps) for alert, _, _ in scored], float)
    forecast = (np.array([chance for _, chance, _ in scored]) - outcomes) ** 2
    baseline = (np.array([base_rate for _, _, base_rate in scored]) - outcomes) ** 2
    low, high = _skill_interval([alert.recipe for alert, _, _ in scored], forecast, baseline)
    return (
        f"  {steps:4d} steps            {len(scored):8d}{outcomes.mean():11.2f}{forecast.mean():11.3f}"
        f"{baseline.mean():11.3f}{_skill(forecast, baseline):8.2f} [{low:.2f} {high:.2f}]"
    )


def _skill(forecast: Floats, baseline: Floats) -> float:
    return float(1 - forecast.sum() / baseline.sum()) if baseline.sum() else math.nan


def _skill_interval(recipes: Sequence[str], forecast: Floats, baseline: Floats) -> tuple[float, float]:
    """Return the 95 % interval of the skill by resampling recipes."""
    names = sorted(set(recipes))
    recipe_of = np.array([names.index(name) for name in recipes])
    sums = np.stack([np.bincount(recipe_of, errors, len(names)) for errors in (forecast, baseline)])
    random = np.random.default_rng(0)
    draws = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES) @ sums.T
    is_defined = draws[:, 1] > 0
    skills = 1 - draws[is_defined, 0] / draws[is_defined, 1]
    if not skills.size:
        return math.nan, math.nan
    low, high = np.percentile(skills, [2.5, 97.5]).tolist()
    return low, high


def _share(part: int, total: int) -> str:
    return f"{part / total:.2f} ({part} of {total})" if total else "none"


if __name__ == "__main__":
    main()
