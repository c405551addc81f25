"""What is said of a remedy rests on the looks after it, at the levels that raise and resolve the alert."""

from __future__ import annotations

import math

import pytest

from relumine_server.detection.outcome import Case, Look, Turn, in_order, judge
from relumine_server.detection.policy import DEFAULT

STEP = 100
DYING = Case("dying", units=20)
RAISED = Turn(90, is_open=True)


def looks(*shares, kind="dying", first=STEP + 10, other=0.0):
    """Looks ten steps apart; each share is of the given kind, and ``other`` of the kinds beside it."""
    return [
        Look(first + 10 * i, **(dict.fromkeys(("dying", "dead", "born_dead"), other) | {kind: share}))
        for i, share in enumerate(shares)
    ]


def said(case, seen, *turns, until=None, step=STEP):
    return judge(case, step, until, seen, turns or (RAISED, Turn(step + 1, is_open=False)), DEFAULT)


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ([], "too_early"),
        ([0.0], "too_early"),
        ([0.6] * 7, "too_early"),  # units take a while to return
        ([0.0] * 7, "too_early"),
        ([0.0] * 8, "worked"),
        ([0.6] * 8, "did_not_work"),
        ([0.6] * 20 + [0.0] * 7, "too_early"),  # they are just coming back
        ([0.6] * 20 + [0.0] * 8, "worked"),
        ([0.0] * 20 + [0.6], "did_not_work"),  # it did not last
        ([0.1] * 8, "worked"),  # 2 of 20, less than a handful
        ([0.2] * 8, "did_not_work"),  # 4 of 20 are what would be shown
    ],
)
def test_so_many_sound_looks_in_a_row_have_worked(after, outcome):
    assert said(DYING, looks(*after)).outcome == outcome


@pytest.mark.parametrize("period", [2, 3, 7])
@pytest.mark.parametrize("seen", range(1, 60, 7))
def test_a_layer_that_flaps_has_never_been_brought_back(period, seen):
    flapping = looks(*(0.6 if i % period == 0 else 0.0 for i in range(seen)))
    assert said(DYING, flapping).outcome in ("too_early", "did_not_work")


@pytest.mark.parametrize(
    ("kind", "share", "outcome"),
    [
        ("dying", 0.09, "worked"),
        ("dying", 0.1, "did_not_work"),
        ("dead", 0.24, "worked"),  # half of what makes a layer dead
        ("dead", 0.25, "did_not_work"),
        ("born_dead", 0.24, "worked"),
        ("born_dead", 0.25, "did_not_work"),
    ],
)
def test_the_level_is_that_at_which_the_alert_is_resolved(kind, share, outcome):
    assert said(Case(kind, units=100), looks(*[share] * 8, kind=kind)).outcome == outcome


def test_what_was_born_dead_is_judged_by_that_alone():
    born = Case("born_dead", units=20)
    revived = said(born, looks(*[0.0] * 8, kind="born_dead", other=0.9))
    assert (revived.outcome, revived.share_after) == ("worked", 0.0)
    assert said(born, looks(*[0.9] * 8, kind="born_dead")).outcome == "did_not_work"


def test_who_is_dying_counts_the_dead_and_who_is_dead_not_the_dying():
    assert said(DYING, looks(*[0.9] * 8, kind="dead")).outcome == "did_not_work"
    dead = said(Case("dead", units=20), looks(*[0.0] * 8, kind="dead", other=0.0))
    assert dead.outcome == "worked"
    assert said(Case("dead", units=20), looks(*[0.9] * 8, kind="dying")).outcome == "worked"


def test_units_that_were_lost_before_it_counted_are_none_of_it():
    case = Case("dead", units=20, baseline=0.4)
    judged = said(case, [*looks(0.85, kind="dead", first=STEP), *looks(*[0.4] * 8, kind="dead")])
    assert (judged.outcome, judged.share_before, judged.share_after) == ("worked", pytest.approx(0.75), 0.0)
    still = said(case, looks(*[0.7] * 8, kind="dead"))
    assert (still.outcome, still.share_after) == ("did_not_work", pytest.approx(0.5))
    assert said(Case("dead", units=20), looks(*[0.4] * 8, kind="dead")).outcome == "did_not_work"


def test_units_that_were_born_dead_could_not_be_lost():
    seen = [Look(STEP + 10 * i, 0.25, 0.0, 0.5) for i in range(1, 9)]
    assert said(DYING, seen).share_after == 0.5
    assert said(DYING, [Look(STEP + 1, 0.0, 0.0, 1.0)]).share_after == 0.0


def test_before_is_the_last_look_up_to_the_remedy_and_after_the_latest_since():
    seen = [*looks(0.1, 0.5, first=STEP - 10), *looks(0.4, 0.3)]
    judged = said(DYING, seen)
    assert (judged.share_before, judged.share_after, judged.looks) == (0.5, 0.3, 2)


def test_without_a_look_since_nothing_can_be_said():
    judged = said(DYING, looks(0.5, first=STEP))
    assert (judged.outcome, judged.share_before, judged.share_after, judged.looks) == ("too_early", 0.5, None, 0)
    assert judged.words == "no look at the layer since"
    assert said(DYING, []).share_before is None


def test_each_of_several_remedies_is_judged_up_to_the_next():
    seen = looks(*[0.6] * 10, *[0.0] * 8)
    first = said(DYING, seen, RAISED, Turn(280, is_open=False), until=200)
    second = said(DYING, seen, RAISED, Turn(280, is_open=False), step=200)
    assert (first.outcome, first.looks) == ("did_not_work", 10)
    assert (second.outcome, second.looks, second.share_before) == ("worked", 8, 0.6)
    short = said(DYING, seen, until=120)
    assert (short.outcome, short.looks) == ("too_early", 2)
    assert short.words.endswith("; at step 120 came the next remedy or a new baseline")


def test_a_run_that_ended_too_soon_leaves_it_open_and_says_so():
    judged = said(Case("dying", units=20, ended=True), looks(0.6, 0.0, 0.0), RAISED)
    assert judged.outcome == "too_early"
    assert judged.words == (
        "0 % of the units dying or dead at step 130: 3 looks since, the last 2 of them sound; 8 are needed"
        "; the run has ended"
    )


@pytest.mark.parametrize(("after", "outcome"), [(7, "too_early"), (15, "too_early"), (16, "did_not_work")])
def test_while_the_detector_sees_danger_no_few_units_lost_are_a_success(after, outcome):
    """An alert may rest on the risk alone, before any unit is lost."""
    assert said(DYING, looks(*[0.0] * after), RAISED).outcome == outcome


def test_an_alert_that_was_raised_again_did_not_stay_away():
    seen = looks(*[0.0] * 30)
    assert said(DYING, seen, RAISED, Turn(200, is_open=False)).outcome == "worked"
    assert said(DYING, seen, RAISED, Turn(200, is_open=False), Turn(300, is_open=True)).outcome == "did_not_work"


def test_an_alert_that_was_over_before_its_remedy_says_nothing_of_it():
    judged = said(DYING, looks(*[0.0] * 30), RAISED, Turn(STEP, is_open=False))
    assert (judged.outcome, judged.words) == ("too_early", "the alert was over before it")


def test_of_an_alert_that_a_person_closed_the_units_alone_speak():
    closed = (RAISED, Turn(105, None))
    assert said(DYING, looks(*[0.0] * 8), *closed).outcome == "worked"
    assert said(DYING, looks(*[0.6] * 8), *closed).outcome == "did_not_work"


def test_values_that_are_not_finite_are_no_sound_looks():
    judged = said(DYING, [*looks(*[0.0] * 8), *looks(math.nan, other=math.nan, first=300)])
    assert (judged.outcome, judged.share_after) == ("did_not_work", None)
    assert judged.words == "values not finite at step 300, 9 looks since"


@pytest.mark.parametrize(
    ("after", "turns", "outcome"),
    [
        (0, (RAISED,), "too_early"),
        (7, (RAISED,), "too_early"),
        (8, (RAISED,), "did_not_work"),
        (3, (RAISED, Turn(130, is_open=False)), "worked"),
        (30, (RAISED, Turn(130, is_open=False), Turn(200, is_open=True)), "did_not_work"),
        (30, (RAISED, Turn(130, None)), "too_early"),  # a person closed it: the detector was not asked any more
        (30, (RAISED, Turn(95, is_open=False)), "too_early"),
    ],
)
@pytest.mark.parametrize("kind", ["constant_output", "diverged"])
def test_an_alert_of_the_run_is_over_by_itself_or_it_is_not(kind, after, turns, outcome):
    judged = said(Case(kind), looks(*[math.nan] * after, other=math.nan), *turns)
    assert (judged.outcome, judged.share_before, judged.share_after) == (outcome, None, None)


def test_what_a_resumed_training_overtook_is_forgotten():
    old, again = Turn(300, is_open=True), Turn(220, is_open=False)
    assert in_order([RAISED, old, again]) == [RAISED, again]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ([0.0] * 9, "0 % of the units dying or dead at step 190, and as few for 9 looks"),
        ([0.6] * 8, "60 % of the units dying or dead at step 180, 8 looks since"),
        ([0.6] * 9, "60 % of the units dying or dead at step 190, no longer more, and not back, 9 looks since"),
        ([0.0], "0 % of the units dying or dead at step 110: 1 look since, the last 1 of them sound; 8 are needed"),
    ],
)
def test_the_words_say_what_it_rests_on(after, words):
    assert said(DYING, looks(*after)).words == words
