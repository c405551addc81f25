"""The outcome of a remedy, judged by the shares of lost units that raised its alert, at the levels that resolve it.

While the detector itself still holds the problem open, no remedy is effective yet, however few units are lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relumine.schemas.alert import Kind, RemedyOutcome
from relumine.schemas.limits import MAX_STEP
from relumine_server.detection.decisions import required_units
from relumine_server.detection.policy import Policy

UNIT_KINDS: tuple[Kind, ...] = ("dying", "dead", "born_dead")
"""Kinds of problem that are a share of a layer's units."""
_LOST_TEXT = {"dying": "dying or dead", "dead": "dead", "born_dead": "born dead"}


@dataclass(frozen=True, slots=True)
class TreatedProblem:
    """The problem that a remedy was applied to.

    ``baseline_fraction`` is the share of its layer's units that was lost before losses counted. ``ended_with_run``: it
    was open to the end of its run, so no further sampled step will come.
    """

    kind: Kind
    units: int = 0
    baseline_fraction: float = 0.0
    ended_with_run: bool = False


class LayerFractions(NamedTuple):
    """Fractions of all units of a layer at one sampled step; NaN where it could not be evaluated."""

    step: int
    dying: float
    dead: float
    born_dead: float


class StatusChange(NamedTuple):
    """A step from which the detector held the problem open, or resolved; None: it was no longer asked."""

    step: int
    is_open: bool | None


class JudgedRemedy(NamedTuple):
    """The outcome of a remedy and what it is based on; the shares are None where nothing was measured."""

    outcome: RemedyOutcome
    share_before: float | None
    share_after: float | None
    sampled_steps: int
    explanation: str


class _FollowUp(NamedTuple):
    """The sampled steps after a remedy, up to the next one.

    ``clear_steps`` counts the latest of them in a row that are clear of the problem. ``lost_shares`` is empty for
    problems that are no share of units. ``was_open`` and ``is_open`` are the problem's status at the remedy and now.
    """

    sampled_steps: int
    clear_steps: int
    lost_shares: list[float | None]
    last_step: int
    was_open: bool | None
    is_open: bool | None


def judge_outcome(
    problem: TreatedProblem,
    *,
    step: int,
    until_step: int | None,
    fractions: Sequence[LayerFractions],
    status_changes: Sequence[StatusChange],
    policy: Policy,
) -> JudgedRemedy:
    """Judge a remedy applied at ``step`` by the sampled steps since.

    ``fractions`` are in the order of steps, ``status_changes`` in the order in which they came. ``until_step`` is that
    of the layer's next remedy or new baseline.
    """
    end_step = MAX_STEP if until_step is None else until_step
    earlier = [sample for sample in fractions if sample.step <= step]
    later = [sample for sample in fractions if step < sample.step <= end_step]
    has_units = problem.kind in UNIT_KINDS
    changes = drop_overtaken(status_changes)
    follow_up = _FollowUp(
        sampled_steps=len(later),
        clear_steps=_count_clear_steps(problem, later, policy) if has_units else 0,
        lost_shares=[_lost_share(problem, sample) for sample in later] if has_units else [],
        last_step=later[-1].step if later else step,
        was_open=_status_at(changes, step),
        is_open=_status_at(changes, end_step),
    )
    outcome = _outcome_by_units(follow_up, policy) if has_units else _outcome_by_status(follow_up, policy)
    return JudgedRemedy(
        outcome=outcome,
        share_before=_lost_share(problem, earlier[-1]) if earlier and has_units else None,
        share_after=follow_up.lost_shares[-1] if follow_up.lost_shares else None,
        sampled_steps=len(later),
        explanation=_explanation(problem, outcome, follow_up, until_step, policy),
    )


def drop_overtaken(changes: Sequence[StatusChange]) -> list[StatusChange]:
    """Return the changes without those that a resumed training overtook, as it goes on from an earlier step."""
    current: list[StatusChange] = []
    for change in changes:
        while current and current[-1].step > change.step:
            current.pop()
        current.append(change)
    return current


def _status_at(changes: Sequence[StatusChange], step: int) -> bool | None:
    """Return whether the problem was open at a step; None where that is not known."""
    for change in reversed(changes):
        if change.step <= step:
            return change.is_open
    return None


def _outcome_by_units(follow_up: _FollowUp, policy: Policy) -> RemedyOutcome:
    needed = policy.resolve_records
    if follow_up.was_open is False:
        return "inconclusive"
    if follow_up.clear_steps >= needed:
        if not follow_up.is_open:
            return "effective"
        # The units are back, but the detector still sees danger: as many steps again for that to pass.
        return "inconclusive" if follow_up.sampled_steps < 2 * needed else "ineffective"
    if follow_up.sampled_steps < needed or follow_up.clear_steps:
        return "inconclusive"
    return "ineffective"


def _outcome_by_status(follow_up: _FollowUp, policy: Policy) -> RemedyOutcome:
    """Judge a problem that is no share of units: it is over, or it is not."""
    if follow_up.was_open is False or follow_up.is_open is None:
        return "inconclusive"
    if not follow_up.is_open:
        return "effective"
    return "inconclusive" if follow_up.sampled_steps < policy.resolve_records else "ineffective"


def _count_clear_steps(problem: TreatedProblem, fractions: Sequence[LayerFractions], policy: Policy) -> int:
    """Count the latest sampled steps in a row that are clear of the problem."""
    count = 0
    for sample in reversed(fractions):
        if not _is_clear(problem, sample, policy):
            break
        count += 1
    return count


def _lost_share(problem: TreatedProblem, sample: LayerFractions) -> float | None:
    """Return the lost share of the units that can be lost; None where it is unknown. Dying includes dead units."""
    if math.isnan(sample.dead):
        return None
    if problem.kind == "born_dead":
        return sample.born_dead
    lost = sample.dead + (sample.dying if problem.kind == "dying" else 0.0) - problem.baseline_fraction
    eligible = _eligible_share(problem, sample)
    return min(max(lost / eligible, 0.0), 1.0) if eligible > 0 else 0.0


def _eligible_share(problem: TreatedProblem, sample: LayerFractions) -> float:
    return 1.0 - problem.baseline_fraction - sample.born_dead


def _is_clear(problem: TreatedProblem, sample: LayerFractions, policy: Policy) -> bool:
    """Return whether so few units are lost that the detector would count this step towards resolving the alert."""
    share = _lost_share(problem, sample)
    if share is None:
        return False
    if problem.kind == "born_dead":
        return share < policy.born_dead_layer * policy.resolve_factor
    if problem.kind == "dead":
        return share < policy.dead_share * policy.resolve_factor
    eligible = round(_eligible_share(problem, sample) * problem.units)
    return round(share * eligible) < required_units(policy.info_share * policy.resolve_factor, eligible, policy)


def _explanation(
    problem: TreatedProblem, outcome: RemedyOutcome, follow_up: _FollowUp, until_step: int | None, policy: Policy
) -> str:
    if follow_up.was_open is False:
        return "the alert was resolved before it"
    if not follow_up.sampled_steps and outcome == "inconclusive":
        subject = "the layer" if problem.kind in UNIT_KINDS else "the run"
        return f"no sampled step of {subject} since{_end_note(problem, until_step)}"
    status = _status_text(problem, follow_up)
    steps = f"{follow_up.sampled_steps} sampled step{'' if follow_up.sampled_steps == 1 else 's'} since"
    if outcome == "effective":
        return f"{status}, and as few for {follow_up.clear_steps} sampled steps" if follow_up.lost_shares else status
    if outcome == "ineffective":
        return f"{status}{_failure_note(follow_up, policy)}, {steps}"
    if follow_up.lost_shares and follow_up.clear_steps < policy.resolve_records:
        steps += f", the last {follow_up.clear_steps} of them clear; {policy.resolve_records} are needed"
    return f"{status}: {steps}{_end_note(problem, until_step)}"


def _status_text(problem: TreatedProblem, follow_up: _FollowUp) -> str:
    """Return the state at the latest sampled step."""
    if follow_up.lost_shares:
        share = follow_up.lost_shares[-1]
        lost = "values not finite" if share is None else f"{100 * share:.0f} % of the units {_LOST_TEXT[problem.kind]}"
        return f"{lost} at step {follow_up.last_step:,}"
    if follow_up.is_open is None:
        return "the alert was resolved by hand"
    return "the alert still fires" if follow_up.is_open else "the alert is resolved"


def _failure_note(follow_up: _FollowUp, policy: Policy) -> str:
    """Return the kind of failure: a problem that is open although units are back, or units that stay lost."""
    if follow_up.clear_steps:
        return ", and the alert still fires"
    if follow_up.sampled_steps <= policy.resolve_records or not follow_up.lost_shares:
        return ""
    earlier = follow_up.lost_shares[-1 - policy.resolve_records]
    latest = follow_up.lost_shares[-1]
    if earlier is not None and latest is not None and latest <= earlier:
        return ", no longer rising, but not back"
    return ""


def _end_note(problem: TreatedProblem, until_step: int | None) -> str:
    """Return why no further sampled step will decide."""
    if until_step is not None:
        return f"; at step {until_step:,} came the next remedy or a new baseline"
    return "; the run has ended" if problem.ended_with_run else ""
