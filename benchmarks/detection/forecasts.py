"""What forecasts are worth: when half of a layer will be dead, as stated with an alert, against when it was.

    python benchmarks/detection/forecasts.py [--half tune|report] [--from DIR] [--seeds N] [--why TEXT]

An alert is each ``dying`` that is raised or changed; its outcome is the collapse of that layer (``cases``), or never.
Alerts after the collapse are left out, and runs that diverge. Coverage: how often the collapse fell into the stated
80 % interval; a layer that never collapsed counts as not covered. The chance of a collapse within H steps is read
from the interval: log-normal around the stated step, with the lower and the upper half as wide as stated, times the
forecast's ``chance`` that it comes at all (1 unless it states one). Its Brier score stands beside that of the base
rate: the share of dying alerts whose layer collapsed within H, over all other recipes. Only alerts after which the run
went on for H steps are scored, whatever came of them. Skill is 1 - score / score of the base rate, with a 95 %
interval over recipes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Any, TypeAlias

import commandline
import numpy as np
from cases import Case
from runs import Run

from relumine_server.detection.findings import Forecast
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay

HORIZONS = (50, 100, 200)
TENTH = NormalDist().inv_cdf(0.9)
"""An 80 % interval of a normal distribution reaches so many standard deviations to either side."""
RESAMPLES = 1000

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Alert:
    """A dying as it was told. ``outcome`` None: the layer never collapsed; ``end`` is the run's last step."""

    step: int
    forecast: Forecast | None
    outcome: int | None
    end: int
    recipe: str

    def is_within(self, steps: int) -> bool:
        """Whether the layer collapsed within so many steps."""
        return self.outcome is not None and self.outcome - self.step <= steps


def main() -> None:
    """Print coverage, width and Brier scores."""
    arguments = commandline.parsed(commandline.parser(__doc__))
    alerts = [alert for run, case in commandline.known(arguments) for alert in alerts_of(run, case)]
    ahead = [alert for alert in alerts if alert.outcome is None or alert.outcome > alert.step]
    print(f"{len(alerts)} dying alerts, {len(alerts) - len(ahead)} of them after the collapse and left out")
    for line in report(ahead):
        print(line)


def alerts_of(run: Run, case: Case, policy: Policy | None = None) -> Iterator[Alert]:
    """The dying alerts of a run, with what came of each; none of a run that diverged."""
    if run.diverged:
        return
    _readings, findings = replay(run.infos(), run.records(), policy or Policy())
    for found in findings:
        if found.kind == "dying" and found.transition in ("raised", "changed"):
            outcome = case.collapses.get(found.layer_id)
            yield Alert(found.step, found.forecast, outcome, run.truth.steps[-1], run.recipe.base)


def report(alerts: Sequence[Alert]) -> Iterator[str]:
    """The table; ``alerts`` are those raised before any collapse of their layer."""
    told = [alert for alert in alerts if alert.forecast is not None]
    collapsed = [alert for alert in told if alert.outcome is not None]
    yield f"with a forecast: {_share(len(told), len(alerts))}"
    yield f"  of alerts whose layer collapses: {_share(len(collapsed), sum(a.outcome is not None for a in alerts))}"
    covered = sum(_is_covered(alert) for alert in told)
    yield f"80 % interval covers: {_share(covered, len(told))}"
    yield f"  of layers that collapse: {_share(covered, len(collapsed))}"
    if collapsed:
        early, late = (sum(side) for side in zip(*map(_missed_by, collapsed), strict=True))
        yield f"  collapsed before the interval {early}, after it {late}, never {len(told) - len(collapsed)}"
        yield f"  its width / time to collapse, median: {median(map(_width, collapsed)):.2f}"
    yield f"{'Brier score within':24s}alerts  came true   forecast  base rate   skill"
    for steps in HORIZONS:
        yield _brier_line(alerts, steps)


def chance_within(forecast: Forecast, step: int, steps: int) -> float:
    """The chance that the half is dead within ``steps`` after ``step``."""
    low, middle, high = (math.log(max(t - step, 0.5)) for t in (forecast.low, forecast.step, forecast.high))
    apart = math.log(steps) - middle
    spread = max(high - middle if apart > 0 else middle - low, 1e-6) / TENTH
    return float(getattr(forecast, "chance", 1.0)) * NormalDist().cdf(apart / spread)


def base_rates(alerts: Sequence[Alert], steps: int) -> list[float]:
    """For each alert the share that collapsed within so many steps, among those of all other recipes."""
    came = [alert.is_within(steps) for alert in alerts]
    own = {name: [hit for a, hit in zip(alerts, came, strict=True) if a.recipe == name] for name in _recipes(alerts)}
    return [(sum(came) - sum(own[a.recipe])) / max(len(came) - len(own[a.recipe]), 1) for a in alerts]


def _brier_line(alerts: Sequence[Alert], steps: int) -> str:
    """Base rates come from all alerts, scores from those that carry a forecast."""
    seen = [alert for alert in alerts if alert.end >= alert.step + steps]
    pairs = [(a, a.forecast, base) for a, base in zip(seen, base_rates(seen, steps), strict=True) if a.forecast]
    if not pairs:
        return f"  {steps:4d} steps            {0:8d}"
    came = np.array([alert.is_within(steps) for alert, _forecast, _base in pairs], float)
    stated = np.array([chance_within(forecast, alert.step, steps) for alert, forecast, _base in pairs])
    usual = np.array([base for _alert, _forecast, base in pairs])
    own, other = (stated - came) ** 2, (usual - came) ** 2
    low, high = _interval([alert.recipe for alert, _forecast, _base in pairs], own, other)
    return (
        f"  {steps:4d} steps            {len(pairs):8d}{came.mean():11.2f}{own.mean():11.3f}{other.mean():11.3f}"
        f"{_skill(own, other):8.2f} [{low:.2f} {high:.2f}]"
    )


def _skill(own: Floats, other: Floats) -> float:
    return float(1 - own.sum() / other.sum()) if other.sum() else math.nan


def _interval(recipes: Sequence[str], own: Floats, other: Floats) -> tuple[float, float]:
    """Of the skill, by resampling recipes."""
    names = sorted(set(recipes))
    owner = np.array([names.index(name) for name in recipes])
    sums = np.stack([np.bincount(owner, values, len(names)) for values in (own, other)])
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES) @ sums.T
    again = 1 - drawn[drawn[:, 1] > 0, 0] / drawn[drawn[:, 1] > 0, 1]
    low, high = np.percentile(again, [2.5, 97.5]).tolist() if again.size else (math.nan, math.nan)
    return low, high


def _recipes(alerts: Sequence[Alert]) -> set[str]:
    return {alert.recipe for alert in alerts}


def _is_covered(alert: Alert) -> bool:
    told = alert.forecast
    return told is not None and alert.outcome is not None and told.low <= alert.outcome <= told.high


def _missed_by(alert: Alert) -> tuple[bool, bool]:
    """Whether the collapse came before the interval, and whether after it."""
    told = alert.forecast
    if told is None or alert.outcome is None:
        return False, False
    return alert.outcome < told.low, alert.outcome > told.high


def _width(alert: Alert) -> float:
    told = alert.forecast
    return math.nan if told is None or alert.outcome is None else (told.high - told.low) / (alert.outcome - alert.step)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f} ({part} of {whole})" if whole else "none"


if __name__ == "__main__":
    main()
