"""Of a step that several uploads of a session hold, that of the highest seq is shown, however it is stored."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from relumine_server.db import tables
from relumine_server.timeseries import compaction

UNITS = 2


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(compaction, "CHUNK_RECORDS", 16)


def upload(call, seq, steps, norm, *, final_status=None):
    """Send records with ``norm`` as their weight norm; None: without any."""
    scalars = {} if norm is None else {"weight_norm": float(norm)}
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": [30] * UNITS, **scalars}
        for step in steps
    ]
    body = {"run": {"id": "r1", "project": "p"}, "session": "s1", "seq": seq, "final_status": final_status}
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    assert call("POST", "/v1/uploads", json={**body, "layers": layers, "records": records}).status_code == 202


def read(call, **query):
    """Weight norms by step; and minimum, maximum and last of the same in four points."""
    path = "/v1/runs/r1/layers/1/series"
    params = {"statistics": "weight_norm", **query}
    series = call("GET", path, params={**params, "points": 1000}).json()
    norms = dict(zip(series["step"], series["statistics"]["weight_norm"]["last"], strict=True))
    assert len(norms) == len(series["step"])
    assert series["step"] == sorted(series["step"])
    few = call("GET", path, params={**params, "points": 4}).json()["statistics"]["weight_norm"]
    minimum = min(norm for norm in few["min"] if norm is not None)
    maximum = max(norm for norm in few["max"] if norm is not None)
    return norms, minimum, maximum, few["last"][-1]


def compact(app):
    """Compact everything; returns the number of chunks."""
    database = app.state.services.database
    while database.write(lambda c: compaction.compact(c, "r1")):
        pass
    with database.read() as connection:
        query = select(func.count()).select_from(tables.chunks).where(tables.chunks.c.statistic == "step")
        return connection.scalar(query)


def expected(*uploads):
    """Norms by step, of uploads in the order of their seqs."""
    return {step: float(norm) for steps, norm in uploads for step in steps}


def check(app, call, norms, *, chunks):
    """Reads before and after compaction give these norms, and no extreme beyond them."""
    norms = dict(sorted(norms.items()))
    answer = (norms, min(norms.values()), max(norms.values()), list(norms.values())[-1])
    assert read(call) == answer
    assert compact(app) >= chunks
    assert read(call) == answer
    part = read(call, from_step=12, to_step=44)[0]
    assert part == {step: norm for step, norm in norms.items() if 12 <= step <= 44}


def test_within_a_chunk(app, call):
    parts = [(range(1, 6), 99), (range(5, 10), 1), (range(1, 6), 5)]
    parts += [(range(start, start + 10), 2) for start in range(10, 90, 10)]
    for seq, (steps, norm) in enumerate(parts, start=1):
        upload(call, seq, steps, norm, final_status="finished" if seq == len(parts) else None)
    check(app, call, expected(*parts), chunks=3)


def test_across_chunks(app, call):
    parts = [(range(start, start + 16), 2) for start in range(1, 97, 16)]
    parts[1:1] = [(range(4, 8), 99)]
    parts[3:3] = [(range(4, 8), 3)]
    for seq, (steps, norm) in enumerate(parts, start=1):
        upload(call, seq, steps, norm, final_status="finished" if seq == len(parts) else None)
    check(app, call, expected(*parts), chunks=4)


@pytest.mark.parametrize("compacted_first", [False, True])
def test_a_late_upload_does_not_hide_what_came_after_it(app, call, compacted_first):
    parts = {seq: (range(seq * 8 - 7, seq * 8 + 1), 2) for seq in range(1, 13) if seq != 3}
    for seq, (steps, norm) in parts.items():
        upload(call, seq, steps, norm, final_status="finished" if seq == 12 else None)
    if compacted_first:
        assert compact(app) >= 4
    late = range(17, 31)  # the steps of seq 3, and most of those of seq 4
    upload(call, 3, late, 99)
    norms = expected((late, 99), *parts.values())
    assert (norms[24], norms[25]) == (99.0, 2.0)
    check(app, call, norms, chunks=4)


def test_a_statistic_that_the_later_upload_lacks_is_missing(app, call):
    upload(call, 1, range(1, 21), 7)
    upload(call, 2, range(1, 21), None)
    for seq in range(3, 8):
        upload(call, seq, range(seq * 10, seq * 10 + 10), 2, final_status="finished" if seq == 7 else None)
    answer = read(call)
    norms, minimum, maximum, _ = answer
    assert (norms[20], norms[30], minimum, maximum) == (None, 2.0, 2.0, 2.0)
    assert compact(app) >= 2
    assert read(call) == answer
