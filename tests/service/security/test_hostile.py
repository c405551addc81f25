"""Numbers that are none, strings that no database keeps, depth without end: 422 everywhere, on both databases alike."""

from __future__ import annotations

import base64
import json
import random
import re

import pytest
from every_route import BODIES, routes
from keyed_server import House, upload

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


IN_ADDRESSES = {
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
READS = ("overview", "layers", "layers/1/units", "layers/1/series", "numbers", "export")
MARK = "here-goes-something-hostile"


@pytest.fixture
def town(new_database):
    """One server on each database, with a run, its alert and a webhook."""
    made = [House(new_database(kind)) for kind in ("sqlite", "postgresql")]
    for house in made:
        assert house.call("POST", "/v1/uploads", json=upload("ours", "r1")).status_code == 202
        hook = house.call("POST", "/v1/webhooks", json={"url": "https://x.example/h", "project": "ours"}).json()
        house.ids = {**IDS, "webhook_id": hook["webhook_id"]}
    yield made
    for house in made:
        house.app.state.store.close()


def address(house, path):
    return re.sub(r"\{(\w+)\}", lambda found: house.ids.get(found[1], "none"), path)


def leaves(value, place=()):
    """Where single values are in a body, and where a whole part of it is."""
    yield place
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from leaves(part, (*place, name))


def replaced(body, place):
    """The body with a mark at a place."""
    if not place:
        return MARK
    copy = json.loads(json.dumps(body))
    part = copy
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = MARK
    return copy


def bodies(good):
    """What is sent instead of a good body, by name."""
    for place in leaves(good):
        frame = json.dumps(replaced(good, place)).encode()
        for name, hostile in HOSTILE.items():
            yield f"{name} at {place}", frame.replace(json.dumps(MARK).encode(), hostile)


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_in_a_body_at_any_place_it_is_422(route, town):
    for name, body in bodies(BODIES[route]):
        for house in town:
            answer = house.call(
                route[0], address(house, route[1]), content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 422, (name, answer.text[:300])
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.content) < 4000, name


def test_in_a_query_it_is_a_problem_or_harmless_and_the_same_on_both_databases(town):
    for path, operations in town[0].app.openapi()["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            if parameter["in"] != "query":
                continue
            kinds = json.dumps(parameter["schema"])
            for name, value in IN_ADDRESSES.items():
                answers = [house.call("GET", f"{address(house, path)}?{parameter['name']}={value}") for house in town]
                told = {answer.status_code for answer in answers}
                assert len(told) == 1, (path, parameter["name"], name, told)
                assert told <= {200, 422}, (path, parameter["name"], name, answers[0].text[:300])
                if name == "NUL" or '"integer"' in kinds or name in ("5,000 digits", "deep list"):
                    assert told == {422}, (path, parameter["name"], name)


def test_in_a_path_it_is_a_problem_and_the_same_on_both_databases(town):
    for method, path in routes(town[0].app):
        for place in re.findall(r"\{\w+\}", path):
            for name, value in IN_ADDRESSES.items():
                wanted = [address(house, path.replace(place, value)) for house in town]
                sent = {} if (method, path) not in BODIES else {"json": BODIES[method, path]}
                told = {house.call(method, wanted[i], **sent).status_code for i, house in enumerate(town)}
                assert len(told) == 1, (method, path, place, name, told)
                assert told <= {404, 422}, (method, path, place, name, told)


def test_as_a_header_it_is_harmless(town):
    for house in town:
        for name in ("x-request-id", "if-none-match", "content-length", "content-encoding", "authorization", "cookie"):
            for value in ("NaN", "9" * 5000, "\x7f", "ÿ", "²", "a, b", ""):
                answer = house.call("GET", "/v1/runs/r1/overview", headers={name: value.encode("latin-1")})
                assert answer.status_code in (200, 422), (name, value, answer.text)


def extreme(rng, run, seq):
    """An upload of numbers that are finite, and that is all."""
    records = []
    for step in range(5 * seq, 5 * seq + 5):
        n = rng.choice([1, 100, 2**53 - 1])
        scalars = {name: rng.choice([0.0, 1e308, -1e308, 5e-324, None]) for name in SCALARS}
        units = {name: [rng.choice(EXTREMES) for _ in range(4)] for name in COLUMNS}
        counts = {"active": [rng.choice([0, n]) for _ in range(4)], "silent": [rng.choice([0, n]) for _ in range(4)]}
        place = {"first_step": step, "step": step, "n_examples": n}
        records += [{"layer_id": 1, **place, **scalars, **units, **counts}, {"layer_id": 0, **place, **scalars}]
    layers = [{"layer_id": 1, "name": "a", "units": 4, "split": "linear"}]
    return {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # arithmetic of extremes overflows; what is answered must not
def test_extremes_that_are_finite_are_taken_and_shown(town):
    rng = random.Random(8)  # noqa: S311 - the same numbers every time
    uploads = [extreme(rng, f"x{i % 3}", i // 3 + 1) for i in range(24)]
    for house in town:
        for body in uploads:
            assert house.call("POST", "/v1/uploads", json=body).status_code == 202
        for run in ("x0", "x1", "x2"):
            for read in READS:
                assert house.call("GET", f"/v1/runs/{run}/{read}").status_code == 200, read
        assert house.call("GET", "/v1/alerts").status_code == 200
