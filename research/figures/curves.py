"""The figures over the whole corpus: other thresholds of the risk, and how often stated probabilities come true."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relumine_server.detection.policy import Policy
from research.corpus.cases import Case
from research.corpus.run_store import Run
from research.figures.style import BLUE, INK, QUIET, RED, SHADE, panels, use_share_axis
from research.figures.traces import traces
from research.scoring.calibration import EDGES, claims, is_in_bin
from research.scoring.published_rules import RULES
from research.scoring.score import our_alarms
from research.scoring.scorer import HEADLINES, Score, Verdict, judge, scores

OFFSETS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5)
"""Shifts of all thresholds of the risk together, in log odds; 0 is the policy."""
FALSE_ALARMS = "healthy runs alarmed"
GOALS = ("timely F1", "onset: lead / time to collapse")
RISK_EDGES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
RESAMPLES = 1000
RULE_MARKERS = "s^Dvo"
MIN_POINT = 5
"""A bin with fewer values is not drawn."""

Pairs: TypeAlias = Sequence[tuple[Run, Case]]


class Statement(NamedTuple):
    """A stated probability, whether it came true, and its recipe."""

    recipe: str
    probability: float
    is_true: bool


def draw_tradeoff(pairs: Pairs) -> Figure:
    """Draw timely F1 and lead against the healthy runs that are alarmed, for other thresholds and other rules."""
    title = "Warning earlier costs false alarms: the thresholds of the risk moved together"
    figure, axes = panels(title, heights=(2.8,), columns=2)
    by_offset: dict[float, dict[str, Score]] = {}
    for offset in OFFSETS:
        policy = _shifted_policy(offset)
        by_offset[offset] = _scores([judge(case, our_alarms(run, policy)) for run, case in pairs])
    by_rule: dict[str, dict[str, Score]] = {}
    for name, rule in RULES.items():
        by_rule[name] = _scores([judge(case, rule(run.infos(), run.records())) for run, case in pairs])
    for panel, goal in zip(axes, GOALS, strict=True):
        x = [of_offset[FALSE_ALARMS].value for of_offset in by_offset.values()]
        y = [of_offset[goal].value for of_offset in by_offset.values()]
        panel.plot(x, y, ".-", color=RED, label="relumine, other thresholds")
        _draw_policy(panel, by_offset[0.0], goal)
        for (name, of_rule), marker in zip(by_rule.items(), RULE_MARKERS, strict=True):
            point = (of_rule[FALSE_ALARMS].value, of_rule[goal].value)
            panel.plot(*point, marker, color=QUIET, markersize=5, label=name)
        panel.set_xlabel("healthy runs alarmed (share)")
        panel.set_xlim(-0.02, None)
    use_share_axis(axes[0], "timely F1")
    axes[1].set_ylabel("median lead / time to collapse")
    axes[1].set_ylim(-0.02, None)
    handles, labels = _legend_entries(axes[0])
    figure.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False)
    return figure


def _shifted_policy(offset: float) -> Policy:
    """Return the policy with every threshold of the risk shifted."""
    policy = Policy()
    thresholds: dict[str, Any] = {}
    for field in fields(policy):
        value = getattr(policy, field.name)
        if field.name.startswith("risk") and isinstance(value, float):
            log_odds = math.log(value / (1 - value)) + offset
            thresholds[field.name] = 1 / (1 + math.exp(-log_odds))
    return replace(policy, **thresholds)


def _scores(verdicts: Sequence[Verdict]) -> dict[str, Score]:
    metrics = [metric for metric in HEADLINES if metric.name in (FALSE_ALARMS, *GOALS)]
    return {score.name: score for score in scores(verdicts, metrics)}


def _legend_entries(axes: Axes) -> tuple[list[Any], list[str]]:
    """Return handles and labels, ours first."""
    entries = list(zip(*axes.get_legend_handles_labels(), strict=True))
    entries.sort(key=lambda entry: entry[1] in RULES)
    return [handle for handle, _ in entries], [label for _, label in entries]


def _draw_policy(axes: Axes, by_name: dict[str, Score], goal: str) -> None:
    """Draw the point of the default policy with its intervals over recipes."""
    x = by_name[FALSE_ALARMS]
    y = by_name[goal]
    axes.errorbar(
        x.value,
        y.value,
        xerr=[[x.value - x.low], [x.high - x.value]],
        yerr=[[y.value - y.low], [y.high - y.value]],
        fmt="o",
        color=RED,
        markersize=7,
        linewidth=1,
        label="relumine, as shipped (95 %)",
    )


def draw_reliability(pairs: Pairs) -> Figure:
    """Draw stated probabilities against how often they came true."""
    figure, (left, right) = panels("What is stated, and how often it is true", heights=(2.8,), columns=2)
    risks = [statement for run, case in pairs for statement in stated_risks(run, case)]
    causes = []
    for run, case in pairs:
        verdict = judge(case, our_alarms(run, Policy()))
        causes += [Statement(case.recipe.base, claim.confidence, claim.is_right) for claim in claims([verdict])]
    _draw_bins(left, risks, RISK_EDGES, BLUE)
    left.set_title(f"risk, {len(risks):,} sampled steps of layers")
    left.set_xlabel("risk at a sampled step (mean of a bin)")
    use_share_axis(left, "share of steps before a collapse")
    _draw_bins(right, causes, EDGES, RED)
    right.set_title(f"cause, {len(causes)} first alerts")
    right.set_xlabel("confidence stated (mean of a bin)")
    use_share_axis(right, "share of causes that are right")
    return figure


def stated_risks(run: Run, case: Case) -> Iterator[Statement]:
    """Yield the risk at every sampled step of a layer of a sound run, before a fault, and until a layer's collapse.

    Left out are layers of faulty runs that did not collapse, born dead layers, and runs that diverged.
    """
    if not (case.is_negative or case.kind in ("onset", "abrupt")):
        return
    for layer_id, trace in traces(run).items():
        collapse = case.collapses.get(layer_id)
        for point in trace.points:
            is_faulty = not case.is_negative and point.step > case.fault_step
            if not is_faulty or (collapse is not None and point.step <= collapse):
                yield Statement(case.recipe.base, point.risk, is_faulty)


def _draw_bins(axes: Axes, statements: Sequence[Statement], edges: Sequence[float], colour: str) -> None:
    """Draw a point per bin with a 95 % interval by resampling recipes, and the number of its statements."""
    axes.plot([0, 1], [0, 1], color=SHADE, linewidth=1, zorder=0)
    for low, high in pairwise(edges):
        in_bin = [statement for statement in statements if is_in_bin(statement.probability, low, high)]
        if len(in_bin) < MIN_POINT:
            continue
        x = float(np.mean([statement.probability for statement in in_bin]))
        y = float(np.mean([statement.is_true for statement in in_bin]))
        axes.plot([x, x], _interval(in_bin), color=colour, linewidth=1)
        axes.plot(x, y, "o", color=colour, markersize=5)
        offset = (6, 3 if y < 0.1 else -8)
        axes.annotate(f"{len(in_bin):,}", (x, y), xytext=offset, textcoords="offset points", color=INK, fontsize=7)
    axes.set_xlim(0, 1.02)


def _interval(statements: Sequence[Statement]) -> tuple[float, float]:
    """Return the 95 % interval of the share that came true."""
    recipes = sorted({statement.recipe for statement in statements})
    recipe_of = [recipes.index(statement.recipe) for statement in statements]
    true = np.bincount(recipe_of, [statement.is_true for statement in statements], len(recipes))
    total = np.bincount(recipe_of)
    random = np.random.default_rng(0)
    draws = random.multinomial(len(recipes), np.full(len(recipes), 1 / len(recipes)), size=RESAMPLES)
    low, high = np.percentile((draws @ true) / (draws @ total), [2.5, 97.5]).tolist()
    return low, high
