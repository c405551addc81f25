"""Alerts that change by the clock alone: pending periods elapse, runs stall and recover, notifications repeat."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest

from relumine_server.alerts import evaluator
from relumine_server.alerts.evaluator import AlertEvaluator
from relumine_server.alerts.service import AlertService
from relumine_server.alerts.timings import AlertTimings
from relumine_server.db import tables
from relumine_server.metrics import TASKS, Metrics
from relumine_server.settings import Settings
from tests.helpers.alert_harness import START, finding

STALLED = {"layer_id": 0, "kind": "stalled"}


def new_evaluator(harness, settings=None, *, alerts=None, metrics=None):
    return AlertEvaluator(
        harness.database,
        settings or harness.settings,
        lambda: harness.now,
        on_notifications=lambda: None,
        alerts=alerts or harness.services.alerts,
        metrics=metrics,
    )


def test_a_silent_run_has_a_pending_then_a_firing_alert_that_resolves_by_itself(harness):
    harness.upload()
    harness.wait(seconds=599)
    assert harness.call("GET", "/v1/alerts").json()["items"] == []
    harness.wait(seconds=1)
    assert (harness.alert(**STALLED)["state"], harness.run_status(), harness.take_notifications()) == (
        "pending",
        "running",
        [],
    )
    harness.wait(seconds=299)
    assert harness.alert(**STALLED)["state"] == "pending"
    harness.wait(seconds=1)
    alert = harness.alert(**STALLED)
    assert (alert["state"], alert["severity"], alert["layer"], harness.run_status()) == (
        "firing", "warning", None, "stalled",
    )  # fmt: skip
    assert "crash" not in alert["message"].lower()
    assert alert["evidence"]["last_heartbeat_at"] == "2026-01-01T00:00:00Z"
    harness.upload()
    assert (harness.alert(**STALLED)["state"], harness.run_status()) == ("resolved", "running")
    assert harness.take_notifications() == [("alert.firing", ["0.stalled"]), ("alert.resolved", ["0.stalled"])]
    assert harness.states(**STALLED) == ["pending", "firing", "resolved"]


def test_a_run_that_reports_again_within_the_pending_period_is_never_notified(harness):
    harness.upload()
    harness.wait(seconds=700)
    harness.upload()
    assert harness.states(**STALLED) == ["pending", "resolved"]
    harness.wait(seconds=400)
    assert harness.take_notifications() == []


def test_a_run_that_stalls_again_regresses(harness):
    harness.upload()
    harness.wait(seconds=600)
    harness.wait(seconds=300)
    harness.upload()
    harness.wait(hours=3)
    harness.wait(seconds=300)
    assert harness.states(**STALLED) == ["pending", "firing", "resolved", "pending", "regressed"]
    assert harness.run_status() == "stalled"


def test_a_run_that_reports_every_twenty_minutes_has_not_stalled_after_ten(harness):
    for _ in range(4):
        harness.upload()
        harness.now += timedelta(minutes=20)
    harness.upload()
    for _ in range(35):
        harness.wait(minutes=1)
    assert harness.call("GET", "/v1/alerts").json()["items"] == []
    harness.wait(minutes=5)
    assert harness.alert(**STALLED)["state"] == "pending"


def test_a_pause_as_long_as_the_one_before_is_no_stall(harness):
    for _ in range(30):
        harness.upload()
        harness.now += timedelta(seconds=5)
    harness.now += timedelta(minutes=12)
    for _ in range(300):
        harness.upload()
        harness.now += timedelta(seconds=5)
    for _ in range(13):
        harness.wait(minutes=1)
    assert harness.call("GET", "/v1/alerts").json()["items"] == []


@pytest.mark.parametrize("final_status", ["finished", "failed"])
def test_a_run_that_ended_does_not_stall(harness, final_status):
    harness.upload(final_status=final_status)
    harness.wait(days=2)
    harness.wait(days=2)
    assert harness.call("GET", "/v1/alerts").json()["items"] == []
    assert harness.run_status() == final_status


def test_the_end_of_a_stalled_run_ends_its_alert(harness):
    harness.upload()
    harness.wait(seconds=600)
    harness.wait(seconds=300)
    harness.call("PATCH", "/v1/runs/r1", json={"status": "failed"})
    assert harness.states(**STALLED) == ["pending", "firing", "ended"]
    harness.upload(session="s2")
    assert (harness.alert(**STALLED)["state"], harness.run_status()) == ("resolved", "running")
    assert [event for event, _ in harness.take_notifications()] == ["alert.firing", "run.finished", "alert.resolved"]


def test_an_alertmanager_lets_go_of_an_ended_alert_after_a_day(harness):
    harness.upload(finding())
    harness.upload(final_status="finished")
    harness.take_notifications()
    harness.wait(hours=23)
    assert harness.take_notifications() == []
    harness.wait(hours=1)
    assert harness.take_notifications() == [("alert.resolved to alertmanager", ["1.dying"])]
    harness.wait(hours=1)
    assert harness.take_notifications() == []
    assert harness.alert()["state"] == "ended"


def test_a_stalled_alert_resolved_by_a_person_stays_resolved_while_the_silence_lasts(harness):
    harness.upload()
    harness.wait(seconds=600)
    assert harness.act("resolve", **STALLED, note="the disk is being moved").status_code == 200
    harness.wait(hours=5)
    assert harness.states(**STALLED) == ["pending", "resolved"]
    harness.upload()
    harness.wait(hours=11)
    assert harness.alert(**STALLED)["state"] == "pending"


def test_a_layer_without_data_is_pending_before_it_fires(harness):
    harness.upload(finding(2, "no_data"))
    harness.wait(seconds=299)
    assert (harness.alert(2, "no_data")["state"], harness.take_notifications()) == ("pending", [])
    harness.upload()
    harness.wait(seconds=1)
    assert (harness.alert(2, "no_data")["state"], harness.take_notifications()) == (
        "firing",
        [("alert.firing", ["2.no_data"])],
    )
    harness.upload(finding(2, "no_data", "resolved"))
    assert harness.take_notifications() == [("alert.resolved", ["2.no_data"])]


def test_data_that_returns_within_the_pending_period_is_never_notified(harness):
    harness.upload(finding(2, "no_data"))
    harness.upload(finding(2, "no_data", "resolved"))
    harness.wait(seconds=400)
    assert (harness.states(layer_id=2, kind="no_data"), harness.take_notifications()) == (["pending", "resolved"], [])


def test_unacknowledged_alerts_are_notified_again_every_four_hours(harness):
    dead = finding(1, "dead", severity="critical")
    harness.upload(dead, finding(2), finding(3, severity="info"), finding(4, upstream=[1]))
    harness.act("acknowledge", 2)
    harness.take_notifications()
    for _ in range(12 * 6):
        harness.upload()
        harness.wait(minutes=10)
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])] * 3
    harness.act("acknowledge", 1, "dead")
    harness.take_notifications()
    for _ in range(12 * 6):
        harness.upload()
        harness.wait(minutes=10)
    assert harness.take_notifications() == []


def test_a_repeated_notification_changes_nothing(harness):
    harness.upload(finding())
    harness.upload(final_status=None)
    alert = harness.alert()
    harness.now += timedelta(hours=4)
    harness.upload()
    harness.take_notifications()
    assert harness.wait(seconds=1) == 1
    assert harness.take_notifications() == [("alert.firing", ["1.dying"])]
    assert harness.alert() == alert
    assert harness.states() == ["firing"]
    assert harness.wait(seconds=1) == 0


def test_several_processes_that_evaluate_at_once_notify_each_change_once(harness):
    for number in range(5):
        harness.upload(finding(2, "no_data"), run=f"r{number}")
    harness.now += timedelta(minutes=12)
    timings = AlertTimings(
        stall_timeout=timedelta(seconds=harness.settings.stall_timeout_s),
        pending_for=timedelta(seconds=harness.settings.pending_for_s),
        repeat_interval=timedelta(seconds=harness.settings.repeat_interval_s),
        ended_resolve_after=timedelta(seconds=harness.settings.ended_resolve_after_s),
    )
    with harness.database.read() as connection:
        run_ids = evaluator.runs_due(connection, timings, harness.now)
    assert sorted(run_ids) == [f"r{number}" for number in range(5)]
    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(AlertEvaluator.run_once, [new_evaluator(harness) for _ in range(3)])) == 5
    alerts = harness.services.alerts
    for run_id in run_ids:  # a process that selected its runs before the others were done finds nothing left to do
        evaluate = partial(alerts.evaluate_run, run_id=run_id, timings=timings, now=harness.now)
        assert harness.database.write(evaluate) == 0
    assert len(harness.notifications) == 5
    assert harness.states(run="r3", **STALLED) == ["pending"]


def test_a_run_that_stalled_long_ago_counts_as_failed(harness):
    harness.upload(finding())
    body = {"unit_stats_bytes_per_run": 2**20, "unit_stats_keep_every": 10, "run_retention_days": 7}
    assert harness.call("PUT", "/v1/projects/digits/retention", json=body).status_code == 200
    harness.wait(seconds=600)
    harness.wait(seconds=300)
    harness.take_notifications()
    harness.now = START + timedelta(days=8)
    harness.evaluator.run_once()
    assert harness.run_status() == "failed"
    events = [event for event, _ in harness.take_notifications()]
    assert events == ["alert.firing", "run.finished"]
    assert {harness.alert()["state"], harness.alert(**STALLED)["state"]} == {"ended"}
    harness.app.state.services.maintenance.run_once()
    assert harness.run_status() == "failed"  # it is kept as long as any other run that ended


def test_an_evaluation_with_nothing_to_do_writes_nothing(harness, monkeypatch):
    harness.upload(finding())
    monkeypatch.setattr(harness.database, "write", lambda _work: pytest.fail("something was written"))
    assert harness.evaluator.run_once() == 0


class FailingAlertService(AlertService):
    """Fails for one run."""

    def evaluate_run(self, connection, run_id, timings, now):
        if run_id == "damaged":
            raise ValueError(run_id)
        return super().evaluate_run(connection, run_id, timings, now)

    def end_run(self, connection, run_id, final_status, now):
        if run_id == "damaged":
            raise ValueError(run_id)
        super().end_run(connection, run_id, final_status, now)


def test_a_run_that_fails_to_be_evaluated_stops_neither_other_runs_nor_other_tasks(harness):
    body = {"unit_stats_bytes_per_run": 2**20, "unit_stats_keep_every": 10, "run_retention_days": 7}
    for run in ("damaged", "healthy"):
        harness.upload(run=run)
    assert harness.call("PUT", "/v1/projects/digits/retention", json=body).status_code == 200
    silence = {"matchers": {"run_id": "none"}, "ends_at": (START + timedelta(hours=1)).isoformat(), "author": "Ada"}
    assert harness.call("POST", "/v1/silences", json=silence).status_code == 201
    metrics = Metrics()
    evaluator = new_evaluator(harness, alerts=FailingAlertService(harness.record), metrics=metrics)
    harness.now += timedelta(minutes=10)
    evaluator.run_once()
    assert harness.states(run="healthy", **STALLED) == ["pending"]
    assert harness.call("GET", "/v1/alerts?run_id=damaged").json()["items"] == []
    harness.wait(seconds=1)
    harness.wait(minutes=5)
    assert {harness.run_status("damaged"), harness.run_status("healthy")} == {"stalled"}
    harness.now += timedelta(days=40)
    evaluator.run_once()
    assert (harness.run_status("damaged"), harness.run_status("healthy")) == ("stalled", "failed")
    assert harness.call("GET", "/v1/silences").json()["items"] == []
    failed = {task for task in TASKS if metrics.maintenance_failures.labels(task)._value.get()}
    assert failed == {"evaluate_run", "end_abandoned_run"}


def test_the_timings_come_from_the_settings(harness):
    evaluator = new_evaluator(harness, Settings(stall_timeout_s=5, pending_for_s=1, repeat_interval_s=60))
    harness.upload()
    harness.now += timedelta(seconds=6)
    evaluator.run_once()
    harness.now += timedelta(seconds=1)
    assert evaluator.run_once() == 1
    harness.now += timedelta(seconds=60)
    assert evaluator.run_once() == 1
    with harness.database.read() as connection:
        assert connection.execute(tables.alerts.select()).one().kind == "stalled"
