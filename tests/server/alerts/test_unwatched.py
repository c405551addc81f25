"""A training that goes on without being watched has an alert of kind ``no_data`` for the run."""

from __future__ import annotations

import pytest

from relumine.schemas.watching import EXPLANATIONS, Watching

NO_DATA = {"layer_id": 0, "kind": "no_data"}
WATCHING = Watching(state="watching", last_step=10)


def unwatched(reason="eval_mode", last_step=40):
    return Watching(state="unwatched", reason=reason, last_step=last_step)


def test_a_training_that_is_no_longer_watched_has_an_alert_that_says_since_when_and_why(harness):
    harness.upload(watching=WATCHING)
    harness.upload(watching=unwatched())
    alert = harness.alert(**NO_DATA)
    assert (alert["state"], alert["severity"], alert["title"]) == (
        "pending", "warning", "The training is not being watched",
    )  # fmt: skip
    assert "nothing was recorded since step 40, because the model trains in eval mode" in alert["message"]
    harness.wait(seconds=301)
    assert harness.take_notifications() == [("alert.firing", ["0.no_data"])]


def test_it_resolves_when_the_training_is_watched_again(harness):
    harness.upload(watching=unwatched())
    harness.wait(seconds=301)
    harness.upload(watching=WATCHING)
    alert = harness.alert(**NO_DATA)
    assert (alert["state"], alert["resolved_reason"]) == ("resolved", "the training is being watched again")
    assert harness.states(**NO_DATA) == ["pending", "firing", "resolved"]


def test_the_same_state_again_changes_nothing(harness):
    harness.upload(watching=unwatched())
    before = harness.alert(**NO_DATA)
    assert harness.upload(watching=unwatched(last_step=41)) != []
    assert harness.alert(**NO_DATA) == before


@pytest.mark.parametrize("reason", EXPLANATIONS)
def test_every_reason_has_its_words(harness, reason):
    harness.upload(watching=unwatched(reason, last_step=None))
    alert = harness.alert(**NO_DATA)
    assert f"nothing was ever recorded, because {EXPLANATIONS[reason]}." in alert["message"]
    assert alert["severity"] == ("info" if reason == "nothing_can_die" else "warning")


def test_a_run_shows_whether_it_is_watched(harness):
    harness.upload()
    assert harness.call("GET", "/v1/runs/r1").json()["watching"] is None
    harness.upload(watching=unwatched())
    expected = {"state": "unwatched", "reason": "eval_mode", "last_step": 40}
    assert harness.call("GET", "/v1/runs/r1").json()["watching"] == expected
