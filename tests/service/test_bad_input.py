"""Whatever is sent: a problem with a code, never a 500, nothing echoed, nothing stored."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from sqlalchemy import func, select

from relumine_server.app import create_app
from relumine_server.settings import Settings
from relumine_server.storage import tables as t

LIMIT = 20_000
GOOD = {
    "run": {"id": "r1", "project": "p"},
    "session": "s1",
    "seq": 1,
    "layers": [{"layer_id": 1, "name": "act1", "units": 3}],
    "records": [{"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 8, "active": [1, 0, 8]}],
}

BEFORE_TIME = ["0001-01-01T00:00:00+14:00", "r1", "r1.1.dead"]
CALENDAR_END = base64.urlsafe_b64encode(json.dumps(BEFORE_TIME).encode()).decode()


@pytest.fixture
def app(database_url):
    made = create_app(Settings(database_url=database_url, max_body_bytes=LIMIT))
    yield made
    made.state.store.close()


def changed(**changes) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def record(**changes) -> bytes:
    return changed(records=[{**GOOD["records"][0], **changes}])


PLACE = {"layer_id": [1], "first_step": [1], "step": [1], "n_examples": [8]}


def packed(numbers) -> object:
    """A column of numbers as it travels; what is packed already stays as it is."""
    if isinstance(numbers, dict):
        return numbers
    return {"dtype": "f8", "data": base64.b64encode(np.array(numbers, "<f8").tobytes()).decode()}


def table(**changes) -> bytes:
    """One record of the good layer as a table, with changes."""
    good = {"scalars": PLACE, "unit_counts": [3], "unit_columns": [1], "units": {"active": [[1, 2, 3]]}} | changes
    sent = {
        "scalars": {name: packed(values) for name, values in good["scalars"].items()},
        "unit_counts": packed(good["unit_counts"]),
        "unit_columns": packed(good["unit_columns"]),
        "units": {name: [packed(piece) for piece in pieces] for name, pieces in good["units"].items()},
    }
    return changed(records=sent)


def run(**changes) -> bytes:
    return changed(run={**GOOD["run"], **changes})


BAD = {
    "empty": b"",
    "not json": b"{secretsecret",
    "not an object": b"[1]",
    "wrong type": changed(seq="secretsecret"),
    "missing field": b'{"run": {"id": "r1"}}',
    "NaN": record(loss=float("nan")),
    "1e999": record(active=[1, 0, 8], loss=0.0).replace(b"0.0", b"1e999"),
    "NaN in a list": record(active=[1, 0, float("nan")]),
    "NaN in a column": record(mean={"dtype": "f4", "data": "AADAfwAAwH8AAMB/"}),
    "lone surrogate": run(name="\ud800"),
    "NUL": run(name="a\x00b"),
    "NUL in config": run(config={"a": "\x00"}),
    "surrogate in config": run(config={"\ud800": 1}),
    "huge integer": changed().replace(b'"seq": 1', b'"seq": ' + b"9" * 5000),
    "huge integer in config": run(config={"a": 10**400}),
    "deep nesting": run(config=0).replace(b'"config": 0', b'"config": ' + b"[" * 3000 + b"]" * 3000),
    "not utf-8": changed().replace(b"act1", b"\xff\xfe"),
    "bad base64": record(active={"dtype": "u1", "data": "!!!!"}),
    "base64 without its padding": record(active={"dtype": "u1", "data": "AAA"}),
    "no whole numbers": record(active={"dtype": "f4", "data": "AAAA"}),
    "unknown dtype": record(active={"dtype": "c8", "data": "AAAA"}),
    "wrong number of units": record(active=[1, 2]),
    "columns of two lengths": record(mean=[1.0]),
    "unknown layer": record(layer_id=9),
    "no active": changed(records=[{"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 8}]),
    "steps backwards": record(first_step=2),
    "negative step": record(step=-1),
    "two records of one place": changed(records=GOOD["records"] * 2),
    "a table without steps": table(scalars={"layer_id": [1], "first_step": [1]}),
    "a table of two lengths": table(scalars={"layer_id": [1, 1], "first_step": [1], "step": [1]}),
    "a table with an infinite loss": table(scalars=PLACE | {"loss": [math.inf]}),
    "a table with a step that is none": table(scalars=PLACE | {"step": [math.nan]}),
    "a table of a million units each": table(unit_counts=[10**6], unit_columns=[1], units={"active": [[1.0, 2.0]]}),
    "a table with units of NaN": table(unit_columns=[17], units={"active": [[1, 2, 3]], "mean": [[0, 0, math.nan]]}),
    "a table that is a number": changed(records=7),
    "a table in pieces of junk": table(units={"active": [{"dtype": "u1", "data": "!"}]}),
    "bad id": run(id="a/b"),
    "too many units": changed(layers=[{"layer_id": 1, "name": "x", "units": 10**9}]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_upload_is_a_problem_and_leaves_nothing(name, app, call):
    answer = call("POST", "/v1/uploads", content=BAD[name])
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["code"]
    assert "secretsecret" not in answer.text
    with app.state.store.read() as connection:
        for table in t.metadata.sorted_tables:
            assert connection.scalar(select(func.count()).select_from(table)) == 0


@pytest.mark.parametrize("form", [changed, table])
def test_the_good_upload_is_good(call, form):
    assert call("POST", "/v1/uploads", content=form()).status_code == 202


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(call):
    async def chunks():
        for _ in range(30):
            yield b" " * 1000

    for content in (b" " * (LIMIT + 1), chunks()):
        answer = call("POST", "/v1/uploads", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/uploads", 405, "method_not_allowed"),
        ("GET", "/v1/runs/none", 404, "run_not_found"),
        ("DELETE", "/v1/runs/none", 404, "run_not_found"),
        ("GET", "/v1/runs/a%00b", 422, "invalid_request"),
        ("GET", "/v1/runs?limit=0", 422, "invalid_request"),
        ("GET", "/v1/runs?cursor=nonsense", 422, "bad_cursor"),
        ("GET", f"/v1/alerts?cursor={CALENDAR_END}", 422, "bad_cursor"),
        ("GET", "/v1/alerts?since=0001-01-01T00:00:00%2B14:00", 422, "invalid_request"),
        ("GET", "/v1/alerts?since=9999-12-31T23:59:59-14:00", 422, "invalid_request"),
        ("GET", "/v1/alerts?since=2026-01-01T00:00:00", 422, "invalid_request"),
        ("GET", "/v1/alerts/none.1.dead/history", 404, "alert_not_found"),
        ("DELETE", f"/v1/silences/sil_{'0' * 32}", 404, "silence_not_found"),
        ("DELETE", "/v1/silences/none", 422, "invalid_request"),
        ("GET", "/v1/alerts/none.1.dead", 404, "alert_not_found"),
        ("GET", "/v1/alerts/nonsense", 422, "invalid_request"),
        ("GET", "/static/none.js", 404, "not_found"),
        ("GET", f"/v1/runs/none/overview?after_step={10**30}", 422, "invalid_request"),
    ],
)
def test_odd_requests_are_problems(method, path, status, code, call):
    answer = call(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_encoding_we_do_not_speak_is_415(call):
    answer = call("POST", "/v1/uploads", content=b"x", headers={"content-encoding": "br"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")


def test_a_run_of_another_project_is_a_conflict(call):
    call("POST", "/v1/uploads", content=changed())
    answer = call("POST", "/v1/uploads", content=changed(run={"id": "r1", "project": "other"}, seq=2))
    assert (answer.status_code, answer.json()["code"]) == (409, "run_in_other_project")


@pytest.mark.parametrize(
    "body", [b"{", b'{"author": NaN}', b'{"author": "\\ud800"}', b'{"author": 1e999}', b'{"author": ""}']
)
def test_bad_bodies_elsewhere_are_problems_too(body, call):
    answer = call(
        "POST", "/v1/alerts/r1.1.dead/acknowledge", content=body, headers={"content-type": "application/json"}
    )
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
