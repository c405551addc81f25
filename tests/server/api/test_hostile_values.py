"""Invalid numbers, strings that a database cannot store, and endless nesting are 422 everywhere, on both databases."""

from __future__ import annotations

import base64
import json
import random
import re

import pytest

from tests.helpers import databases
from tests.helpers.routes import BODIES, routes
from tests.helpers.two_project_server import TwoProjectServer, upload

IDS = {
    "run_id": "r1", "project": "ours", "layer_id": "1", "alert_id": "r1.1.born_dead", "key_id": "key_none",
}  # fmt: skip
HOSTILE = {
    "NaN": b"NaN",
    "minus infinity": b"-Infinity",
    "1e999": b"1e999",
    "-1e999": b"-1e999",
    "lone surrogate": b'"\\ud800"',
    "NUL": b'"a\\u0000b"',
    "5,000 digits": b"9" * 5000,
    "70 digits": b"9" * 70,
    "deep list": b"[" * 30_000 + b"]" * 30_000,
    "deep object": b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
    "open list": b"[" * 30_000,
    "not UTF-8": b'"\xff\xfe"',
    "nothing": b"",
}


def cursor(keys):
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode()


HOSTILE_URL_PARTS = {
    "NaN": "NaN",
    "1e999": "1e999",
    "NUL": "a%00b",
    "lone surrogate": "%ED%A0%80",
    "not UTF-8": "%FF%FE",
    "5,000 digits": "9" * 5000,
    "70 digits": "9" * 70,
    "deep list": "[" * 5000,
    "first year": "0001-01-01T00:00:00%2B23:59",
    "cursor of a surrogate": cursor(["2026-01-01T00:00:00+00:00", "\ud800", "\ud800"][:2]),
    "cursor of three": cursor(["2026-01-01T00:00:00+00:00", "\ud800", "\ud800"]),
    "cursor of the first day": cursor(["0001-01-01T00:00:00+23:00", "a"]),
    "cursor of a name": cursor("\ud800"),
    "cursor of depth": base64.urlsafe_b64encode(b"[" * 700).decode(),
    "cursor of a number": base64.urlsafe_b64encode(b"9" * 700).decode(),
    "last year": "9999-12-31T23:59:59-23:59",
}
COLUMNS = ("mean", "var", "max", "bias", "update_shift", "shift_weight", "shift_input", "shift_bias")
SCALARS = (
    "learning_rate",
    "weight_norm",
    "update_norm",
    "input_min",
    "input_max",
    "update_ratio",
    "output_spread",
    "loss",
)
EXTREMES = (0.0, 1.0, 3.4e38, -3.4e38, 1e30, -1e30, 1e-45)
READS = ("overview", "layers", "layers/1/units", "layers/1/series", "metrics", "export")
MARK = "replaced-by-a-hostile-value"


@pytest.fixture
def servers(shared_sqlite, shared_postgresql):
    """A server on each kind of database, with a run, its alert and a webhook."""
    return [filled_server(database) for database in (shared_sqlite, shared_postgresql)]


def filled_server(database):
    databases.empty(database)
    server = TwoProjectServer(databases.address_of(database), database=database)
    assert server.call("POST", "/v1/uploads", json=upload("ours", "r1")).status_code == 202
    hook = server.call("POST", "/v1/webhooks", json={"url": "https://x.example/h", "project": "ours"}).json()
    server.ids = {**IDS, "webhook_id": hook["webhook_id"]}
    return server


def concrete(server, path):
    """Return a path with the ids of the server."""
    return re.sub(r"\{(\w+)\}", lambda match: server.ids.get(match[1], "none"), path)


def positions(value, prefix=()):
    """Yield the position of every value in a body, of objects and lists too."""
    yield prefix
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    else:
        members = ()
    for key, member in members:
        yield from positions(member, (*prefix, key))


def replaced(body, position):
    """Return a copy of the body with the mark at a position."""
    if not position:
        return MARK
    copy = json.loads(json.dumps(body))
    container = copy
    for key in position[:-1]:
        container = container[key]
    container[position[-1]] = MARK
    return copy


def hostile_bodies(valid_body):
    """Yield name and content of each hostile variant of a valid body."""
    for position in positions(valid_body):
        frame = json.dumps(replaced(valid_body, position)).encode()
        for name, hostile in HOSTILE.items():
            yield f"{name} at {position}", frame.replace(json.dumps(MARK).encode(), hostile)


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_a_hostile_value_anywhere_in_a_body_is_422(route, shared_sqlite):
    """On one database: a body that is refused for its form reaches none."""
    server = filled_server(shared_sqlite)
    path = concrete(server, route[1])
    for name, body in hostile_bodies(BODIES[route]):
        response = server.call(route[0], path, content=body, headers={"content-type": "application/json"})
        assert response.status_code == 422, (name, response.text[:300])
        assert response.headers["content-type"] == "application/problem+json"
        assert len(response.content) < 4000, name


def test_a_hostile_query_value_gets_the_same_status_on_both_databases_and_is_never_an_error(servers):
    for path, operations in servers[0].app.openapi()["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            if parameter["in"] != "query":
                continue
            schema = json.dumps(parameter["schema"])
            for name, value in HOSTILE_URL_PARTS.items():
                query = f"{parameter['name']}={value}"
                responses = [server.call("GET", f"{concrete(server, path)}?{query}") for server in servers]
                statuses = {response.status_code for response in responses}
                assert len(statuses) == 1, (path, parameter["name"], name, statuses)
                assert statuses <= {200, 422}, (path, parameter["name"], name, responses[0].text[:300])
                if name == "NUL" or '"integer"' in schema or name in ("5,000 digits", "deep list"):
                    assert statuses == {422}, (path, parameter["name"], name)


def test_a_hostile_path_value_gets_the_same_problem_status_on_both_databases(servers):
    for method, path in routes(servers[0].app):
        body = {} if (method, path) not in BODIES else {"json": BODIES[method, path]}
        for parameter in re.findall(r"\{\w+\}", path):
            for name, value in HOSTILE_URL_PARTS.items():
                statuses = set()
                for server in servers:
                    hostile_path = concrete(server, path.replace(parameter, value))
                    statuses.add(server.call(method, hostile_path, **body).status_code)
                assert len(statuses) == 1, (method, path, parameter, name, statuses)
                assert statuses <= {404, 422}, (method, path, parameter, name, statuses)


def test_a_hostile_header_value_is_harmless(servers):
    for server in servers:
        for name in ("x-request-id", "if-none-match", "content-length", "content-encoding", "authorization", "cookie"):
            for value in ("NaN", "9" * 5000, "\x7f", "ÿ", "²", "a, b", ""):
                response = server.call("GET", "/v1/runs/r1/overview", headers={name: value.encode("latin-1")})
                assert response.status_code in (200, 422), (name, value, response.text)


def extreme(rng, run, seq):
    """Return an upload of extreme but finite numbers."""
    records = []
    for step in range(5 * seq, 5 * seq + 5):
        n = rng.choice([1, 100, 2**53 - 1])
        scalars = {name: rng.choice([0.0, 1e308, -1e308, 5e-324, None]) for name in SCALARS}
        units = {name: [rng.choice(EXTREMES) for _ in range(4)] for name in COLUMNS}
        counts = {"active": [rng.choice([0, n]) for _ in range(4)], "silent": [rng.choice([0, n]) for _ in range(4)]}
        common = {"first_step": step, "step": step, "n_examples": n, **scalars}
        records += [{"layer_id": 1, **common, **units, **counts}, {"layer_id": 0, **common}]
    layers = [{"layer_id": 1, "name": "a", "units": 4, "split": "linear"}]
    return {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}


@pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # arithmetic of extremes overflows; the responses must stay finite
def test_extreme_finite_numbers_are_accepted_and_shown(servers):
    rng = random.Random(8)  # noqa: S311 - the same numbers every time
    uploads = [extreme(rng, f"x{i % 3}", i // 3 + 1) for i in range(24)]
    for server in servers:
        for body in uploads:
            assert server.call("POST", "/v1/uploads", json=body).status_code == 202
        for run in ("x0", "x1", "x2"):
            for read in READS:
                assert server.call("GET", f"/v1/runs/{run}/{read}").status_code == 200, read
        assert server.call("GET", "/v1/alerts").status_code == 200


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
def test_counts_may_have_every_dtype(dtype, call):
    size = int(dtype[1])
    column = {"dtype": dtype, "data": base64.b64encode(bytes(3 * size)).decode()}
    record = {"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 64, "active": column}
    layers = [{"layer_id": 1, "name": "act1", "units": 3}]
    body = {"run": {"id": "r1"}, "session": "s1", "seq": 1, "layers": layers, "records": [record]}
    assert call("POST", "/v1/uploads", json=body).status_code == 202
