"""Invalid input is a problem with a code, never a 500; nothing of it is echoed or stored."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from sqlalchemy import func, select

from relumine_server.app import create_app
from relumine_server.db import types as db_types
from relumine_server.settings import Settings

LIMIT = 20_000
VALID = {
    "run": {"id": "r1", "project": "p"},
    "session": "s1",
    "seq": 1,
    "layers": [{"layer_id": 1, "name": "act1", "units": 3}],
    "records": [{"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 8, "active": [1, 0, 8]}],
}

BEFORE_YEAR_1 = ["0001-01-01T00:00:00+14:00", "r1", "r1.1.dead"]
OUT_OF_RANGE_CURSOR = base64.urlsafe_b64encode(json.dumps(BEFORE_YEAR_1).encode()).decode()


@pytest.fixture
def app(database_url):
    application = create_app(Settings(database_url=database_url, max_body_bytes=LIMIT))
    yield application
    application.state.services.database.close()


def changed(**changes) -> bytes:
    return json.dumps({**VALID, **changes}).encode()


def record(**changes) -> bytes:
    return changed(records=[{**VALID["records"][0], **changes}])


KEY = {"layer_id": [1], "first_step": [1], "step": [1], "n_examples": [8]}


def packed(numbers) -> object:
    """Return a column of numbers in the upload format; a packed column stays as it is."""
    if isinstance(numbers, dict):
        return numbers
    return {"dtype": "f8", "data": base64.b64encode(np.array(numbers, "<f8").tobytes()).decode()}


def table(**changes) -> bytes:
    """Return an upload with one record of the valid layer as a table, with changes."""
    columns = {"scalars": KEY, "unit_counts": [3], "unit_columns": [1], "units": {"active": [[1, 2, 3]]}} | changes
    records = {
        "scalars": {name: packed(values) for name, values in columns["scalars"].items()},
        "unit_counts": packed(columns["unit_counts"]),
        "unit_columns": packed(columns["unit_columns"]),
        "units": {name: [packed(piece) for piece in pieces] for name, pieces in columns["units"].items()},
    }
    return changed(records=records)


def run(**changes) -> bytes:
    return changed(run={**VALID["run"], **changes})


INVALID = {
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
    "counts that are not integers": record(active={"dtype": "f4", "data": "AAAA"}),
    "unknown dtype": record(active={"dtype": "c8", "data": "AAAA"}),
    "wrong number of units": record(active=[1, 2]),
    "columns of two lengths": record(mean=[1.0]),
    "unknown layer": record(layer_id=9),
    "no active": changed(records=[{"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 8}]),
    "steps backwards": record(first_step=2),
    "negative step": record(step=-1),
    "two records of one layer and step": changed(records=VALID["records"] * 2),
    "a table without steps": table(scalars={"layer_id": [1], "first_step": [1]}),
    "a table of two lengths": table(scalars={"layer_id": [1, 1], "first_step": [1], "step": [1]}),
    "a table with an infinite loss": table(scalars=KEY | {"loss": [math.inf]}),
    "a table with a step of NaN": table(scalars=KEY | {"step": [math.nan]}),
    "a table of a million units each": table(unit_counts=[10**6], unit_columns=[1], units={"active": [[1.0, 2.0]]}),
    "a table with units of NaN": table(unit_columns=[17], units={"active": [[1, 2, 3]], "mean": [[0, 0, math.nan]]}),
    "a number instead of a table": changed(records=7),
    "a table with an invalid column": table(units={"active": [{"dtype": "u1", "data": "!"}]}),
    "bad id": run(id="a/b"),
    "too many units": changed(layers=[{"layer_id": 1, "name": "x", "units": 10**9}]),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_upload_is_a_problem_and_stores_nothing(name, app, call):
    response = call("POST", "/v1/uploads", content=INVALID[name])
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["code"]
    assert "secretsecret" not in response.text
    with app.state.services.database.read() as connection:
        for table in db_types.metadata.sorted_tables:
            assert connection.scalar(select(func.count()).select_from(table)) == 0


@pytest.mark.parametrize("form", [changed, table])
def test_the_valid_upload_is_accepted(call, form):
    assert call("POST", "/v1/uploads", content=form()).status_code == 202


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(call):
    async def chunks():
        for _ in range(30):
            yield b" " * 1000

    for content in (b" " * (LIMIT + 1), chunks()):
        response = call("POST", "/v1/uploads", content=content)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/uploads", 405, "method_not_allowed"),
        ("GET", "/v1/runs/none", 404, "run_not_found"),
        ("DELETE", "/v1/runs/none", 404, "run_not_found"),
        ("GET", "/v1/runs/a%00b", 422, "invalid_request"),
        ("GET", "/v1/runs?limit=0", 422, "invalid_request"),
        ("GET", "/v1/runs?cursor=nonsense", 422, "invalid_cursor"),
        ("GET", f"/v1/alerts?cursor={OUT_OF_RANGE_CURSOR}", 422, "invalid_cursor"),
        ("GET", "/v1/alerts?since=0001-01-01T00:00:00%2B14:00", 422, "invalid_request"),
        ("GET", "/v1/alerts?since=9999-12-31T23:59:59-14:00", 422, "invalid_request"),
        ("GET", "/v1/alerts?since=2026-01-01T00:00:00", 422, "invalid_request"),
        ("GET", "/v1/alerts/none.1.dead/events", 404, "alert_not_found"),
        ("DELETE", f"/v1/silences/sil_{'0' * 32}", 404, "silence_not_found"),
        ("DELETE", "/v1/silences/none", 422, "invalid_request"),
        ("GET", "/v1/alerts/none.1.dead", 404, "alert_not_found"),
        ("GET", "/v1/alerts/nonsense", 422, "invalid_request"),
        ("GET", "/static/build/none.js", 404, "not_found"),
        ("GET", f"/v1/runs/none/overview?after_step={10**30}", 422, "invalid_request"),
    ],
)
def test_invalid_requests_are_problems(method, path, status, code, call):
    response = call(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


def test_an_unsupported_encoding_is_415(call):
    response = call("POST", "/v1/uploads", content=b"x", headers={"content-encoding": "br"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    "body", [b"{", b'{"author": NaN}', b'{"author": "\\ud800"}', b'{"author": 1e999}', b'{"author": ""}']
)
def test_invalid_bodies_of_other_routes_are_problems_too(body, call):
    response = call(
        "POST", "/v1/alerts/r1.1.dead/acknowledge", content=body, headers={"content-type": "application/json"}
    )
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == "application/problem+json"
