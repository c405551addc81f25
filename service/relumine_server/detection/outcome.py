"""What became of a remedy: decided by the shares that raised its alert, at the levels that resolve it.

Where the detector itself still holds the problem for open, nothing has worked yet, however few units are lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relumine.table import MAX_STEP
from relumine.views import Kind, Outcome
from relumine_server.detection.layers import need
from relumine_server.detection.policy import Policy

UNIT_KINDS: tuple[Kind, ...] = ("dying", "dead", "born_dead")
"""Kinds that are a share of a layer's units."""
_WHAT = {"dying": "dying or dead", "dead": "dead", "born_dead": "born dead"}


@dataclass(frozen=True, slots=True)
class Case:
    """The alert that was treated. ``baseline`` is the share of its layer's units that was lost before it counted.

    ``ended``: it was open to the end of its run, so that nothing more is to come.
    """

    kind: Kind
    units: int = 0
    baseline: float = 0.0
    ended: bool = False


class Look(NamedTuple):
    """What one look said of a layer, in shares of all its units; NaN where it could not be judged."""

    step: int
    dying: float
    dead: float
    born_dead: float


class Turn(NamedTuple):
    """From ``step`` on the detector held the problem for open, or for over; None: it was not asked any more."""

    step: int
    is_open: bool | None


class Judged(NamedTuple):
    """What is said of a remedy; the shares are null where nothing was measured."""

    outcome: Outcome
    share_before: float | None
    share_after: float | None
    looks: int
    words: str


class _Course(NamedTuple):
    """What came after a remedy. ``clear`` counts the latest looks in a row that are sound."""

    looks: int
    clear: int
    shares: list[float | None]
    last: int
    was_open: bool | None
    is_open: bool | None


def judge(
    case: Case, step: int, until: int | None, seen: Sequence[Look], turns: Sequence[Turn], policy: Policy
) -> Judged:
    """What a remedy at ``step`` did, by the looks since.

    ``seen`` is in the order of steps, ``turns`` as they came. ``until``: the layer's next remedy, or new baseline.
    """
    end = MAX_STEP if until is None else until
    before = [look for look in seen if look.step <= step]
    after = [look for look in seen if step < look.step <= end]
    has_units = case.kind in UNIT_KINDS
    shares = [_share(case, look) for look in after] if has_units else []
    last = after[-1].step if after else step
    held = in_order(turns)
    course = _Course(len(after), _clear(case, after, policy), shares, last, _held(held, step), _held(held, end))
    outcome = _of_units(course, policy) if has_units else _of_run(course, policy)
    share_before = _share(case, before[-1]) if before and has_units else None
    words = _words(case, outcome, course, until, policy)
    return Judged(outcome, share_before, shares[-1] if shares else None, len(after), words)


def in_order(turns: Sequence[Turn]) -> list[Turn]:
    """Without those that a resumed training overtook: it goes on from an earlier step."""
    kept: list[Turn] = []
    for turn in turns:
        while kept and kept[-1].step > turn.step:
            kept.pop()
        kept.append(turn)
    return kept


def _held(turns: Sequence[Turn], step: int) -> bool | None:
    """Whether the problem was open at a step."""
    return next((turn.is_open for turn in reversed(turns) if turn.step <= step), None)


def _of_units(course: _Course, policy: Policy) -> Outcome:
    needed = policy.resolve_records
    if course.was_open is False:
        return "too_early"
    if course.clear >= needed:
        if not course.is_open:
            return "worked"
        return "too_early" if course.looks < 2 * needed else "did_not_work"  # as long again for the danger to pass
    return "too_early" if course.looks < needed or course.clear else "did_not_work"


def _of_run(course: _Course, policy: Policy) -> Outcome:
    """An alert that is no share of units is over, or it is not."""
    if course.was_open is False or course.is_open is None:
        return "too_early"
    if not course.is_open:
        return "worked"
    return "too_early" if course.looks < policy.resolve_records else "did_not_work"


def _clear(case: Case, after: Sequence[Look], policy: Policy) -> int:
    """How many of the latest looks in a row are sound."""
    if case.kind not in UNIT_KINDS:
        return 0
    return next((i for i, look in enumerate(reversed(after)) if not _is_clear(case, look, policy)), len(after))


def _share(case: Case, look: Look) -> float | None:
    """Of the units that could be lost, the share that is; None if not known. Whoever is dying counts the dead too."""
    if math.isnan(look.dead):
        return None
    if case.kind == "born_dead":
        return look.born_dead
    lost = look.dead + (look.dying if case.kind == "dying" else 0.0) - case.baseline
    could = _could(case, look)
    return min(max(lost / could, 0.0), 1.0) if could > 0 else 0.0


def _could(case: Case, look: Look) -> float:
    return 1.0 - case.baseline - look.born_dead


def _is_clear(case: Case, look: Look, policy: Policy) -> bool:
    """Whether so few are lost that the detector would hold this look for a sound one."""
    share = _share(case, look)
    if share is None:
        return False
    if case.kind == "born_dead":
        return share < policy.born_dead_layer * policy.resolve_factor
    if case.kind == "dead":
        return share < policy.dead_share * policy.resolve_factor
    could = round(_could(case, look) * case.units)
    return round(share * could) < need(policy.info_share * policy.resolve_factor, could, policy)


def _words(case: Case, outcome: Outcome, course: _Course, until: int | None, policy: Policy) -> str:
    if course.was_open is False:
        return "the alert was over before it"
    if not course.looks and outcome == "too_early":
        return f"no look at {'the layer' if case.kind in UNIT_KINDS else 'the run'} since{_no_more(case, until)}"
    now = _now(case, course)
    looks = f"{course.looks} look{'' if course.looks == 1 else 's'} since"
    if outcome == "worked":
        return f"{now}, and as few for {course.clear} looks" if course.shares else now
    if outcome == "did_not_work":
        return f"{now}{_stands(course, policy)}, {looks}"
    if course.shares and course.clear < policy.resolve_records:
        looks += f", the last {course.clear} of them sound; {policy.resolve_records} are needed"
    return f"{now}: {looks}{_no_more(case, until)}"


def _now(case: Case, course: _Course) -> str:
    """The state of things at the latest look."""
    fires = "the alert still fires" if course.is_open else "the alert is over"
    if not course.shares:
        return fires if course.is_open is not None else "the alert was closed by hand"
    share = course.shares[-1]
    lost = "values not finite" if share is None else f"{100 * share:.0f} % of the units {_WHAT[case.kind]}"
    return f"{lost} at step {course.last:,}"


def _stands(course: _Course, policy: Policy) -> str:
    """What kind of failure it is."""
    if course.clear:
        return ", and the alert still fires"
    if course.looks <= policy.resolve_records or not course.shares:
        return ""
    then, now = course.shares[-1 - policy.resolve_records], course.shares[-1]
    return ", no longer more, and not back" if then is not None and now is not None and now <= then else ""


def _no_more(case: Case, until: int | None) -> str:
    """Why there will be no further look that could tell."""
    if until is not None:
        return f"; at step {until:,} came the next remedy or a new baseline"
    return "; the run has ended" if case.ended else ""
