"""The health of a run that stopped reporting, or whose alerts a person closed."""

from __future__ import annotations

import pytest

from relumine.schemas.alert import Alert
from relumine.schemas.record import Record
from relumine.schemas.watching import Watching
from tests.helpers.alert_harness import finding


def alerts_of(harness):
    """Return the alerts of all runs as a client reads them."""
    return [Alert.model_validate(item) for item in harness.call("GET", "/v1/alerts").json()["items"]]


def test_a_run_that_stopped_reporting_is_not_called_healthy_until_it_reports_again(harness):
    record = Record(layer_id=1, first_step=1, step=1, n_examples=8, active=[4] * 4)
    harness.upload(records=[record])
    assert harness.run_health() == "healthy"
    harness.wait(seconds=600)
    assert harness.run_health() == "unknown"
    harness.upload()
    assert harness.run_health() == "healthy"
    harness.wait(hours=3)
    harness.wait(seconds=300)
    assert (harness.run_status(), harness.run_health()) == ("stalled", "unknown")
    harness.call("PATCH", "/v1/runs/r1", json={"status": "finished"})
    assert (harness.run_status(), harness.run_health()) == ("finished", "unknown")  # how it ended was not seen
    harness.upload(session="s2", final_status="finished")
    assert (harness.run_status(), harness.run_health()) == ("finished", "healthy")


@pytest.mark.parametrize(("kind", "health"), [("dying", "at_risk"), ("dead", "damaged"), ("diverged", "diverged")])
def test_a_run_that_stopped_reporting_keeps_a_health_that_is_worse(harness, kind, health):
    harness.upload(finding(kind=kind))
    harness.wait(seconds=600)
    harness.wait(seconds=300)
    assert (harness.run_status(), harness.run_health()) == ("stalled", health)


@pytest.mark.parametrize("waits_s", [(600,), (600, 300)])  # the alert is pending, or fires
@pytest.mark.parametrize("status", [None, "finished"])
def test_closing_the_alert_of_a_silent_run_does_not_make_it_healthy(harness, waits_s, status):
    record = Record(layer_id=1, first_step=1, step=1, n_examples=8, active=[4] * 4)
    harness.upload(records=[record])
    for seconds in waits_s:
        harness.wait(seconds=seconds)
    if status is not None:
        harness.call("PATCH", "/v1/runs/r1", json={"status": status})
    assert harness.act("resolve", 0, "stalled").status_code == 200
    assert harness.run_health() == "unknown"
    harness.wait(hours=5)
    assert harness.run_health() == "unknown"
    if status is None:
        harness.call("PATCH", "/v1/runs/r1", json={"status": "finished"})
        assert harness.run_health() == "unknown"
    for alert in harness.upload(session="s2"):
        assert (alert.kind, alert.outcome) == ("stalled", "recovered")
    assert harness.run_health() == "healthy"


@pytest.mark.parametrize(
    ("layer_id", "kind", "health"),
    [
        (1, "dead", "damaged"),
        (1, "born_dead", "damaged"),
        (0, "diverged", "diverged"),
        (0, "constant_output", "collapsed"),
    ],
)
def test_closing_an_alert_does_not_end_what_was_measured_but_its_recovery_does(harness, layer_id, kind, health):
    record = Record(layer_id=1, first_step=1, step=1, n_examples=8, active=[4] * 4)
    harness.upload(finding(layer_id, kind), records=[record])
    harness.act("resolve", layer_id, kind)
    (alert,) = alerts_of(harness)
    assert (alert.outcome, alert.holds, harness.run_health()) == ("closed", True, health)
    harness.upload(finding(layer_id, kind, "resolved"))
    (alert,) = alerts_of(harness)
    assert (alert.outcome, alert.holds, harness.run_health()) == ("recovered", False, "healthy")


@pytest.mark.parametrize("final_status", [None, "finished"])
def test_a_layer_that_is_no_longer_observed_leaves_the_health_unknown(harness, final_status):
    record = Record(layer_id=1, first_step=1, step=1, n_examples=8, active=[4] * 4)
    harness.upload(finding(2, "no_data"), records=[record], watching=Watching(state="watching"))
    harness.upload(final_status=final_status)
    run = harness.call("GET", "/v1/runs/r1").json()
    assert (run["health"], run["health_reason"]) == ("unknown", "the present state of act2 is not known")
    harness.upload(finding(1, "dying"), session="s2")
    assert harness.run_health() == "at_risk"
    harness.upload(finding(1, "dying", "resolved"), finding(2, "no_data", "resolved"), session="s2")
    assert harness.run_health() == "healthy"


def test_a_project_lists_how_many_of_its_runs_have_each_health(harness):
    record = Record(layer_id=1, first_step=1, step=1, n_examples=8, active=[4] * 4)
    harness.upload(run="r1", records=[record])
    harness.upload(run="r2", records=[record], final_status="finished")
    harness.upload(finding(kind="dead"), run="r3", records=[record])
    (project,) = harness.call("GET", "/v1/projects").json()["items"]
    assert (project["runs"], project["health_counts"]) == (3, {"healthy": 2, "damaged": 1})
