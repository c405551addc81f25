"""A cursor that this server did not issue is 422 or an ordinary page, on every list and on both databases."""

from __future__ import annotations

import base64
import json
import re

from tests.helpers.routes import routes

DATE = "2026-01-01T00:00:00+00:00"
VALUES = (
    0, -1, 2**15, 2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, 10**100, 1.5, 1e300, True, None,
    "", "x", "\ud800", "a\0b", "x" * 3000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
    "2026-01-01", DATE, [], {},
)  # fmt: skip


def cursor(values):
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def forged():
    for value in VALUES:
        yield from (value, [value], [DATE, value], [value, "x"], [DATE, "x", value], [value, value, value, value])


def paginated(app):
    for method, path in routes(app):
        parameters = app.openapi()["paths"][path][method.lower()].get("parameters", ())
        if any(parameter["name"] == "cursor" for parameter in parameters):
            yield method, path


def test_a_forged_cursor_is_never_a_server_error(server):
    lists = [
        re.sub(r"\{(\w+)\}", lambda match: server.ids[f"ours {match[1]}"], path) for _, path in paginated(server.app)
    ]
    assert len(lists) >= 9
    for path in lists:
        for values in forged():
            response = server.call("GET", path, "admin", params={"cursor": cursor(values)})
            assert response.status_code == 200 or response.json()["code"] in ("invalid_cursor", "invalid_request"), (
                path,
                values,
                response.text,
            )


def test_an_integer_beyond_the_column_is_an_invalid_cursor(server):
    path = f"/v1/alerts/{server.ids['ours alert_id']}/events"
    for number in (2**31, 2**53 - 1, 2**63, -1):
        response = server.call("GET", path, "admin", params={"cursor": cursor([number])})
        assert (response.status_code, response.json()["code"]) == (422, "invalid_cursor"), number
    assert server.call("GET", path, "admin", params={"cursor": cursor([2**31 - 1])}).json()["items"] == []


def test_an_integer_in_a_url_is_never_a_server_error(server):
    for method, path in routes(server.app):
        parameters = server.app.openapi()["paths"][path][method.lower()].get("parameters", ())
        numeric = [parameter for parameter in parameters if "integer" in json.dumps(parameter["schema"])]
        for parameter in numeric if method == "GET" else ():
            for number in (0, -1, 2**31 - 1, 2**31, 2**53, 2**63, 2**64):
                ids = {name.partition(" ")[2]: value for name, value in server.ids.items() if name.startswith("ours ")}
                query = {parameter["name"]: number} if parameter["in"] == "query" else {}
                ids |= {parameter["name"]: str(number)} if parameter["in"] == "path" else {}
                concrete = re.sub(r"\{(\w+)\}", lambda match, ids=ids: ids[match[1]], path)
                response = server.call("GET", concrete, "admin", params=query)
                assert response.status_code < 500, (path, parameter["name"], number)
