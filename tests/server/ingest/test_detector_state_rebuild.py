"""A saved detector state that cannot be read, as after an upgrade, costs its run nothing: it is rebuilt."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from relumine_server.db import tables
from relumine_server.detection import detector
from relumine_server.ingest.analysis import SAVE_EVERY
from relumine_server.ingest.service import IngestService
from relumine_server.runs import retention
from relumine_server.runs.retention import OverfullRun, Retention
from relumine_server.timeseries import compaction, replay
from tests.helpers.lost_state import (
    DAMAGES,
    DYING,
    HEALTHY,
    UNITS,
    bodies,
    damage_state,
    rebuild_lines,
    sampled_steps,
    saved_state,
    send,
)

INSENSITIVE = {"thresholds": {"born_dead_layer": 1.0}}
"""Thresholds under which a layer with one active unit is not born dead."""


RECOVERED = list(sampled_steps(40, 70))


def alerts_of(call, run):
    """The alerts of a run, without the fields that differ between runs."""
    items = call("GET", "/v1/alerts", params={"run_id": run}).json()["items"]
    omitted = {"id", "incident_id", "run_id", "run", "url", "message"}
    omitted |= {"opened_at", "updated_at", "resolved_at", "ended_at"}
    alerts = [{name: value for name, value in alert.items() if name not in omitted} for alert in items]
    return sorted(alerts, key=lambda alert: alert["kind"])


def brief_alerts_of(call, run):
    names = ("kind", "state", "severity", "opened_step", "resolved_reason")
    return [tuple(alert[name] for name in names) for alert in alerts_of(call, run)]


def states_of_alerts(call, run):
    return {alert["state"] for alert in alerts_of(call, run)}


def restart(app, advance=detector.advance):
    """Replace ingest by one that has no state cached."""
    app.state.services.ingest = IngestService("", advance=advance)


def lose_state(app, run, how="another version"):
    damage_state(app.state.services.database, run, how)
    restart(app)


def test_the_next_upload_is_accepted_and_alerts_are_as_if_the_state_had_been_kept(app, call):
    records = [*HEALTHY, *DYING]
    is_sqlite = app.state.services.database.engine.dialect.name == "sqlite"
    damages = list(DAMAGES)[: None if is_sqlite else 2]  # the bytes are the same on every database
    lost = [how.replace(" ", "-") for how in damages]
    for run in ("kept", *lost):
        send(call, run, records[:60])
    for run, how in zip(lost, damages, strict=True):
        lose_state(app, run, how)
    for run in ("kept", *lost):
        send(call, run, records[60:], first_seq=16, final_status="finished")
    alerts = alerts_of(call, "kept")
    state = saved_state(app.state.services.database, "kept")
    assert {alert["kind"] for alert in alerts} == {"dead"}
    for run in lost:
        assert alerts_of(call, run) == alerts, run
        assert saved_state(app.state.services.database, run) == state, run


@pytest.mark.parametrize("steps_before", [24, 32, 36])
def test_whenever_it_is_lost(app, call, steps_before):
    records = [*HEALTHY, *DYING]
    sent = 2 * steps_before
    for run in ("kept", "lost"):
        send(call, run, records[:sent])
    while app.state.services.database.write(lambda c: compaction.compact(c, "lost")):
        pass
    lose_state(app, "lost")
    for run in ("kept", "lost"):
        send(call, run, [*records[sent:], *RECOVERED], first_seq=steps_before // 2 + 1)
    assert states_of_alerts(call, "kept") == {"resolved"}
    assert alerts_of(call, "lost") == alerts_of(call, "kept")


@pytest.mark.parametrize("limit", ["PAGE_UPLOADS", "PAGE_BYTES"])
def test_the_run_is_read_in_pages_and_no_transaction_is_open_while_it_is_processed(app, call, monkeypatch, limit):
    send(call, "lost", HEALTHY)
    damage_state(app.state.services.database, "lost")
    monkeypatch.setattr(replay, limit, 1)
    advance = detector.advance
    database = app.state.services.database
    open_connections = []

    def watched(*arguments):
        open_connections.append((database.engine.pool.checkedout(), database.writing_engine.pool.checkedout()))
        return advance(*arguments)

    restart(app, watched)
    monkeypatch.setattr(detector, "advance", watched)
    send(call, "lost", DYING[:4], first_seq=12)
    assert open_connections[:11] == [(0, 0)] * 11
    assert set(open_connections[11:]) == {(0, 1)}


def test_other_runs_upload_during_a_rebuild(app, call, monkeypatch):
    send(call, "lost", HEALTHY)
    lose_state(app, "lost")
    other_bodies = iter(bodies("other", HEALTHY[:20]))
    advance = detector.advance
    rebuilding = threading.Lock()

    def upload_other_run(*arguments):
        if rebuilding.acquire(blocking=False):  # once
            for body in other_bodies:
                assert call("POST", "/v1/uploads", json=body).status_code == 202
        return advance(*arguments)

    monkeypatch.setattr(detector, "advance", upload_other_run)
    send(call, "lost", DYING[:4], first_seq=12)
    assert call("GET", "/v1/runs/other").json()["last_step"] == HEALTHY[19]["step"]


def test_one_line_is_logged_and_the_state_can_be_read_again(app, call):
    send(call, "lost", HEALTHY)
    lose_state(app, "lost")
    with capture_logs() as lines:
        send(call, "lost", DYING[:4], first_seq=12)
        restart(app)
        send(call, "lost", DYING[4:8], first_seq=13)
    (line,) = rebuild_lines(lines)
    assert (line["log_level"], line["run"], line["exact"]) == ("warning", "lost", True)
    assert "version" in line["reason"]


def test_a_thinned_run_keeps_its_alert_until_its_units_recover(app, call):
    records = [*sampled_steps(0, 60), *sampled_steps(60, 200, silent=range(18))]
    send(call, "lost", records, steps=10)
    alerts = brief_alerts_of(call, "lost")
    assert "firing" in states_of_alerts(call, "lost")
    with app.state.services.database.read() as connection:
        size = connection.scalar(select(tables.runs.c.unit_stat_bytes).where(tables.runs.c.run_id == "lost"))
    thinned = OverfullRun("lost", Retention(unit_stats_bytes_per_run=size // 2, unit_stats_keep_every=10))
    while app.state.services.database.write(lambda c: retention.thin(c, thinned)):
        pass
    lose_state(app, "lost")
    with capture_logs() as lines:
        send(call, "lost", list(sampled_steps(200, 204, silent=range(18))), first_seq=21)
    assert [line["exact"] for line in rebuild_lines(lines)] == [False]
    assert brief_alerts_of(call, "lost") == alerts
    send(call, "lost", list(sampled_steps(204, 260)), first_seq=23, steps=10)
    assert states_of_alerts(call, "lost") == {"resolved"}


@pytest.mark.parametrize(("first", "then"), [({"thresholds": {}}, INSENSITIVE), (INSENSITIVE, {"thresholds": {}})])
def test_stored_alerts_stay_though_the_rebuilding_detector_finds_other_problems(app, call, first, then):
    """A changed policy stands for another version of the detector."""
    born_dead = list(sampled_steps(0, 24, silent=range(1, UNITS)))
    saved_at = SAVE_EVERY + 1
    send(call, "first", HEALTHY[:4])
    for run in ("kept", "lost"):
        call("PUT", "/v1/projects/p/policy", json=first)
        restart(app)
        send(call, run, born_dead[: 4 * saved_at])
    call("PUT", "/v1/projects/p/policy", json=then)
    lose_state(app, "lost")
    for run in ("kept", "lost"):
        send(call, run, born_dead[4 * saved_at :], first_seq=saved_at + 1)
    assert [kind for kind, *_ in brief_alerts_of(call, "kept")] == ["born_dead"]
    assert brief_alerts_of(call, "lost") == brief_alerts_of(call, "kept")
    for run in ("kept", "lost"):
        send(call, run, list(sampled_steps(24, 44)), first_seq=13)
    assert brief_alerts_of(call, "lost") == brief_alerts_of(call, "kept")
    assert states_of_alerts(call, "kept") == {"resolved"}


def test_an_alert_that_a_person_resolved_is_not_raised_again(app, call):
    for run in ("kept", "lost"):
        send(call, run, [*HEALTHY, *DYING])
        for alert in call("GET", "/v1/alerts", params={"run_id": run, "state": "firing"}).json()["items"]:
            call("POST", f"/v1/alerts/{alert['id']}/resolve", json={"author": "Ada"})
    lose_state(app, "lost")
    for run in ("kept", "lost"):
        send(call, run, list(sampled_steps(40, 44, silent=range(18))), first_seq=21)
    assert alerts_of(call, "lost") == alerts_of(call, "kept")
    assert states_of_alerts(call, "lost") == {"resolved"}


def test_a_run_that_is_deleted_meanwhile_is_created_again(app, call, monkeypatch):
    send(call, "lost", HEALTHY)
    lose_state(app, "lost")
    advance = detector.advance

    def delete_first(*arguments):
        monkeypatch.setattr(detector, "advance", advance)
        assert call("DELETE", "/v1/runs/lost").status_code == 204
        return advance(*arguments)

    monkeypatch.setattr(detector, "advance", delete_first)
    (body,) = bodies("lost", DYING[:4])
    assert call("POST", "/v1/uploads", json=body | {"seq": 12}).json()["accepted"] == 4
    assert call("GET", "/v1/runs/lost/layers").json()["items"][0]["last_step"] == DYING[3]["step"]


def test_a_state_that_is_lost_again_during_the_rebuild_refuses_the_upload_for_a_while(app, call, monkeypatch):
    """As when processes of two versions write to one database."""
    send(call, "lost", HEALTHY)
    lose_state(app, "lost")
    damage_again = iter([True])
    rebuild = app.state.services.rebuilds.rebuild

    async def rebuild_and_damage(lost):
        await rebuild(lost)
        if next(damage_again, False):
            damage_state(app.state.services.database, "lost")

    monkeypatch.setattr(app.state.services.rebuilds, "rebuild", rebuild_and_damage)
    (body,) = bodies("lost", DYING[:4], first_seq=12)
    answer = call("POST", "/v1/uploads", json=body)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "busy", "1")
    send(call, "lost", DYING[:4], first_seq=12)
