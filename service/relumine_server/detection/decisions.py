"""Decisions about a layer, from the statistics of its records: two tiers of evidence, and hysteresis.

Arithmetic on a layer's scalars. Causes and texts are found elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from relumine.schemas.alert import Kind, Severity, severity_rank
from relumine_server.detection.evidence import RecordStatistics
from relumine_server.detection.findings import Transition
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import layer_risk, log_odds, risk_features
from relumine_server.detection.run_signals import is_armed, is_input_blank, loss_effect
from relumine_server.detection.state import LayerMemory, OpenProblem, RunMemory

OpenProblems: TypeAlias = dict[tuple[int, Kind], OpenProblem]

DENSE_WEIGHT = 0.5
"""Part of a sampled step that a dense one counts for, where a warning is to hold for several of them."""
ODDS_PER_RECORD = 0.8
"""Difference in log odds from the risk that makes a warning at which a record counts for nothing, or twice."""
MAX_WEIGHT = 1.5
"""Records that one of the highest risk counts for: one alone makes no warning unless its risk is sure."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A transition of one problem of one layer."""

    kind: Kind
    transition: Transition
    severity: Severity
    reason: str | None = None


def has_baseline(memory: LayerMemory, policy: Policy) -> bool:
    """Return whether the layer's warm-up is over and its baseline was taken."""
    return memory.records > policy.warmup_records


def takes_baseline(memory: LayerMemory, stats: RecordStatistics, problems: OpenProblems, policy: Policy) -> bool:
    """Return whether this record ends the warm-up, and units silent by now become the baseline.

    They do not where so many are lost that they are worth reporting: these units stay in question.
    """
    if memory.records != policy.warmup_records:
        return False
    is_dying = (memory.info.layer_id, "dying") in problems
    return not is_dying and stats.dying < required_units(policy.info_share, stats.eligible, policy)


def _note_early_losses(
    memory: LayerMemory, stats: RecordStatistics, problem: OpenProblem | None, policy: Policy
) -> bool:
    """Return whether this record ends a warm-up in which units were lost that are worth reporting, but no danger.

    They are remembered apart from those lost later, which are a danger of their own.
    """
    memory.early_fraction = min(memory.early_fraction, _share(stats.dying, stats.eligible))
    if memory.records != policy.warmup_records or problem is not None:
        return False
    is_reported = stats.dying >= required_units(policy.info_share, stats.eligible, policy)
    if not is_reported or stats.dying >= required_units(policy.critical_share, stats.eligible, policy):
        return False
    memory.early_fraction = _share(stats.dying, stats.eligible)
    return True


def decide(
    memory: LayerMemory, stats: RecordStatistics, run: RunMemory, problems: OpenProblems, policy: Policy
) -> list[Decision]:
    """Return the transitions that a record brings, at most one per kind."""
    layer_id = memory.info.layer_id
    born_dead = _decide_born_dead(stats, problems.get((layer_id, "born_dead")), policy)
    dead = _decide_dead(memory, stats, run, problems.get((layer_id, "dead")), policy)
    is_dead = (layer_id, "dead") in problems
    if dead is not None:
        is_dead = dead.transition == "raised"
    problem = problems.get((layer_id, "dying"))
    tier = _assess_dying(memory, stats, run, problem, policy)
    if tier is not None and is_input_blank(run, policy):
        tier = "info"
    if problem is not None and not is_dead and _has_passed(memory, problem, run, policy):
        dying: Decision | None = Decision("dying", "resolved", problem.severity, "the input is as it was before")
    else:
        dying = _decide_dying(memory, problem, tier, is_dead=is_dead, policy=policy)
    return [decision for decision in (born_dead, dead, dying) if decision is not None]


def required_units(share: float, eligible: int, policy: Policy) -> int:
    """Return the number of units that make a share: never fewer than a handful in a layer that has them."""
    return _required_units(share, eligible, policy.least_units)


@lru_cache(maxsize=4096)
def _required_units(share: float, eligible: int, least_units: int) -> int:
    return max(math.ceil(share * eligible), min(least_units, math.ceil(eligible / 2)), 1)


def _decide_born_dead(stats: RecordStatistics, problem: OpenProblem | None, policy: Policy) -> Decision | None:
    share = stats.born_dead / stats.units
    if problem is None:
        severity = _born_dead_severity(share, policy)
        return None if severity is None else Decision("born_dead", "raised", severity)
    if share < policy.born_dead_layer * policy.resolve_factor:
        return Decision("born_dead", "resolved", problem.severity, "units became active")
    severity = _born_dead_severity(share, policy)
    if severity is not None and severity_rank(severity) > severity_rank(problem.severity):
        return Decision("born_dead", "changed", severity)
    return None


def _born_dead_severity(share: float, policy: Policy) -> Severity | None:
    if share < policy.born_dead_layer:
        return None
    if share >= policy.born_dead_critical:
        return "critical"
    return "warning" if share >= policy.born_dead_warning else "info"


def _decide_dead(
    memory: LayerMemory, stats: RecordStatistics, run: RunMemory, problem: OpenProblem | None, policy: Policy
) -> Decision | None:
    if problem is not None:
        if _share(stats.dead, stats.eligible) < policy.dead_share * policy.resolve_factor:
            return Decision("dead", "resolved", problem.severity, "units returned")
        return None
    if stats.dead < required_units(policy.dead_share, stats.eligible, policy) or not has_baseline(memory, policy):
        return None
    if is_input_blank(run, policy):
        return None
    return Decision("dead", "raised", "info" if _is_harmless(memory, run, policy) else "critical")


def _is_harmless(memory: LayerMemory, run: RunMemory, policy: Policy) -> bool:
    """Return whether the loss is known to have kept falling since the layer's onset."""
    if memory.onset_step < 0:
        return False
    records_since = sum(step >= memory.onset_step for step, _lost_fraction, _bias in memory.history)
    if records_since < policy.harmless_records:
        return False
    effect = loss_effect(run, memory.onset_step)
    return effect is not None and effect <= 0


def _has_passed(memory: LayerMemory, problem: OpenProblem, run: RunMemory, policy: Policy) -> bool:
    """Return whether an unusual input that silenced the layer is over, and its units are active again."""
    if problem.cause != "input_shift" or (run.familiar_records or 0) < policy.confirm_records:
        return False
    calm_share = policy.info_share * policy.resolve_factor
    latest = memory.history[-policy.constant_records :]
    return all(lost_fraction < calm_share for _step, lost_fraction, _bias in latest)


def _decide_dying(
    memory: LayerMemory, problem: OpenProblem | None, tier: Severity | None, *, is_dead: bool, policy: Policy
) -> Decision | None:
    """Decide about dying, while the layer is not dead: ``is_dead`` holds from this record on."""
    if problem is None:
        return Decision("dying", "raised", tier) if tier is not None and not is_dead else None
    if is_dead:
        return None
    if memory.calm_streak >= policy.resolve_records:
        reason = "no further units are lost" if memory.early_fraction else "its units are active"
        return Decision("dying", "resolved", problem.severity, reason)
    if tier is not None and severity_rank(tier) > severity_rank(problem.severity):
        return Decision("dying", "changed", tier)
    return None


def _assess_dying(
    memory: LayerMemory, stats: RecordStatistics, run: RunMemory, problem: OpenProblem | None, policy: Policy
) -> Severity | None:
    """Update the layer's risk and hysteresis, and return the severity that the evidence carries at this record."""
    has_early_losses = _note_early_losses(memory, stats, problem, policy)
    is_dense = memory.gap_steps <= policy.dense_gap_steps and not is_armed(run, int(memory.step), policy)
    dying = stats.dying_dense if is_dense else stats.dying
    memory.lost_fraction = _share(dying, stats.eligible)
    _note_returns(memory, policy)
    memory.risk = 0.0
    if memory.records >= policy.risk_records:
        memory.risk = layer_risk(risk_features(memory, run))
    _update_streaks(memory, stats, problem, policy)
    if not stats.eligible:
        return None
    is_warm = has_baseline(memory, policy)
    if stats.dying_strict >= required_units(_critical_share(memory, policy), stats.eligible, policy):
        return "critical"
    if memory.warning_streak >= policy.confirm_records or _is_risk_sure(memory, run, policy):
        return "warning"
    later = dying - round(memory.early_fraction * stats.eligible)
    if has_early_losses or (is_warm and later >= required_units(policy.info_share, stats.eligible, policy)):
        return "info"
    return None


def _note_returns(memory: LayerMemory, policy: Policy) -> None:
    """Keep the largest share of the units that was called lost and came back; units of a baseline did not."""
    if memory.records == policy.warmup_records:
        memory.peak_fraction = 0.0
    memory.peak_fraction = max(memory.peak_fraction, memory.lost_fraction)
    memory.returned_fraction = max(memory.returned_fraction, memory.peak_fraction - memory.lost_fraction)


def _critical_share(memory: LayerMemory, policy: Policy) -> float:
    """Return the share of silent units that makes a layer critical.

    Where so many came back from silences that chance did not explain, as with data in blocks, and nothing but silence
    speaks for a loss now, so many more are needed.
    """
    share = policy.critical_share if has_baseline(memory, policy) else policy.warmup_share
    return share + memory.returned_fraction if memory.risk < policy.risk else share


def _is_risk_sure(memory: LayerMemory, run: RunMemory, policy: Policy) -> bool:
    """Return whether the risk is so high that one record is enough; after an unusual input any warning is."""
    threshold = policy.risk if run.novel_records else policy.risk_sure
    return memory.records > policy.risk_records and memory.risk >= threshold


def _update_streaks(memory: LayerMemory, stats: RecordStatistics, problem: OpenProblem | None, policy: Policy) -> None:
    """Count the records in a row that speak for a warning or for its end, and keep the step of the onset.

    What was lost during the warm-up keeps an ``info`` open, and no alarm.
    """
    calm_risk = policy.risk * policy.resolve_factor
    calm_share = policy.info_share * policy.resolve_factor
    warning_risk = policy.risk if has_baseline(memory, policy) else policy.risk_early
    early_units = round(memory.early_fraction * stats.eligible)
    is_info = problem is not None and problem.severity == "info"
    later = stats.dying if is_info else stats.dying - early_units
    many_dying = later >= required_units(calm_share, stats.eligible, policy)
    many_dying = many_dying or _are_lost_together(memory, stats, policy.joint_share * policy.resolve_factor, policy)
    weight = warning_weight(memory.risk, warning_risk)
    if not (stats.dying > early_units or _is_threatened(memory, policy)):
        weight = min(weight, 0.0)
    if _are_lost_together(memory, stats, policy.joint_share, policy):
        weight = max(weight, 1.0)
    if memory.gap_steps <= policy.dense_gap_steps:
        # Dense sampled steps see one batch after the other at nearly the same weights: two of them count as one, and
        # what a learning rate that jumps does to them for a moment does not add up.
        weight = DENSE_WEIGHT if weight >= 1.0 else -memory.warning_streak
    # No more than a warning needs: otherwise the sum of a long loss would outlast its end by many sampled steps.
    memory.warning_streak = min(max(memory.warning_streak + weight, 0.0), float(policy.confirm_records))
    memory.calm_streak = memory.calm_streak + 1 if memory.risk < calm_risk and not many_dying else 0
    if (memory.risk >= calm_risk or many_dying) and memory.onset_step < 0:
        memory.onset_step = memory.step
    elif memory.calm_streak:
        memory.onset_step = -1.0


def warning_weight(risk: float, warning_risk: float) -> float:
    """Return the records that one of this risk counts for: 1 at the risk that makes a warning, below 0 far below it."""
    return min(1.0 + (log_odds(risk) - log_odds(warning_risk)) / ODDS_PER_RECORD, MAX_WEIGHT)


def _are_lost_together(memory: LayerMemory, stats: RecordStatistics, share: float, policy: Policy) -> bool:
    """Return whether a share of the units is silent for longer than chance explains in so many at once.

    It finds the loss of rare units, such as the latents of a sparse autoencoder. During the warm-up units that become
    rarer look the same.
    """
    is_warm = has_baseline(memory, policy)
    return is_warm and stats.dying_jointly >= required_units(share, stats.eligible, policy)


def _is_threatened(memory: LayerMemory, policy: Policy) -> bool:
    """Return whether units come closer to silence than usual, or the risk is sure without it.

    A learning rate that rises alone raises the risk of a layer that bears it well.
    """
    return memory.risk >= policy.risk_sure or not memory.headroom >= memory.usual_headroom


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0
