"""What the evidence of its units means for a layer: decisions with two tiers and hysteresis.

Plain arithmetic on a layer's scalars; no cause is named here, and no text is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from relumine.views import Kind, Severity
from relumine_server.detection.evidence import Observation
from relumine_server.detection.findings import Transition
from relumine_server.detection.policy import Policy
from relumine_server.detection.sentinels import is_armed, loss_effect
from relumine_server.detection.state import TRAIL, LayerMemory, Open, RunMemory

Problems = dict[tuple[int, Kind], Open]


@dataclass(frozen=True, slots=True)
class Decision:
    """A transition of one problem of one layer."""

    kind: Kind
    transition: Transition
    severity: Severity
    reason: str | None = None


def remember(memory: LayerMemory, seen: Observation, step: int) -> None:
    """Fold one observation into the layer's scalars, whatever is decided on it."""
    if 0 <= memory.step < step:
        memory.gap = step - memory.step
    if not memory.records:
        memory.first_silent, memory.first_bias = seen.silent_now / seen.units, seen.mean_bias
    memory.records += 1
    memory.step = step
    memory.median_rate, memory.kill_ratio = seen.median_rate, seen.kill_ratio
    _remember_displacement(memory, seen.displacement)
    memory.lost = seen.dying / seen.eligible if seen.eligible else 0.0
    memory.trail = (*memory.trail[-(TRAIL - 1) :], (float(step), memory.lost, seen.mean_bias))


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
    quiet = (memory.info.layer_id, "dying") not in problems and seen.dying < _need(policy.critical_share, seen, policy)
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


def _need(share: float, seen: Observation, policy: Policy) -> int:
    """How many units make a share: never fewer than a handful in a layer that has them."""
    return max(math.ceil(share * seen.eligible), min(policy.least_units, math.ceil(seen.eligible / 2)), 1)


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
    if seen.dead < _need(policy.dead_share, seen, policy) or not is_warm(memory, policy):
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
    if tier == "critical" and problem.severity == "warning":
        return Decision("dying", "changed", "critical")
    return None


def _tier(memory: LayerMemory, seen: Observation, run: RunMemory, policy: Policy) -> Severity | None:
    """The severity the evidence carries at this look; keeps the counters of the hysteresis."""
    armed = is_armed(run, int(memory.step), policy)
    dense = memory.gap <= policy.dense_gap_steps and not armed
    early = seen.dying_dense if dense else seen.dying
    _keep_counters(memory, seen, early, policy)
    if not seen.eligible:
        return None
    if not is_warm(memory, policy):
        return "critical" if seen.dying_strict >= _need(policy.warmup_share, seen, policy) else None
    if seen.dying_strict >= _need(policy.critical_share, seen, policy):
        return "critical"
    confirmed = memory.streak >= (1 if armed else policy.confirm_records)
    killing = armed and seen.kill_ratio >= policy.kill_ratio
    memory.calm = 0 if killing else memory.calm
    return "warning" if confirmed or killing else None


def _keep_counters(memory: LayerMemory, seen: Observation, early: int, policy: Policy) -> None:
    is_sparse = seen.median_rate < policy.sparse_rate
    need = _need(policy.sparse_warning_share if is_sparse else policy.warning_share, seen, policy)
    memory.streak = memory.streak + 1 if early >= need else 0
    memory.calm = memory.calm + 1 if seen.dying < need * policy.resolve_factor else 0
    rising = seen.dying >= need * policy.resolve_factor
    if rising and memory.onset < 0:
        memory.onset = memory.step
    elif not rising:
        memory.onset = -1.0
