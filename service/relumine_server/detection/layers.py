"""What the evidence of its units means for a layer: decisions with two tiers and hysteresis.

Plain arithmetic on a layer's scalars; no cause is named here, and no text is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from relumine.views import SEVERITIES, Kind, Severity
from relumine_server.detection.evidence import Observation
from relumine_server.detection.findings import Transition
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import risk, signs
from relumine_server.detection.sentinels import is_armed, loss_effect
from relumine_server.detection.state import TRAIL, LayerMemory, Open, RunMemory
from relumine_server.detection.trends import BRIEF, LONG, SMOOTH, faded, passed

Problems = dict[tuple[int, Kind], Open]


@dataclass(frozen=True, slots=True)
class Decision:
    """A transition of one problem of one layer."""

    kind: Kind
    transition: Transition
    severity: Severity
    reason: str | None = None


def remember(memory: LayerMemory, seen: Observation, step: int, norms: tuple[float | None, float | None]) -> None:
    """Fold one observation into the layer's scalars, whatever is decided on it.

    ``norms`` are those of the weights after the update, and of the update.
    """
    if 0 <= memory.step < step:
        memory.gap = step - memory.step
    _remember_trends(memory, seen)
    _remember_weights(memory, seen.units, *norms)
    memory.records += 1
    memory.step = step
    memory.median_rate, memory.kill_ratio = seen.median_rate, seen.kill_ratio
    _remember_displacement(memory, seen.displacement)
    memory.lost = seen.dying / seen.eligible if seen.eligible else 0.0
    memory.trail = (*memory.trail[-(TRAIL - 1) :], (float(step), memory.lost, seen.mean_bias))


def _remember_trends(memory: LayerMemory, seen: Observation) -> None:
    """The weakest units' headroom and the bias, and what is usual of them."""
    looks = passed(memory.gap)
    memory.age += looks
    memory.headroom = faded(memory.headroom, seen.headroom, looks, SMOOTH)
    memory.usual_headroom = faded(memory.usual_headroom, memory.headroom, looks, LONG, memory.age)
    memory.bias_sigma = seen.bias_sigma
    memory.usual_bias_sigma = faded(memory.usual_bias_sigma, seen.bias_sigma, looks, BRIEF, memory.age)


def _remember_weights(memory: LayerMemory, units: int, norm: float | None, update: float | None) -> None:
    """How large the weights are; at first against He's, whose norm is √(2 · units) whatever the fan-in.

    The first update is taken off: at a high rate it is all that is seen.
    """
    if norm is None or norm <= 0:
        return
    moved = update or 0.0
    if math.isnan(memory.first_weight):
        memory.first_weight = max(norm - moved, 0.0) / math.sqrt(2 * units)
    memory.log_weight = math.log(norm)
    memory.usual_log_weight = faded(memory.usual_log_weight, memory.log_weight, passed(memory.gap), LONG, memory.age)


def _remember_displacement(memory: LayerMemory, displacement: float) -> None:
    """The peak of the latest ten looks or so: a kill is over when its silence is noticed."""
    if math.isnan(displacement):
        return
    before = 0.0 if math.isnan(memory.peak_displacement) else memory.peak_displacement
    memory.peak_displacement = max(displacement, 0.9 * before)


def is_warm(memory: LayerMemory, policy: Policy) -> bool:
    """Whether the layer's baseline has been taken."""
    return memory.records > policy.warmup_records


def ends_warmup(memory: LayerMemory, seen: Observation, problems: Problems, policy: Policy) -> bool:
    """Whether this record closes the warm-up, so that units silent by now become the baseline.

    Not where so many are lost that it is a problem of its own: those stay in question.
    """
    quiet = (memory.info.layer_id, "dying") not in problems and seen.dying < need(
        policy.critical_share, seen.eligible, policy
    )
    return memory.records == policy.warmup_records and quiet


def decide(
    memory: LayerMemory, seen: Observation, run: RunMemory, problems: Problems, policy: Policy
) -> list[Decision]:
    """The transitions that this observation brings; at most one per kind."""
    layer_id = memory.info.layer_id
    born_dead = _decide_born_dead(seen, problems.get((layer_id, "born_dead")), policy)
    dead = _decide_dead(memory, seen, run, problems.get((layer_id, "dead")), policy)
    decisions = [born_dead, dead, _decide_dying(memory, seen, run, problems, dead, policy)]
    return [decision for decision in decisions if decision is not None]


def need(share: float, eligible: int, policy: Policy) -> int:
    """How many units make a share: never fewer than a handful in a layer that has them."""
    return max(math.ceil(share * eligible), min(policy.least_units, math.ceil(eligible / 2)), 1)


def _decide_born_dead(seen: Observation, problem: Open | None, policy: Policy) -> Decision | None:
    share = seen.born_dead / seen.units
    if problem is not None:
        gone = share < policy.born_dead_layer * policy.resolve_factor
        return Decision("born_dead", "resolved", problem.severity, "units became active") if gone else None
    if share < policy.born_dead_layer:
        return None
    return Decision("born_dead", "raised", "critical" if share >= policy.born_dead_critical else "info")


def _decide_dead(
    memory: LayerMemory, seen: Observation, run: RunMemory, problem: Open | None, policy: Policy
) -> Decision | None:
    share = seen.dead / seen.eligible if seen.eligible else 0.0
    if problem is not None:
        gone = share < policy.dead_share * policy.resolve_factor
        return Decision("dead", "resolved", problem.severity, "units returned") if gone else None
    if seen.dead < need(policy.dead_share, seen.eligible, policy) or not is_warm(memory, policy):
        return None
    return Decision("dead", "raised", "info" if _is_harmless(memory, run, policy) else "critical")


def _is_harmless(memory: LayerMemory, run: RunMemory, policy: Policy) -> bool:
    """Whether the loss is known to have gone on falling since the layer began to go."""
    looks = sum(step >= memory.onset for step, _lost, _bias in memory.trail) if memory.onset >= 0 else 0
    effect = loss_effect(run, memory.onset) if looks >= policy.harmless_records else None
    return effect is not None and effect <= 0


def _decide_dying(
    memory: LayerMemory,
    seen: Observation,
    run: RunMemory,
    problems: Problems,
    decided: Decision | None,
    policy: Policy,
) -> Decision | None:
    """``decided`` is what this look decided about the layer's death, which takes over from its dying."""
    layer_id = memory.info.layer_id
    problem = problems.get((layer_id, "dying"))
    is_dead = (layer_id, "dead") in problems if decided is None else decided.transition == "raised"
    tier = _tier(memory, seen, run, policy)
    if problem is None:
        return Decision("dying", "raised", tier) if tier is not None and not is_dead else None
    if is_dead:
        return Decision("dying", "resolved", problem.severity, "became dead")
    if memory.calm >= policy.resolve_records:
        return Decision("dying", "resolved", problem.severity, "its units are active")
    if tier is not None and SEVERITIES.index(tier) > SEVERITIES.index(problem.severity):
        return Decision("dying", "changed", tier)
    return None


def _tier(memory: LayerMemory, seen: Observation, run: RunMemory, policy: Policy) -> Severity | None:
    """The severity the evidence carries at this look; keeps the counters of the hysteresis."""
    dense = memory.gap <= policy.dense_gap_steps and not is_armed(run, int(memory.step), policy)
    early = seen.dying_dense if dense else seen.dying
    memory.lost = early / seen.eligible if seen.eligible else 0.0
    memory.risk = risk(signs(memory, run)) if memory.records >= policy.risk_records else 0.0
    _keep_counters(memory, seen, policy)
    if not seen.eligible:
        return None
    share = policy.critical_share if is_warm(memory, policy) else policy.warmup_share
    if seen.dying_strict >= need(share, seen.eligible, policy):
        return "critical"
    alone = policy.risk if run.novel_records else policy.risk_sure
    sure = memory.records > policy.risk_records and memory.risk >= alone
    if sure or memory.streak >= policy.confirm_records:
        return "warning"
    return "info" if is_warm(memory, policy) and early >= need(policy.info_share, seen.eligible, policy) else None


def _keep_counters(memory: LayerMemory, seen: Observation, policy: Policy) -> None:
    """Looks in a row that speak for a warning, or for its end; and since when something has been going on."""
    low = policy.risk * policy.resolve_factor
    lost = seen.dying >= need(policy.info_share * policy.resolve_factor, seen.eligible, policy)
    limit = policy.risk if is_warm(memory, policy) else policy.risk_early
    memory.streak = memory.streak + 1 if memory.risk >= limit else 0
    memory.calm = memory.calm + 1 if memory.risk < low and not lost else 0
    if (memory.risk >= low or lost) and memory.onset < 0:
        memory.onset = memory.step
    elif memory.calm:
        memory.onset = -1.0
