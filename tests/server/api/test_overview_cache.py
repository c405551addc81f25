"""A whole overview is computed once for a run that does not change, and never shown after a change."""

from __future__ import annotations

import pytest

from relumine.schemas.run import Run
from relumine_server.api import overview_cache
from relumine_server.api.overview_cache import OverviewCache
from relumine_server.api.routes import runs


def upload(call, run_id, seq, active=(9, 9)):
    record = {"layer_id": 1, "first_step": seq, "step": seq, "n_examples": 64, "active": list(active)}
    layer = {"layer_id": 1, "name": "fc", "units": len(active)}
    body = {"run": {"id": run_id}, "session": "s", "seq": seq, "layers": [layer], "records": [record]}
    assert call("POST", "/v1/uploads", json=body).status_code == 202


@pytest.fixture
def computed(monkeypatch):
    """The runs whose overviews were computed, in order."""
    ids = []
    compute = runs._overview

    def note(connection, run, *arguments):
        ids.append(run.run_id)
        return compute(connection, run, *arguments)

    monkeypatch.setattr(runs, "_overview", note)
    return ids


def test_an_unchanged_run_is_computed_once_and_answered_the_same(call, computed):
    upload(call, "r1", 1)
    first, second = (call("GET", "/v1/runs/r1/overview") for _ in range(2))
    assert (second.content, second.headers["etag"]) == (first.content, first.headers["etag"])
    assert computed == ["r1"]


@pytest.mark.parametrize(
    "change",
    [
        lambda call: upload(call, "r1", 2),
        lambda call: call("PATCH", "/v1/runs/r1", json={"name": "another"}),
        lambda call: call("PATCH", "/v1/runs/r1", json={"tags": ["a"]}),
    ],
    ids=["an upload", "a name", "a tag"],
)
def test_a_change_is_seen_at_once(call, computed, change):
    upload(call, "r1", 1)
    earlier = call("GET", "/v1/runs/r1/overview").json()
    change(call)
    later = call("GET", "/v1/runs/r1/overview").json()
    assert later != earlier
    assert later["run"] == call("GET", "/v1/runs/r1").json()
    assert computed == ["r1", "r1"]


def test_an_acknowledged_alert_is_seen_at_once(call, computed):
    for seq in range(1, 40):
        upload(call, "r1", seq, active=(0, 0, 0, 0) if seq > 15 else (30, 30, 30, 30))
    (alert, *_) = call("GET", "/v1/runs/r1/overview").json()["alerts"]
    assert call("POST", f"/v1/alerts/{alert['id']}/acknowledge", json={"author": "Ada"}).status_code == 200
    (later, *_) = call("GET", "/v1/runs/r1/overview").json()["alerts"]
    assert later["id"] == alert["id"]
    assert later != alert


def test_a_deleted_run_is_not_answered_from_memory(call):
    upload(call, "r1", 1)
    assert call("GET", "/v1/runs/r1/overview").status_code == 200
    call("DELETE", "/v1/runs/r1")
    assert call("GET", "/v1/runs/r1/overview").status_code == 404


def test_memory_is_bounded_and_what_was_read_last_stays(monkeypatch):
    def view(run_id):
        return Run.model_construct(run_id=run_id)

    monkeypatch.setattr(overview_cache, "MAX_BYTES", 300)
    monkeypatch.setattr(overview_cache, "MAX_BODY_BYTES", 200)
    cache = OverviewCache()
    for name in ("a", "b", "c"):
        cache.put(view(name), [], name.encode() * 100)
    assert cache.get(view("a"), []) == b"a" * 100
    cache.put(view("d"), [], b"d" * 100)
    assert [cache.get(view(name), []) is not None for name in "abcd"] == [True, False, True, True]
    cache.put(view("a"), [], b"a" * 201)
    assert cache.get(view("a"), []) is None
