"""Large uploads: analyzed ahead of their transaction, with the same results, and in turns of their callers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from relumine_server.errors import Busy
from relumine_server.ingest.analysis import OutdatedAnalysisError
from relumine_server.ingest.large_uploads import MAX_ATTEMPTS, Turns
from relumine_server.ingest.service import IngestService

UNITS = 6
N = 32
STEPS = 700
LAYER = {"layer_id": 1, "name": "fc", "units": UNITS}


def records(dies_at=4_000):
    rng = np.random.default_rng(0)
    silent = np.zeros(UNITS, int)
    parts = []
    for number in range(STEPS):
        step = 10 * number + 1
        active = rng.binomial(N, 0.4, UNITS)
        if step >= dies_at:
            active[:5] = 0
        silent = np.where(active > 0, 0, silent + N)
        columns = {"active": active.tolist(), "silent": silent.tolist()}
        parts.append({"layer_id": 1, "first_step": step, "step": step, "n_examples": N, **columns})
    return parts


def send(call, run, seq, part):
    body = {"run": {"id": run, "project": "p"}, "session": "s1", "seq": seq, "layers": [LAYER], "records": part}
    return call("POST", "/v1/uploads", json=body)


def alerts_of(call, run):
    alerts = call("GET", f"/v1/alerts?run_id={run}").json()["items"]
    varying = ("id", "incident_id", "run_id", "run", "url", "message", "opened_at", "updated_at", "resolved_at")
    return [{name: value for name, value in alert.items() if name not in varying} for alert in alerts]


def test_a_large_upload_gives_the_same_alerts_and_series_as_small_ones(call):
    assert send(call, "large", 1, records()).json()["accepted"] == STEPS
    for seq, start in enumerate(range(0, STEPS, 50), start=1):
        assert send(call, "small", seq, records()[start : start + 50]).status_code == 202
    assert alerts_of(call, "large") == alerts_of(call, "small") != []
    path = "/v1/runs/{}/layers/1/series?statistics=dead_fraction,active_rate&points=10000"
    assert call("GET", path.format("large")).json() == call("GET", path.format("small")).json()


def test_a_large_upload_after_others_goes_on_from_their_state(call):
    parts = records()
    assert send(call, "r1", 1, parts[:300]).status_code == 202
    answer = send(call, "r1", 2, parts[300:]).json()
    assert (answer["analyzed"], answer["accepted"]) == (True, 400)
    assert send(call, "r1", 2, parts[300:]).json()["duplicate"]


def test_a_large_upload_that_is_overtaken_again_and_again_is_analyzed_in_its_transaction(call, monkeypatch):
    attempts = []
    ingest = IngestService.ingest

    def overtaken(self, connection, upload, now, *, is_replayed=False, prepared=None):
        attempts.append(prepared is not None)
        if prepared is not None:
            raise OutdatedAnalysisError
        return ingest(self, connection, upload, now, is_replayed=is_replayed)

    monkeypatch.setattr(IngestService, "ingest", overtaken)
    assert send(call, "r1", 1, records()).json()["accepted"] == STEPS
    assert attempts == [True] * MAX_ATTEMPTS + [False]


def test_what_a_large_upload_may_not_hold_is_refused_as_of_any_other(call):
    part = records()
    part[0] |= {"active": [1], "silent": [0]}
    assert send(call, "r1", 1, part).json()["code"] == "unit_count_mismatch"
    assert call("GET", "/v1/runs/r1").status_code == 404


async def take(turns, caller, order):
    async with turns.turn(caller):
        order.append(caller)
        await asyncio.sleep(0)


def test_callers_take_turns_however_many_requests_one_of_them_has():
    async def run():
        turns = Turns()
        order = []
        await asyncio.gather(*(take(turns, caller, order) for caller in ["a"] * 6 + ["b"] * 2 + ["c"]))
        return order

    assert asyncio.run(run()) == ["a", "a", "b", "c", "a", "b", "a", "a", "a"]


def test_a_caller_that_leaves_gives_its_turn_back():
    async def run():
        turns = Turns()
        order = []
        async with turns.turn("a"):
            leaving = asyncio.create_task(take(turns, "b", order))
            waiting = asyncio.create_task(take(turns, "c", order))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.sleep(0)
        await waiting
        async with turns.turn("d"):
            order.append("d")
        return order

    assert asyncio.run(run()) == ["c", "d"]


def test_too_many_that_wait_are_refused():
    async def run():
        turns = Turns(max_waiting=1)
        async with turns.turn("a"):
            waiting = asyncio.create_task(take(turns, "b", []))
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await take(turns, "c", [])
        await waiting

    asyncio.run(run())
