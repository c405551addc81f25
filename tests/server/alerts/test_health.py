"""The health of a run that stopped reporting."""

from __future__ import annotations

import pytest

from relumine.schemas.record import Record
from tests.helpers.alert_harness import finding


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


def test_a_project_lists_how_many_of_its_runs_have_each_health(harness):
    record = Record(layer_id=1, first_step=1, step=1, n_examples=8, active=[4] * 4)
    harness.upload(run="r1", records=[record])
    harness.upload(run="r2", records=[record], final_status="finished")
    harness.upload(finding(kind="dead"), run="r3", records=[record])
    (project,) = harness.call("GET", "/v1/projects").json()["items"]
    assert (project["runs"], project["health_counts"]) == (3, {"healthy": 2, "damaged": 1})
