"""The verdict on the alarms of one run, and scores over all runs with intervals over recipes.

A positive run is found by its first alarm that is not ``info``, was raised after the fault began and was not resolved
long before the collapse; any other alarm is false. The alarm was in time if it was raised before the collapse (onset),
at most three sampled steps after it (abrupt: within ten steps of the fault) or at most ten (born dead). A harmless
collapse that was reported as ``info`` is neither found nor missed. Runs that diverge are scored apart; runs with an
unclear ground truth are not scored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from research.corpus.cases import Case
from research.scoring.alarms import DEATHS, Alarm

MAX_DELAY = {"abrupt": 3, "born_dead": 10}
"""Sampled steps from the collapse to an alarm that is in time, by the kind of case; 0 for all others."""
LONG_BEFORE_STEPS = 50
LONG_BEFORE_SHARE = 0.25
"""Steps, and share of the way from fault to collapse: an alarm resolved earlier than both is unrelated to it."""
SAME_TIME = 10
"""Layers that collapse within so many steps collapse together."""
RESAMPLES = 1000

Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Verdict:
    """The verdict on one run. ``alarm`` is the one that found it, if there is one.

    ``false`` are alarms without need; of a run that diverged, all its alarms. ``lead`` is a share of the time from
    fault to collapse, ``delay`` counts sampled steps after the collapse.
    """

    case: Case
    false: tuple[Alarm, ...]
    alarm: Alarm | None
    is_quiet: bool
    is_timely: bool = False
    lead: float = 0.0
    delay: int | None = None
    is_cause_right: bool = False
    is_layer_right: bool = False


def judge(case: Case, alarms: Sequence[Alarm]) -> Verdict:
    """Return the verdict on the alarms of one run."""
    raised = [alarm for alarm in alarms if not alarm.is_info]
    if not case.is_positive:
        return Verdict(case, tuple(raised), None, is_quiet=False)
    false = tuple(alarm for alarm in raised if _is_premature(case, alarm))
    valid = [alarm for alarm in raised if alarm not in false and alarm.kind in DEATHS]
    if valid:
        return _judge_found(case, false, valid)
    infos = [alarm for alarm in alarms if alarm.is_info and alarm.kind in DEATHS]
    is_reported = any(alarm.layer_id in case.collapses for alarm in infos)
    return Verdict(case, false, None, is_quiet=is_reported and not case.is_harmful)


def _judge_found(case: Case, false: tuple[Alarm, ...], valid: list[Alarm]) -> Verdict:
    first = min(valid, key=lambda alarm: alarm.step)
    simultaneous = [alarm for alarm in valid if alarm.step == first.step]
    delay = case.sampled_between(case.collapse, first.step)
    steps_ahead = max(case.collapse - first.step, 0)
    collapsed_first = {layer for layer, step in case.collapses.items() if step <= case.collapse + SAME_TIME}
    return Verdict(
        case,
        false,
        first,
        is_quiet=False,
        is_timely=delay <= MAX_DELAY.get(case.kind, 0),
        lead=steps_ahead / max(case.collapse - case.fault_step, 1),
        delay=delay,
        is_cause_right=_is_cause_right(case, first),
        is_layer_right=any(alarm.layer_id in collapsed_first for alarm in simultaneous),
    )


def _is_premature(case: Case, alarm: Alarm) -> bool:
    if alarm.step <= case.fault_step:
        return True
    long_before = max(LONG_BEFORE_STEPS, LONG_BEFORE_SHARE * (case.collapse - case.fault_step))
    return alarm.resolved is not None and alarm.resolved < case.collapse - long_before


def _is_cause_right(case: Case, alarm: Alarm) -> bool:
    """Return whether it is the recipe's cause, or ``upstream_collapse`` behind a layer that collapsed earlier."""
    if alarm.cause != "upstream_collapse":
        return alarm.cause == case.recipe.cause
    collapse = case.collapses.get(alarm.layer_id)
    if collapse is None:
        return False
    return any(layer < alarm.layer_id and step < collapse for layer, step in case.collapses.items())


@dataclass(frozen=True)
class Ratio:
    """A share: the sum of ``part`` over the sum of ``total``, both per run."""

    name: str
    part: Callable[[Verdict], float]
    total: Callable[[Verdict], float]


@dataclass(frozen=True)
class Median:
    """The median over the runs for which ``value`` is a number."""

    name: str
    value: Callable[[Verdict], float | None]


Metric: TypeAlias = Ratio | Median


def _is_counted(v: Verdict) -> bool:
    return v.case.is_positive and not v.is_quiet


def _has_false_alarm(v: Verdict) -> bool:
    return bool(v.false) and (v.case.is_negative or v.case.is_positive)


def _is_found(v: Verdict) -> bool:
    return v.alarm is not None


def _is_missed(v: Verdict) -> bool:
    return _is_counted(v) and v.alarm is None


def _is_late(v: Verdict) -> bool:
    return _is_counted(v) and not v.is_timely


def _is_onset(v: Verdict, cause: str | None = None) -> bool:
    return _is_counted(v) and v.case.kind == "onset" and cause in (None, v.case.recipe.cause)


def _is_sparse(v: Verdict) -> bool:
    return v.case.recipe.sparse


def _is_harmless(v: Verdict) -> bool:
    return v.case.is_positive and not v.case.is_harmful and (v.is_quiet or v.alarm is not None)


def _names_cause(v: Verdict) -> bool:
    return v.alarm is not None and v.alarm.cause is not None


def _is_healthy(v: Verdict) -> bool:
    return v.case.kind == "healthy"


def _is_twin(v: Verdict) -> bool:
    return v.case.kind == "twin"


def _diverged(v: Verdict) -> bool:
    return v.case.kind == "diverged"


RATE = "high_learning_rate"
HEADLINES: tuple[Metric, ...] = (
    Ratio("precision", _is_found, lambda v: _is_found(v) + _has_false_alarm(v)),
    Ratio("recall", _is_found, _is_counted),
    Ratio("F1", lambda v: 2 * _is_found(v), lambda v: 2 * _is_found(v) + _has_false_alarm(v) + _is_missed(v)),
    Ratio("timely F1", lambda v: 2 * v.is_timely, lambda v: 2 * v.is_timely + _has_false_alarm(v) + _is_late(v)),
    Ratio("onset: warned before", lambda v: _is_onset(v) and v.is_timely, _is_onset),
    Ratio("  of high rates", lambda v: _is_onset(v, RATE) and v.is_timely, lambda v: _is_onset(v, RATE)),
    Median("onset: lead / time to collapse", lambda v: v.lead if _is_onset(v) else None),
    Ratio("healthy runs alarmed", lambda v: _is_healthy(v) and _has_false_alarm(v), _is_healthy),
    Ratio("twins alarmed", lambda v: _is_twin(v) and _has_false_alarm(v), _is_twin),
    Ratio("episodes per healthy run", lambda v: len(v.false) * _is_healthy(v), _is_healthy),
    Ratio(
        "sparse nets: precision",
        lambda v: _is_sparse(v) and _is_found(v),
        lambda v: _is_sparse(v) * (_is_found(v) + _has_false_alarm(v)),
    ),
    Ratio(
        "sparse nets: timely recall",
        lambda v: _is_sparse(v) and v.is_timely,
        lambda v: _is_sparse(v) and _is_counted(v),
    ),
    Ratio("cause right", lambda v: _is_found(v) and v.is_cause_right, _names_cause),
    Ratio("first collapsing layer named", lambda v: _is_found(v) and v.is_layer_right, _is_found),
    Median("abrupt: delay in sampled steps", lambda v: v.delay if v.case.kind == "abrupt" else None),
    Median("born dead: delay in sampled steps", lambda v: v.delay if v.case.kind == "born_dead" else None),
    Ratio("harmless deaths reported as info", lambda v: _is_harmless(v) and v.is_quiet, _is_harmless),
    Ratio(
        "harmful ones only: recall",
        lambda v: v.case.is_harmful and _is_found(v),
        lambda v: v.case.is_harmful and v.case.is_positive,
    ),
    Ratio(
        "divergence reported as such",
        lambda v: _diverged(v) and any(alarm.kind == "diverged" for alarm in v.false),
        _diverged,
    ),
)


def most_common_cause(verdicts: Sequence[Verdict]) -> Ratio:
    """Return the metric of always naming the most common cause."""
    causes = Counter(v.case.recipe.cause for v in verdicts if v.case.is_positive)
    most_common = causes.most_common(1)[0][0] if causes else None

    def is_most_common(v: Verdict) -> bool:
        return _names_cause(v) and v.case.recipe.cause == most_common

    return Ratio("  always the most common", is_most_common, _names_cause)


@dataclass(frozen=True)
class Score:
    """A number and its 95 % interval; NaN where there is nothing to count."""

    name: str
    value: float
    low: float
    high: float

    @property
    def is_empty(self) -> bool:
        """True if there was nothing to count."""
        return math.isnan(self.value)


def scores(verdicts: Sequence[Verdict], metrics: Sequence[Metric], seed: int = 0) -> list[Score]:
    """Return every metric over all runs; its interval is from resampled recipes, because runs of a recipe are alike."""
    recipes = sorted({v.case.recipe.base for v in verdicts})
    index_of = {recipe: index for index, recipe in enumerate(recipes)}
    recipe_of = np.array([index_of[v.case.recipe.base] for v in verdicts])
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(recipes), np.full(len(recipes), 1 / len(recipes)), size=RESAMPLES)
    return [_score(metric, verdicts, recipe_of, draws) for metric in metrics]


def _score(metric: Metric, verdicts: Sequence[Verdict], recipe_of: Counts, draws: Counts) -> Score:
    """Return one metric; ``recipe_of`` (runs,) and ``draws`` (resamples, recipes), how often each was drawn."""
    if isinstance(metric, Median):
        value, resampled = _median(metric, verdicts, recipe_of, draws)
    else:
        value, resampled = _ratio(metric, verdicts, recipe_of, draws)
    if not len(resampled):
        return Score(metric.name, value, math.nan, math.nan)
    low, high = np.percentile(resampled, [2.5, 97.5]).tolist()
    return Score(metric.name, value, low, high)


def _median(
    metric: Median, verdicts: Sequence[Verdict], recipe_of: Counts, draws: Counts
) -> tuple[float, Sequence[float]]:
    values = [metric.value(v) for v in verdicts]
    has_value = np.array([value is not None for value in values])
    numbers = np.array([value for value in values if value is not None], float)
    if not numbers.size:
        return math.nan, []
    samples = (np.repeat(numbers, draw[recipe_of[has_value]]) for draw in draws)
    return float(np.median(numbers)), [float(np.median(sample)) for sample in samples if sample.size]


def _ratio(
    metric: Ratio, verdicts: Sequence[Verdict], recipe_of: Counts, draws: Counts
) -> tuple[float, Sequence[float]]:
    recipes = draws.shape[1]
    parts = np.bincount(recipe_of, [float(metric.part(v)) for v in verdicts], recipes)
    totals = np.bincount(recipe_of, [float(metric.total(v)) for v in verdicts], recipes)
    if not totals.sum():
        return math.nan, []
    drawn_parts = draws @ parts
    drawn_totals = draws @ totals
    is_defined = drawn_totals > 0
    return float(parts.sum() / totals.sum()), (drawn_parts[is_defined] / drawn_totals[is_defined]).tolist()
