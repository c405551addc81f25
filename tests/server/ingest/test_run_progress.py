"""The progress of a run by an upload, decided without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from relumine.schemas.record import Record
from relumine.schemas.upload import LoggedMetric, RunInfo, Upload
from relumine.schemas.watching import Watching
from relumine_server.ingest.run_progress import Arrival, progress
from relumine_server.runs.rows import LockedRun
from relumine_server.runs.session_order import RunSession
from relumine_server.timeseries.sessions import SessionNote
from relumine_server.timeseries.unit_stats import RowsWritten

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = "000000000001-s1"
SECOND = "000000000002-s2"
NEW = LockedRun(
    run_id="r1", project="p", group_name=None, name=None, status="running", finished_at=None, last_step=None,
    dropped={}, is_shared=False, uncompacted_records=0, detector_session=None, detector_seq=None,
    last_heartbeat_at=None, session_first_step=None, longest_gap_s=0.0, unit_stat_rows=0, unit_stat_bytes=0,
    sampled_steps=0, problem_health=None, problem_reason=None, layers_dead=0, has_open_alerts=False,
    has_stalled_alert=False, watching=None,
)  # fmt: skip
KNOWN = replace(
    NEW, last_step=20, uncompacted_records=2, detector_session=FIRST, detector_seq=2, session_first_step=10,
    last_heartbeat_at=NOW - timedelta(seconds=30), unit_stat_rows=2, unit_stat_bytes=100,
)  # fmt: skip


def upload(*steps, session=FIRST, seq=3, **fields):
    records = [Record(layer_id=0, first_step=step, step=step, n_examples=8, loss=1.0) for step in steps]
    return Upload(run=RunInfo(id="r1"), session=session, seq=seq, records=records, **fields)


def change_of(run, upload, *, is_analyzed=True, is_replayed=False, dropped_before=None, rows=0, size_bytes=0):
    newest = run.detector_session or ""
    session = RunSession(upload.session, is_newest=upload.session >= newest, is_new=upload.session > newest)
    arrival = Arrival(session, is_analyzed, is_replayed, dropped_before or {})
    return progress(run, upload, arrival, RowsWritten(rows, size_bytes), NOW)


def test_the_first_upload_begins_a_session():
    change = change_of(NEW, upload(10, 20, seq=1), rows=2, size_bytes=100)
    assert change.session_note == SessionNote(10, out_of_order=False, client_session="s1")
    assert change.row_values == {
        "updated_at": NOW, "last_step": 20, "uncompacted_records": 2, "unit_stat_rows": 2, "unit_stat_bytes": 100,
        "detector_session": FIRST, "detector_seq": 1, "last_heartbeat_at": NOW, "session_first_step": 10,
        "rate_step": 20, "rate_at": NOW, "steps_per_s": None, "sampled_steps": 2, "final_loss": 1.0, "since_layer": 2,
        "health": "healthy", "health_reason": None, "problem_health": None, "problem_reason": None,
    }  # fmt: skip
    assert change.effect.step == 20


def test_an_upload_that_follows_changes_no_session():
    change = change_of(KNOWN, upload(30, metrics=[LoggedMetric(step=40, name="loss", value=1.0)]))
    assert change.session_note is None
    assert "session_first_step" not in change.row_values
    assert change.row_values["last_step"] == 30  # logged metrics may be numbered otherwise
    assert change.row_values["longest_gap_s"] == 30.0
    assert change.effect == (30, False, True, None, None)


def test_repeated_steps_are_noted_as_out_of_order():
    assert change_of(KNOWN, upload(20, 30)).session_note == SessionNote(20, out_of_order=True, client_session="s1")
    assert change_of(KNOWN, upload(5)).row_values["session_first_step"] == 5


def test_a_late_upload_neither_moves_the_heartbeat_nor_ends_the_run():
    change = change_of(KNOWN, upload(15, seq=1, final_status="finished"), is_analyzed=False)
    assert change.session_note == SessionNote(15, out_of_order=True, client_session="s1")
    stored = {"updated_at", "uncompacted_records", "unit_stat_rows", "unit_stat_bytes"}
    assert change.row_values.keys() == stored | {"health", "health_reason", "problem_health", "problem_reason"}
    assert change.effect == (20, False, False, None, None)


def test_the_final_status_ends_the_run_and_a_new_session_resumes_it():
    ended = change_of(KNOWN, upload(30, final_status="failed"))
    assert (ended.row_values["status"], ended.row_values["finished_at"]) == ("failed", NOW)
    assert ended.effect.final_status == "failed"
    resumed = change_of(replace(KNOWN, status="failed"), upload(15, session=SECOND, seq=1))
    assert (resumed.row_values["status"], resumed.row_values["finished_at"]) == ("running", None)
    assert resumed.effect.resumes
    same_session = change_of(replace(KNOWN, status="failed"), upload(30))
    assert "status" not in same_session.row_values


def test_any_upload_revives_a_stalled_run():
    assert change_of(replace(KNOWN, status="stalled"), upload(30)).row_values["status"] == "running"


def test_drops_are_counted_since_the_previous_upload_of_the_process():
    run = replace(KNOWN, dropped={"buffer_full": 4, "refused": 1})
    change = change_of(run, upload(30, dropped={"buffer_full": 5}), dropped_before={"buffer_full": 3})
    assert change.newly_dropped == {"buffer_full": 2}
    assert change.row_values["dropped"] == {"buffer_full": 6, "refused": 1}


def test_a_training_beside_the_newest_one_keeps_the_run_open_until_both_have_ended():
    both = replace(KNOWN, detector_session=SECOND)
    assert change_of(both, upload(30)).row_values["is_shared"] is True
    newest_ended = replace(both, status="finished", finished_at=NOW)
    revived = change_of(newest_ended, upload(30))
    assert (revived.row_values["status"], revived.effect.resumes) == ("running", True)
    last = change_of(replace(newest_ended, status="running"), upload(40, final_status="failed"))
    assert (last.row_values["status"], last.effect.final_status) == ("failed", "failed")
    first = change_of(both, upload(40, final_status="finished"))
    assert ("status" in first.row_values, first.effect.final_status) == (False, None)


def test_what_is_replayed_of_an_older_session_changes_no_status():
    ended = replace(KNOWN, detector_session=SECOND, status="finished", finished_at=NOW)
    change = change_of(ended, upload(30), is_replayed=True)
    assert change.row_values.keys().isdisjoint({"status", "is_shared"})
    assert not change.effect.resumes


def test_health_needs_sampled_steps_that_were_analyzed_and_delivered():
    assert change_of(NEW, upload(seq=1)).row_values["health"] == "unknown"
    assert change_of(KNOWN, upload(30)).row_values["health"] == "healthy"
    lossy = change_of(replace(KNOWN, sampled_steps=8), upload(30, dropped={"refused": 2}))
    assert lossy.row_values["health"] == "unknown"
    assert lossy.row_values["health_reason"] == "2 of 11 sampled steps were not delivered"
    unwatched = Watching(state="unwatched", reason="eval_mode", last_step=20)
    assert change_of(KNOWN, upload(30, watching=unwatched)).row_values["health"] == "unwatched"
    at_risk = replace(KNOWN, problem_health="at_risk", problem_reason="fc1 dying")
    assert change_of(at_risk, upload(30)).row_values["health"] == "at_risk"
    assert change_of(at_risk, upload(30, watching=unwatched)).row_values["health"] == "unwatched"
    damaged = replace(KNOWN, problem_health="damaged", problem_reason="fc1 dead")
    for fields in ({"watching": unwatched}, {"final_status": "finished"}, {"dropped": {"refused": 500}}):
        values = change_of(damaged, upload(30, **fields)).row_values
        assert (values["health"], values["health_reason"]) == ("damaged", "fc1 dead")


def test_only_a_change_of_watching_has_an_effect():
    unwatched = Watching(state="unwatched", reason="eval_mode", last_step=20)
    change = change_of(KNOWN, upload(30, watching=unwatched))
    assert change.effect.watching == unwatched
    assert change.row_values["watching"] == unwatched.model_dump()
    known = replace(KNOWN, watching=unwatched.model_dump())
    assert change_of(known, upload(30, watching=unwatched)).effect.watching is None
    assert change_of(known, upload(30, watching=Watching(state="watching"))).effect.watching is not None
    assert change_of(known, upload(30)).effect.watching is None
