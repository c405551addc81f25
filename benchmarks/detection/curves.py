"""Figures that count: what other thresholds of the risk would have done, and whether stated numbers come true."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from calibration import EDGES, claims
from cases import Case
from drawing import BLUE, INK, QUIET, RED, SHADE, panels, shares
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rules import RULES
from runs import Run
from score import ours
from scorer import HEADLINES, Score, Verdict, judge, scores
from traces import traces

from relumine_server.detection.policy import Policy

OFFSETS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5)
"""By how much the thresholds of the risk are moved, all together, in log odds; 0 is the policy."""
FALSE, GOALS = "healthy runs alarmed", ("timely F1", "onset: lead / time to collapse")
RISK_EDGES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
RESAMPLES = 1000
SHAPES = "s^Dvo"
"""Of the rules."""
LEAST = 5
"""Fewer numbers than this make no point."""

Known = Sequence[tuple[Run, Case]]


class Stated(NamedTuple):
    """A number that was stated, whether it came true, and whose it is."""

    recipe: str
    chance: float
    came: bool


def draw_tradeoff(known: Known) -> Figure:
    """What is found in time, and how early, against the healthy runs that are alarmed."""
    figure, axes = panels(
        "Warning earlier costs false alarms: the thresholds of the risk moved together", heights=(2.8,), columns=2
    )
    swept = [_scored([judge(case, ours(run, _moved(offset))) for run, case in known]) for offset in OFFSETS]
    other = {
        name: _scored([judge(case, rule(run.infos(), run.records())) for run, case in known])
        for name, rule in RULES.items()
    }
    for panel, goal in zip(axes, GOALS, strict=True):
        line = [(found[FALSE].value, found[goal].value) for found in swept]
        panel.plot(*zip(*line, strict=True), ".-", color=RED, label="relumine, other thresholds")
        _draw_policy(panel, swept[OFFSETS.index(0.0)], goal)
        for (name, found), shape in zip(other.items(), SHAPES, strict=True):
            panel.plot(found[FALSE].value, found[goal].value, shape, color=QUIET, markersize=5, label=name)
        panel.set_xlabel("healthy runs alarmed (share)")
        panel.set_xlim(-0.02, None)
    shares(axes[0], "timely F1")
    axes[1].set_ylabel("median lead / time to collapse")
    axes[1].set_ylim(-0.02, None)
    figure.legend(*_key(axes[0]), loc="outside lower left", ncols=4, frameon=False)
    return figure


def _moved(offset: float) -> Policy:
    """The policy with every threshold of the risk moved."""
    policy = Policy()
    known = {field.name: getattr(policy, field.name) for field in fields(policy) if field.name.startswith("risk")}
    moved: dict[str, Any] = {name: _shifted(p, offset) for name, p in known.items() if isinstance(p, float)}
    return replace(policy, **moved)


def _shifted(chance: float, offset: float) -> float:
    return 1 / (1 + math.exp(-(math.log(chance / (1 - chance)) + offset)))


def _scored(told: Sequence[Verdict]) -> dict[str, Score]:
    return {score.name: score for score in scores(told, [m for m in HEADLINES if m.name in (FALSE, *GOALS)])}


def _key(axes: Axes) -> Any:
    """Handles and labels, ours first."""
    return zip(*sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=lambda p: p[1] in RULES), strict=True)


def _draw_policy(axes: Axes, found: dict[str, Score], goal: str) -> None:
    """The point that is shipped, with its intervals over recipes."""
    x, y = found[FALSE], found[goal]
    axes.errorbar(
        x.value, y.value, xerr=[[x.value - x.low], [x.high - x.value]], yerr=[[y.value - y.low], [y.high - y.value]],
        fmt="o", color=RED, markersize=7, linewidth=1, label="relumine, as shipped (95 %)",
    )  # fmt: skip


def draw_reliability(known: Known) -> Figure:
    """Stated chances against what came of them."""
    figure, (left, right) = panels("What is stated, and how often it is true", heights=(2.8,), columns=2)
    risks = [stated for run, case in known for stated in risks_of(run, case)]
    told = [judge(case, ours(run, Policy())) for run, case in known]
    causes = [Stated(v.case.recipe.base, c.confidence, c.right) for v in told for c in claims([v])]
    _draw_stated(left, risks, RISK_EDGES, BLUE)
    left.set_title(f"risk, {len(risks):,} looks at layers")
    left.set_xlabel("risk at a look (mean of a bin)")
    shares(left, "share of looks before a collapse")
    _draw_stated(right, causes, EDGES, RED)
    right.set_title(f"cause, {len(causes)} first alerts")
    right.set_xlabel("confidence stated (mean of a bin)")
    shares(right, "share of causes that are right")
    return figure


def risks_of(run: Run, case: Case) -> Iterator[Stated]:
    """Every look at a layer of a sound run, at any layer before a fault, and at one that collapses until it has.

    Left out: layers that a fault touched and that did not collapse, born dead layers, and runs that diverged.
    """
    if not (case.is_negative or case.kind in ("onset", "abrupt")):
        return
    for layer_id, trace in traces(run).items():
        end = case.collapses.get(layer_id)
        for look in trace.looks:
            is_ill = not case.is_negative and look.step > case.at
            if not is_ill or (end is not None and look.step <= end):
                yield Stated(case.recipe.base, look.risk, is_ill)


def _draw_stated(axes: Axes, stated: Sequence[Stated], edges: Sequence[float], colour: str) -> None:
    """A point per bin with a 95 % interval by resampling recipes, and how many numbers it stands for."""
    axes.plot([0, 1], [0, 1], color=SHADE, linewidth=1, zorder=0)
    for low, high in pairwise(edges):
        some = [one for one in stated if low <= one.chance < high or one.chance == high == edges[-1]]
        if len(some) < LEAST:
            continue
        x, y = (float(np.mean(values)) for values in zip(*((one.chance, one.came) for one in some), strict=True))
        below, above = _interval(some)
        axes.plot([x, x], [below, above], color=colour, linewidth=1)
        axes.plot(x, y, "o", color=colour, markersize=5)
        beside = (6, 3 if y < 0.1 else -8)
        axes.annotate(f"{len(some):,}", (x, y), xytext=beside, textcoords="offset points", color=INK, fontsize=7)
    axes.set_xlim(0, 1.02)


def _interval(some: Sequence[Stated]) -> tuple[float, float]:
    names = sorted({one.recipe for one in some})
    owner = [names.index(one.recipe) for one in some]
    came = np.bincount(owner, [one.came for one in some], len(names))
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    low, high = np.percentile((drawn @ came) / (drawn @ np.bincount(owner)), [2.5, 97.5]).tolist()
    return low, high
