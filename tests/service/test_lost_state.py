"""A saved detector state that cannot be read, as after an upgrade, costs its run nothing: it is folded again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from live_server import listening
from sqlalchemy import select, update
from structlog.testing import capture_logs

from relumine_server.detection import onset
from relumine_server.ingest import SAVE_EVERY, Ingest
from relumine_server.storage import compaction, journal, retention
from relumine_server.storage import tables as t
from relumine_server.storage.retention import Retention, Run
from relumine_server.storage.store import Store

UNITS, N = 24, 64
DEAF = {"thresholds": {"born_dead_layer": 1.0}}
"""A layer in which one unit fires is not born dead."""

DAMAGES = {
    "another version": lambda raw: b"RLD0" + raw[4:],
    "nothing": lambda _raw: b"",
    "a beginning": lambda raw: raw[:9],
    "no header": lambda raw: raw[:12],
    "half": lambda raw: raw[: len(raw) // 2],
    "a byte too little": lambda raw: raw[:-1],
    "more": lambda raw: raw + b"\0" * 4,
    "another header": lambda raw: raw.replace(b'"layers":', b'"lagers":'),
    "an odd header": lambda raw: raw.replace(b'"trails":[', b'"trails":{'),
    "no text": lambda raw: raw[:12] + b"\xff" * (len(raw) - 12),
}


def looks(first, last, silent=range(0)):
    """Records of a layer at these looks, of which some units never fire."""
    for look in range(first, last):
        active = np.random.default_rng(look).binomial(N, 0.3, UNITS)
        active[list(silent)] = 0
        step = 10 * look + 1
        norms = {"n_examples": N, "weight_norm": 1 + look / 100}
        yield {"layer_id": 0, "first_step": step, "step": step, "n_examples": N, "learning_rates": [0.1], "loss": 1.0}
        yield {"layer_id": 1, "first_step": step, "step": step, "n_positions": N, "active": active.tolist(), **norms}


ALIVE, DYING = list(looks(0, 22)), list(looks(22, 40, silent=range(18)))
BACK = list(looks(40, 70))


def bodies(run, records, *, begin=1, closing=None):
    """Uploads of two looks each."""
    parts = [records[at : at + 4] for at in range(0, len(records), 4)]
    for seq, own in enumerate(parts, start=begin):
        layers = [{"layer_id": 1, "name": "act1", "units": UNITS}] if seq == 1 else []
        head = {"run": {"id": run, "project": "p"}, "session": "s1", "seq": seq, "layers": layers, "records": own}
        yield head | ({"closing": closing} if own is parts[-1] else {})


def send(call, run, records, **more):
    for body in bodies(run, records, **more):
        answer = call("POST", "/v1/uploads", json=body)
        assert (answer.status_code, answer.json()["duplicate"]) == (202, False)


def told(call, run):
    """The alerts of a run, without what names it."""
    found = call("GET", "/v1/alerts", params={"run_id": run}).json()["items"]
    own = {"id", "run_id", "run", "url", "message", "opened_at", "updated_at", "resolved_at"}
    return sorted(({k: v for k, v in one.items() if k not in own} for one in found), key=lambda one: one["kind"])


def brief(alerts):
    return [(one["kind"], one["state"], one["severity"], one["opened_step"], one["resolved_reason"]) for one in alerts]


def saved(store, run):
    with store.read() as connection:
        return connection.scalar(select(t.detector_states.c.state).where(t.detector_states.c.run_id == run))


def damage(store, run, how="another version"):
    broken = DAMAGES[how](saved(store, run))
    statement = update(t.detector_states).where(t.detector_states.c.run_id == run)
    assert store.write(lambda c: c.execute(statement.values(state=broken)).rowcount) == 1


def restart(app):
    """A process that remembers nothing."""
    app.state.ingest = Ingest("")


def lose(app, run, how="another version"):
    damage(app.state.store, run, how)
    restart(app)


def test_the_next_upload_is_taken_and_alerts_are_as_if_it_had_been_kept(app, call):
    records, lost = [*ALIVE, *DYING], [how.replace(" ", "-") for how in DAMAGES]
    for run in ("kept", *lost):
        send(call, run, records[:60])
    for run, how in zip(lost, DAMAGES, strict=True):
        lose(app, run, how)
    for run in ("kept", *lost):
        send(call, run, records[60:], begin=16, closing="finished")
    alerts, state = told(call, "kept"), saved(app.state.store, "kept")
    assert {one["kind"] for one in alerts} >= {"dying"}
    for run in lost:
        assert told(call, run) == alerts, run
        assert saved(app.state.store, run) == state, run


@pytest.mark.parametrize("looks_before", [24, 32, 36])
def test_whenever_it_is_lost(app, call, looks_before):
    records, at = [*ALIVE, *DYING], 2 * looks_before
    for run in ("kept", "lost"):
        send(call, run, records[:at])
    while app.state.store.write(lambda c: compaction.compact(c, "lost")):
        pass
    lose(app, "lost")
    for run in ("kept", "lost"):
        send(call, run, [*records[at:], *BACK], begin=looks_before // 2 + 1)
    assert {one["state"] for one in told(call, "kept")} == {"resolved"}
    assert told(call, "lost") == told(call, "kept")


@pytest.mark.parametrize("limit", ["BATCH", "BATCH_BYTES"])
def test_it_is_read_in_portions_and_no_transaction_is_open_meanwhile(app, call, monkeypatch, limit):
    send(call, "lost", ALIVE)
    lose(app, "lost")
    monkeypatch.setattr(journal, limit, 1)
    held, advance, store = [], onset.advance, app.state.store

    def watched(*arguments):
        held.append((store.engine.pool.checkedout(), store.writing_engine.pool.checkedout()))
        return advance(*arguments)

    monkeypatch.setattr(onset, "advance", watched)
    send(call, "lost", DYING[:4], begin=12)
    assert held[:11] == [(0, 0)] * 11
    assert set(held[11:]) == {(0, 1)}


def test_other_runs_upload_while_it_is_folded(app, call, monkeypatch):
    send(call, "lost", ALIVE)
    lose(app, "lost")
    rest, advance, inside = iter(bodies("other", ALIVE[:20])), onset.advance, threading.Lock()

    def meanwhile(*arguments):
        if inside.acquire(blocking=False):  # once, and not where the other run is folded
            for body in rest:
                assert call("POST", "/v1/uploads", json=body).status_code == 202
        return advance(*arguments)

    monkeypatch.setattr(onset, "advance", meanwhile)
    send(call, "lost", DYING[:4], begin=12)
    assert call("GET", "/v1/runs/other").json()["last_step"] == ALIVE[19]["step"]


def folds(lines):
    """The lines that do not tell of requests."""
    return [line for line in lines if line["event"] != "request"]


def test_one_line_is_logged_and_the_state_is_there_again(app, call):
    send(call, "lost", ALIVE)
    lose(app, "lost")
    with capture_logs() as lines:
        send(call, "lost", DYING[:4], begin=12)
        restart(app)
        send(call, "lost", DYING[4:8], begin=13)
    (line,) = folds(lines)
    assert (line["log_level"], line["run"], line["exact"]) == ("warning", "lost", True)
    assert "version" in line["reason"]


def test_a_run_that_was_thinned_keeps_its_alert_until_its_units_are_back(app, call):
    records = list(looks(0, 60)) + list(looks(60, 80, silent=range(18))) + list(looks(80, 200, silent=range(18)))
    send(call, "lost", records)
    before = brief(told(call, "lost"))
    assert "firing" in {state for _, state, *_ in before}
    thinned = Run("lost", Retention(unit_bytes=0, unit_rows_every=10))
    while app.state.store.write(lambda c: retention.thin(c, thinned)):
        pass
    lose(app, "lost")
    with capture_logs() as lines:
        send(call, "lost", list(looks(200, 204, silent=range(18))), begin=101)
    assert [line["exact"] for line in folds(lines)] == [False]
    assert brief(told(call, "lost")) == before
    send(call, "lost", list(looks(204, 260)), begin=103)
    assert {state for _, state, *_ in brief(told(call, "lost"))} == {"resolved"}


@pytest.mark.parametrize(("first", "then"), [({"thresholds": {}}, DEAF), (DEAF, {"thresholds": {}})])
def test_what_was_told_stays_true_though_the_detector_would_say_otherwise_today(app, call, first, then):
    """A policy that changed stands for a detector that did: what it folds is not what was told."""
    born_dead, saved_at = list(looks(0, 24, silent=range(1, UNITS))), SAVE_EVERY + 1
    send(call, "first", ALIVE[:4])
    for run in ("kept", "lost"):
        call("PUT", "/v1/projects/p/policy", json=first)
        restart(app)
        send(call, run, born_dead[: 4 * saved_at])
    call("PUT", "/v1/projects/p/policy", json=then)
    lose(app, "lost")
    for run in ("kept", "lost"):
        send(call, run, born_dead[4 * saved_at :], begin=saved_at + 1)
    assert [kind for kind, *_ in brief(told(call, "kept"))] == ["born_dead"]
    assert brief(told(call, "lost")) == brief(told(call, "kept"))
    for run in ("kept", "lost"):
        send(call, run, list(looks(24, 44)), begin=13)
    assert brief(told(call, "lost")) == brief(told(call, "kept"))
    assert {state for _, state, *_ in brief(told(call, "kept"))} == {"resolved"}


def test_what_somebody_resolved_is_not_raised_again(app, call):
    for run in ("kept", "lost"):
        send(call, run, [*ALIVE, *DYING])
        for alert in call("GET", "/v1/alerts", params={"run_id": run, "state": "firing"}).json()["items"]:
            call("POST", f"/v1/alerts/{alert['id']}/resolve", json={"author": "Ada"})
    lose(app, "lost")
    for run in ("kept", "lost"):
        send(call, run, list(looks(40, 44, silent=range(18))), begin=21)
    assert told(call, "lost") == told(call, "kept")
    assert {one["state"] for one in told(call, "lost")} == {"resolved"}


def test_a_run_that_is_deleted_meanwhile_begins_anew(app, call, monkeypatch):
    send(call, "lost", ALIVE)
    lose(app, "lost")
    advance = onset.advance

    def delete_first(*arguments):
        monkeypatch.setattr(onset, "advance", advance)
        assert call("DELETE", "/v1/runs/lost").status_code == 204
        return advance(*arguments)

    monkeypatch.setattr(onset, "advance", delete_first)
    (body,) = bodies("lost", DYING[:4])
    assert call("POST", "/v1/uploads", json=body | {"seq": 12}).json()["accepted"] == 4
    assert call("GET", "/v1/runs/lost/layers").json()["items"][0]["last_step"] == DYING[3]["step"]


def test_a_state_that_is_lost_again_and_again_sends_the_upload_away_for_a_while(app, call, monkeypatch):
    """As where processes of two versions write to one database."""
    send(call, "lost", ALIVE)
    lose(app, "lost")
    again, make_up_for = iter([True]), app.state.refolds.make_up_for

    async def in_vain(lost):
        await make_up_for(lost)
        if next(again, False):
            damage(app.state.store, "lost")

    monkeypatch.setattr(app.state.refolds, "make_up_for", in_vain)
    (body,) = bodies("lost", DYING[:4], begin=12)
    answer = call("POST", "/v1/uploads", json=body)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "busy", "1")
    send(call, "lost", DYING[:4], begin=12)


def test_a_client_that_gave_up_and_came_back_is_answered_both_times(database_url):
    """Over real HTTP: eight equal uploads at once are one, and the run is folded once."""
    with listening(database_url) as url, httpx.Client(base_url=url, timeout=60) as client:
        send(client.request, "lost", ALIVE)
    store = Store.open(database_url)
    damage(store, "lost")
    store.close()
    (body,) = bodies("lost", DYING[:4], begin=12)
    with listening(database_url) as url, capture_logs() as lines, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{url}/v1/uploads", json=body, timeout=60), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 7
    assert len(folds(lines)) == 1
