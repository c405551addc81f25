"""The outcome of a remedy, judged by the sampled steps after it, at the levels that raise and resolve the alert."""

from __future__ import annotations

import math

import pytest

from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.remedy_outcome import (
    LayerFractions,
    StatusChange,
    TreatedProblem,
    drop_overtaken,
    judge_outcome,
)

STEP = 100
DYING = TreatedProblem("dying", units=20)
RAISED = StatusChange(90, is_open=True)
KINDS = ("dying", "dead", "born_dead")


def samples(*shares, kind="dying", first=STEP + 10, other=0.0):
    """Return sampled steps ten steps apart; each share is of the given kind, and ``other`` of the two other kinds."""
    result = []
    for index, share in enumerate(shares):
        fractions = dict.fromkeys(KINDS, other) | {kind: share}
        result.append(LayerFractions(first + 10 * index, **fractions))
    return result


def judge(problem, fractions, *changes, until=None, step=STEP):
    """Judge a remedy; without ``changes`` its alert was open, and resolved right after the remedy."""
    return judge_outcome(
        problem,
        step=step,
        until_step=until,
        fractions=fractions,
        status_changes=changes or (RAISED, StatusChange(step + 1, is_open=False)),
        policy=DEFAULT,
    )


@pytest.mark.parametrize(
    ("shares", "outcome"),
    [
        ([], "inconclusive"),
        ([0.0], "inconclusive"),
        ([0.6] * 7, "inconclusive"),  # units take a while to return
        ([0.0] * 7, "inconclusive"),
        ([0.0] * 8, "effective"),
        ([0.6] * 8, "ineffective"),
        ([0.6] * 20 + [0.0] * 7, "inconclusive"),  # they are just coming back
        ([0.6] * 20 + [0.0] * 8, "effective"),
        ([0.0] * 20 + [0.6], "ineffective"),  # it did not last
        ([0.1] * 8, "effective"),  # 2 of 20 are less than a handful
        ([0.2] * 8, "ineffective"),  # 4 of 20 would be shown
    ],
)
def test_eight_clear_sampled_steps_in_a_row_make_a_remedy_effective(shares, outcome):
    assert judge(DYING, samples(*shares)).outcome == outcome


@pytest.mark.parametrize("period", [2, 3, 7])
@pytest.mark.parametrize("steps", range(1, 60, 7))
def test_a_layer_that_flaps_never_counts_as_recovered(period, steps):
    flapping = samples(*(0.6 if i % period == 0 else 0.0 for i in range(steps)))
    assert judge(DYING, flapping).outcome in ("inconclusive", "ineffective")


@pytest.mark.parametrize(
    ("kind", "share", "outcome"),
    [
        ("dying", 0.09, "effective"),
        ("dying", 0.1, "ineffective"),
        ("dead", 0.24, "effective"),  # half of the share that makes a layer dead
        ("dead", 0.25, "ineffective"),
        ("born_dead", 0.24, "effective"),
        ("born_dead", 0.25, "ineffective"),
    ],
)
def test_the_level_is_the_one_that_resolves_the_alert(kind, share, outcome):
    assert judge(TreatedProblem(kind, units=100), samples(*[share] * 8, kind=kind)).outcome == outcome


def test_a_born_dead_problem_is_judged_by_born_dead_units_alone():
    born_dead = TreatedProblem("born_dead", units=20)
    revived = judge(born_dead, samples(*[0.0] * 8, kind="born_dead", other=0.9))
    assert (revived.outcome, revived.share_after) == ("effective", 0.0)
    assert judge(born_dead, samples(*[0.9] * 8, kind="born_dead")).outcome == "ineffective"


def test_dying_includes_dead_units_and_dead_excludes_dying_ones():
    dead = TreatedProblem("dead", units=20)
    assert judge(DYING, samples(*[0.9] * 8, kind="dead")).outcome == "ineffective"
    assert judge(dead, samples(*[0.0] * 8, kind="dead", other=0.0)).outcome == "effective"
    assert judge(dead, samples(*[0.9] * 8, kind="dying")).outcome == "effective"


def test_units_of_the_baseline_do_not_count():
    problem = TreatedProblem("dead", units=20, baseline_fraction=0.4)
    recovered = judge(problem, [*samples(0.85, kind="dead", first=STEP), *samples(*[0.4] * 8, kind="dead")])
    assert (recovered.outcome, recovered.share_before, recovered.share_after) == ("effective", pytest.approx(0.75), 0.0)
    lost = judge(problem, samples(*[0.7] * 8, kind="dead"))
    assert (lost.outcome, lost.share_after) == ("ineffective", pytest.approx(0.5))
    assert judge(TreatedProblem("dead", units=20), samples(*[0.4] * 8, kind="dead")).outcome == "ineffective"


def test_born_dead_units_are_not_among_those_that_can_be_lost():
    half_born_dead = [LayerFractions(STEP + 10 * i, 0.25, 0.0, 0.5) for i in range(1, 9)]
    assert judge(DYING, half_born_dead).share_after == 0.5
    assert judge(DYING, [LayerFractions(STEP + 1, 0.0, 0.0, 1.0)]).share_after == 0.0


def test_the_shares_are_of_the_last_sampled_step_up_to_the_remedy_and_of_the_latest_one():
    judged = judge(DYING, [*samples(0.1, 0.5, first=STEP - 10), *samples(0.4, 0.3)])
    assert (judged.share_before, judged.share_after, judged.sampled_steps) == (0.5, 0.3, 2)


def test_without_a_sampled_step_since_the_remedy_is_inconclusive():
    judged = judge(DYING, samples(0.5, first=STEP))
    assert (judged.outcome, judged.share_before, judged.share_after) == ("inconclusive", 0.5, None)
    assert judged.sampled_steps == 0
    assert judged.explanation == "no sampled step of the layer since"
    assert judge(DYING, []).share_before is None


def test_each_of_several_remedies_is_judged_up_to_the_next():
    fractions = samples(*[0.6] * 10, *[0.0] * 8)
    changes = (RAISED, StatusChange(280, is_open=False))
    first = judge(DYING, fractions, *changes, until=200)
    second = judge(DYING, fractions, *changes, step=200)
    assert (first.outcome, first.sampled_steps) == ("ineffective", 10)
    assert (second.outcome, second.sampled_steps, second.share_before) == ("effective", 8, 0.6)
    short = judge(DYING, fractions, until=120)
    assert (short.outcome, short.sampled_steps) == ("inconclusive", 2)
    assert short.explanation.endswith("; at step 120 came the next remedy or a new baseline")


def test_a_run_that_ended_too_soon_leaves_a_remedy_inconclusive_and_the_explanation_names_the_end():
    judged = judge(TreatedProblem("dying", units=20, ended_with_run=True), samples(0.6, 0.0, 0.0), RAISED)
    assert judged.outcome == "inconclusive"
    assert judged.explanation == (
        "0 % of the units dying or dead at step 130: 3 sampled steps since, the last 2 of them clear; 8 are needed"
        "; the run has ended"
    )


@pytest.mark.parametrize(("steps", "outcome"), [(7, "inconclusive"), (15, "inconclusive"), (16, "ineffective")])
def test_a_remedy_is_not_effective_while_the_detector_holds_the_problem_open(steps, outcome):
    """An alert may rest on the risk alone, before any unit is lost."""
    assert judge(DYING, samples(*[0.0] * steps), RAISED).outcome == outcome


def test_an_alert_that_was_raised_again_makes_a_remedy_ineffective():
    clear = samples(*[0.0] * 30)
    resolved = StatusChange(200, is_open=False)
    assert judge(DYING, clear, RAISED, resolved).outcome == "effective"
    assert judge(DYING, clear, RAISED, resolved, StatusChange(300, is_open=True)).outcome == "ineffective"


def test_a_remedy_after_the_end_of_its_alert_is_inconclusive():
    judged = judge(DYING, samples(*[0.0] * 30), RAISED, StatusChange(STEP, is_open=False))
    assert (judged.outcome, judged.explanation) == ("inconclusive", "the alert was resolved before it")


def test_where_a_person_resolved_the_alert_the_units_alone_decide():
    changes = (RAISED, StatusChange(105, None))
    assert judge(DYING, samples(*[0.0] * 8), *changes).outcome == "effective"
    assert judge(DYING, samples(*[0.6] * 8), *changes).outcome == "ineffective"


def test_sampled_steps_with_nonfinite_values_are_not_clear():
    judged = judge(DYING, [*samples(*[0.0] * 8), *samples(math.nan, other=math.nan, first=300)])
    assert (judged.outcome, judged.share_after) == ("ineffective", None)
    assert judged.explanation == "values not finite at step 300, 9 sampled steps since"


@pytest.mark.parametrize(
    ("steps", "changes", "outcome"),
    [
        (0, (RAISED,), "inconclusive"),
        (7, (RAISED,), "inconclusive"),
        (8, (RAISED,), "ineffective"),
        (3, (RAISED, StatusChange(130, is_open=False)), "effective"),
        (30, (RAISED, StatusChange(130, is_open=False), StatusChange(200, is_open=True)), "ineffective"),
        (30, (RAISED, StatusChange(130, None)), "inconclusive"),  # a person resolved it: the detector was not asked
        (30, (RAISED, StatusChange(95, is_open=False)), "inconclusive"),
    ],
)
@pytest.mark.parametrize("kind", ["constant_output", "diverged"])
def test_a_problem_of_the_run_is_judged_by_its_status(kind, steps, changes, outcome):
    judged = judge(TreatedProblem(kind), samples(*[math.nan] * steps, other=math.nan), *changes)
    assert (judged.outcome, judged.share_before, judged.share_after) == (outcome, None, None)


def test_changes_that_a_resumed_training_overtook_are_dropped():
    overtaken = StatusChange(300, is_open=True)
    after_resume = StatusChange(220, is_open=False)
    assert drop_overtaken([RAISED, overtaken, after_resume]) == [RAISED, after_resume]


@pytest.mark.parametrize(
    ("shares", "explanation"),
    [
        ([0.0] * 9, "0 % of the units dying or dead at step 190, and as few for 9 sampled steps"),
        ([0.6] * 8, "60 % of the units dying or dead at step 180, 8 sampled steps since"),
        (
            [0.6] * 9,
            "60 % of the units dying or dead at step 190, no longer rising, but not back, 9 sampled steps since",
        ),
        (
            [0.0],
            "0 % of the units dying or dead at step 110: 1 sampled step since, the last 1 of them clear; 8 are needed",
        ),
    ],
)
def test_the_explanation_states_what_the_outcome_is_based_on(shares, explanation):
    assert judge(DYING, samples(*shares)).explanation == explanation
