"""Of a step that several uploads of a session hold, the one with the highest seq is shown, however it is stored."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from relumine_server.storage import compaction
from relumine_server.storage import tables as t

UNITS = 2


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(compaction, "CHUNK", 16)


def upload(call, seq, steps, norm, *, unknown=False, closing=None):
    """Records that hold ``norm`` as their weight norm, or none at all."""
    told = {} if unknown else {"weight_norm": float(norm)}
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": [30] * UNITS, **told}
        for step in steps
    ]
    head = {"run": {"id": "r1", "project": "p"}, "session": "s1", "seq": seq, "closing": closing}
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    assert call("POST", "/v1/uploads", json={**head, "layers": layers, "records": records}).status_code == 202


def read(call, **query):
    """Weight norms by step, and the least and greatest that are told of a few points."""
    path, asked = "/v1/runs/r1/layers/1/series", {"statistics": "weight_norm", **query}
    answer = call("GET", path, params={**asked, "points": 1000}).json()
    norms = dict(zip(answer["step"], answer["statistics"]["weight_norm"]["last"], strict=True))
    assert len(norms) == len(answer["step"])
    assert answer["step"] == sorted(answer["step"])
    few = call("GET", path, params={**asked, "points": 4}).json()["statistics"]["weight_norm"]
    least = min(norm for norm in few["min"] if norm is not None)
    return norms, least, max(norm for norm in few["max"] if norm is not None), few["last"][-1]


def compact(app):
    """All that can be made into chunks; their number."""
    while app.state.store.write(lambda c: compaction.compact(c, "r1")):
        pass
    with app.state.store.read() as connection:
        query = select(func.count()).select_from(t.chunks).where(t.chunks.c.statistic == "step")
        return connection.scalar(query)


def expected(*uploads):
    """Norms by step, of uploads in the order of their seqs."""
    return {step: float(norm) for steps, norm in uploads for step in steps}


def check(app, call, norms, *, chunks):
    """Reads before and after compaction give these norms, and no extreme that is none of them."""
    norms = dict(sorted(norms.items()))
    ends = (norms, min(norms.values()), max(norms.values()), list(norms.values())[-1])
    assert read(call) == ends
    assert compact(app) >= chunks
    assert read(call) == ends
    part = read(call, from_step=12, to_step=44)[0]
    assert part == {step: norm for step, norm in norms.items() if 12 <= step <= 44}


def test_within_a_chunk(app, call):
    parts = [(range(1, 6), 99), (range(5, 10), 1), (range(1, 6), 5)]
    parts += [(range(begin, begin + 10), 2) for begin in range(10, 90, 10)]
    for seq, (steps, norm) in enumerate(parts, start=1):
        upload(call, seq, steps, norm, closing="finished" if seq == len(parts) else None)
    check(app, call, expected(*parts), chunks=3)


def test_across_chunks(app, call):
    parts = [(range(begin, begin + 16), 2) for begin in range(1, 97, 16)]
    parts[1:1] = [(range(4, 8), 99)]
    parts[3:3] = [(range(4, 8), 3)]
    for seq, (steps, norm) in enumerate(parts, start=1):
        upload(call, seq, steps, norm, closing="finished" if seq == len(parts) else None)
    check(app, call, expected(*parts), chunks=4)


@pytest.mark.parametrize("compacted_first", [False, True])
def test_a_late_upload_does_not_hide_what_came_after_it(app, call, compacted_first):
    parts = {seq: (range(seq * 8 - 7, seq * 8 + 1), 2) for seq in range(1, 13) if seq != 3}
    for seq, (steps, norm) in parts.items():
        upload(call, seq, steps, norm, closing="finished" if seq == 12 else None)
    if compacted_first:
        assert compact(app) >= 4
    late = range(17, 31)  # what is its own, and most of what seq 4 told
    upload(call, 3, late, 99)
    norms = expected((late, 99), *parts.values())
    assert (norms[24], norms[25]) == (99.0, 2.0)
    check(app, call, norms, chunks=4)


def test_what_the_later_upload_does_not_know_is_not_known(app, call):
    upload(call, 1, range(1, 21), 7)
    upload(call, 2, range(1, 21), 0, unknown=True)
    for seq in range(3, 8):
        upload(call, seq, range(seq * 10, seq * 10 + 10), 2, closing="finished" if seq == 7 else None)
    before = read(call)
    assert (before[0][20], before[0][30], before[1:3]) == (None, 2.0, (2.0, 2.0))
    assert compact(app) >= 2
    assert read(call) == before
