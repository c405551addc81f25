"""Judges a stream of alarms by the truth: one verdict per run, numbers over all of them, intervals over recipes.

A positive run is found by its first alarm that is not ``info``, was raised after the fault began and was not closed
long before the collapse; any other is false. It was in time if told before the collapse (onset), at most three looks
after it (abrupt: within ten steps of the fault) or at most ten (born dead). A collapse that cost nothing and was told
as ``info`` is neither found nor missed. Runs that diverge are judged apart; those whose truth is unclear not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from alarms import DEATHS, Alarm
from cases import Case

TIMELY_LOOKS = {"abrupt": 3, "born": 10}
LONG_BEFORE = 50
"""Steps, and a quarter of the way from fault to collapse: an alarm closed earlier than that was another story."""
SAME_LOOK = 10
"""Layers that collapse within so many steps collapse together."""
RESAMPLES = 1000
NAN = float("nan")

Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Verdict:
    """One run and what was said of it. ``false``: raised without need; of a run that diverged, all that was raised."""

    case: Case
    false: tuple[Alarm, ...]
    found: Alarm | None
    is_quiet: bool
    is_timely: bool = False
    lead: float = 0.0
    delay: int | None = None
    is_cause_right: bool = False
    is_layer_right: bool = False


def judge(case: Case, alarms: Sequence[Alarm]) -> Verdict:
    """The verdict on one stream of one run."""
    told = [alarm for alarm in alarms if not alarm.is_info]
    if not case.is_positive:
        return Verdict(case, tuple(told), None, is_quiet=False)
    false = tuple(alarm for alarm in told if _is_premature(case, alarm))
    valid = [alarm for alarm in told if alarm not in false and alarm.kind in DEATHS]
    if not valid:
        noted = any(a.is_info and a.kind in DEATHS and a.layer_id in case.collapses for a in alarms)
        return Verdict(case, false, None, is_quiet=noted and not case.harmful)
    return _judge_found(case, false, valid)


def _judge_found(case: Case, false: tuple[Alarm, ...], valid: list[Alarm]) -> Verdict:
    first = min(valid, key=lambda alarm: alarm.step)
    together = [alarm for alarm in valid if alarm.step == first.step]
    late = case.samples_after(case.collapse, first.step)
    ahead = max(case.collapse - first.step, 0)
    early = {layer for layer, step in case.collapses.items() if step <= case.collapse + SAME_LOOK}
    return Verdict(
        case,
        false,
        first,
        is_quiet=False,
        is_timely=late <= TIMELY_LOOKS.get(case.kind, 0),
        lead=ahead / max(case.collapse - case.at, 1),
        delay=late,
        is_cause_right=_is_cause_right(case, first),
        is_layer_right=any(alarm.layer_id in early for alarm in together),
    )


def _is_premature(case: Case, alarm: Alarm) -> bool:
    if alarm.step <= case.at:
        return True
    long_before = max(LONG_BEFORE, 0.25 * (case.collapse - case.at))
    return alarm.closed is not None and alarm.closed < case.collapse - long_before


def _is_cause_right(case: Case, alarm: Alarm) -> bool:
    """The recipe's cause; of a layer that collapsed behind one that already had, ``upstream_collapse`` too."""
    if alarm.cause == "upstream_collapse":
        own = case.collapses.get(alarm.layer_id)
        return own is not None and any(i < alarm.layer_id and step < own for i, step in case.collapses.items())
    return alarm.cause == case.recipe.cause


@dataclass(frozen=True)
class Ratio:
    """A share: the sum of ``part`` over the sum of ``whole``, both per run."""

    name: str
    part: Callable[[Verdict], float]
    whole: Callable[[Verdict], float]


@dataclass(frozen=True)
class Median:
    """The median over the runs for which ``value`` is a number."""

    name: str
    value: Callable[[Verdict], float | None]


Metric: TypeAlias = Ratio | Median


def _is_counted(v: Verdict) -> bool:
    return v.case.is_positive and not v.is_quiet


def _wrong(v: Verdict) -> bool:
    return bool(v.false) and (v.case.is_negative or v.case.is_positive)


def _missed(v: Verdict) -> bool:
    return _is_counted(v) and v.found is None


def _is_late(v: Verdict) -> bool:
    return _is_counted(v) and not v.is_timely


def _is_onset(v: Verdict, cause: str | None = None) -> bool:
    return _is_counted(v) and v.case.kind == "onset" and cause in (None, v.case.recipe.cause)


def _is_sparse(v: Verdict) -> bool:
    return v.case.recipe.sparse


def _is_harmless(v: Verdict) -> bool:
    return v.case.is_positive and not v.case.harmful and (v.is_quiet or v.found is not None)


def _found(v: Verdict) -> bool:
    return v.found is not None


def _names_cause(v: Verdict) -> bool:
    return v.found is not None and v.found.cause is not None


RATE = "high_learning_rate"
HEADLINES: tuple[Metric, ...] = (
    Ratio("precision", _found, lambda v: _found(v) + _wrong(v)),
    Ratio("recall", _found, _is_counted),
    Ratio("F1", lambda v: 2 * _found(v), lambda v: 2 * _found(v) + _wrong(v) + _missed(v)),
    Ratio("timely F1", lambda v: 2 * v.is_timely, lambda v: 2 * v.is_timely + _wrong(v) + _is_late(v)),
    Ratio("onset: warned before", lambda v: _is_onset(v) and v.is_timely, _is_onset),
    Ratio("  of high rates", lambda v: _is_onset(v, RATE) and v.is_timely, lambda v: _is_onset(v, RATE)),
    Median("onset: lead / time to collapse", lambda v: v.lead if _is_onset(v) else None),
    Ratio("healthy runs alarmed", lambda v: v.case.kind == "healthy" and _wrong(v), lambda v: v.case.kind == "healthy"),
    Ratio("twins alarmed", lambda v: v.case.kind == "twin" and _wrong(v), lambda v: v.case.kind == "twin"),
    Ratio("episodes per healthy run", lambda v: len(v.false) * (v.case.kind == "healthy"),
          lambda v: v.case.kind == "healthy"),
    Ratio("sparse nets: precision", lambda v: _is_sparse(v) and _found(v),
          lambda v: _is_sparse(v) * (_found(v) + _wrong(v))),
    Ratio("sparse nets: timely recall", lambda v: _is_sparse(v) and v.is_timely,
          lambda v: _is_sparse(v) and _is_counted(v)),
    Ratio("cause right", lambda v: _found(v) and v.is_cause_right, _names_cause),
    Ratio("first collapsing layer named", lambda v: _found(v) and v.is_layer_right, _found),
    Median("abrupt: delay in looks", lambda v: v.delay if v.case.kind == "abrupt" else None),
    Median("born dead: delay in looks", lambda v: v.delay if v.case.kind == "born" else None),
    Ratio("harmless deaths told as info", lambda v: _is_harmless(v) and v.is_quiet, _is_harmless),
    Ratio("harmful ones only: recall", lambda v: v.case.harmful and _found(v),
          lambda v: v.case.harmful and v.case.is_positive),
    Ratio("divergence told as such", lambda v: v.case.kind == "diverged" and any(a.kind == "diverged" for a in v.false),
          lambda v: v.case.kind == "diverged"),
)  # fmt: skip


def most_common_cause(verdicts: Sequence[Verdict]) -> Ratio:
    """How often one is right who always names the most common cause."""
    causes = Counter(v.case.recipe.cause for v in verdicts if v.case.is_positive)
    most = causes.most_common(1)[0][0] if causes else None
    return Ratio("  always the most common", lambda v: _names_cause(v) and v.case.recipe.cause == most, _names_cause)


@dataclass(frozen=True)
class Score:
    """A number and its 95 % interval; NaN where there is nothing to count."""

    name: str
    value: float
    low: float
    high: float


def scores(verdicts: Sequence[Verdict], metrics: Sequence[Metric], seed: int = 0) -> list[Score]:
    """Every metric over all runs, with intervals by resampling recipes: runs of one recipe are alike."""
    names = sorted({v.case.recipe.base for v in verdicts})
    place = {name: i for i, name in enumerate(names)}
    owner = np.array([place[v.case.recipe.base] for v in verdicts])
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    return [_score(metric, verdicts, owner, drawn) for metric in metrics]


def _score(metric: Metric, verdicts: Sequence[Verdict], owner: Counts, drawn: Counts) -> Score:
    """``owner`` (runs,) is the place of each run's recipe, ``drawn`` (resamples, recipes) how often each was drawn."""
    value, again = (_median if isinstance(metric, Median) else _ratio)(metric, verdicts, owner, drawn)  # type: ignore[arg-type]
    low, high = np.percentile(again, [2.5, 97.5]).tolist() if len(again) else (NAN, NAN)
    return Score(metric.name, value, low, high)


def _median(metric: Median, verdicts: Sequence[Verdict], owner: Counts, drawn: Counts) -> tuple[float, Sequence[float]]:
    values = [metric.value(v) for v in verdicts]
    known = np.array([value is not None for value in values])
    numbers = np.array([value for value in values if value is not None], float)
    if not numbers.size:
        return NAN, []
    many = (np.repeat(numbers, row[owner[known]]) for row in drawn)
    return float(np.median(numbers)), [float(np.median(some)) for some in many if some.size]


def _ratio(metric: Ratio, verdicts: Sequence[Verdict], owner: Counts, drawn: Counts) -> tuple[float, Sequence[float]]:
    parts, wholes = (
        np.bincount(owner, [float(of(v)) for v in verdicts], drawn.shape[1]) for of in (metric.part, metric.whole)
    )
    if not wholes.sum():
        return NAN, []
    below = drawn @ wholes
    return float(parts.sum() / wholes.sum()), ((drawn @ parts)[below > 0] / below[below > 0]).tolist()
