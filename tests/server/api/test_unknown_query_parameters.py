"""Every route of the OpenAPI document answers 422 to a query parameter that it does not have."""

from __future__ import annotations

import re

import pytest

from tests.helpers.routes import BODIES, routes


def request_route(server, route, query):
    method, path = route
    concrete_path = re.sub(r"\{(\w+)\}", lambda match: server.ids[f"ours {match[1]}"], path)
    body = BODIES.get(route)
    return server.call(method, concrete_path, "admin", params=query, **({} if body is None else {"json": body}))


def query_names(server, route):
    operation = server.app.openapi()["paths"][route[1]][route[0].lower()]
    return sorted(parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query")


def test_every_route_refuses_an_unknown_query_parameter_and_lists_its_own(server):
    documented = routes(server.app)
    assert len(documented) > 40
    for route in documented:
        response = request_route(server, route, {"limti": "5"})
        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "invalid_request"), route
        names = query_names(server, route)
        allowed = f"allowed are {', '.join(names)}" if names else "this route has none"
        assert problem["detail"] == f"query: unknown parameter limti; {allowed}", route
    for route in documented:  # nothing was changed or deleted
        if route[0] == "GET":
            assert request_route(server, route, {}).is_success, route


def test_every_route_accepts_its_own_query_parameters(server):
    for route in routes(server.app):
        for name in query_names(server, route):
            assert "unknown parameter" not in request_route(server, route, {name: "1"}).text, (route, name)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("Limit=5", "unknown parameter Limit; "),
        ("limit=5&page=2", "unknown parameter page; "),
        ("offset", "unknown parameter offset; "),
        ("b=1&a=2&b=3", "unknown parameter b, a; "),
        ("limit%5B%5D=5", "unknown parameter ·; "),
        ("%3Cscript%3E=1", "unknown parameter ·; "),
        ("%00%1b%5B31m=1", "unknown parameter ·; "),
        ("%ff=1", "unknown parameter ·; "),
        ("=1", "unknown parameter ·; "),
        ("limit=5&limit=6", "limit given more than once"),
        ("&".join(f"p{number}=" for number in range(900)), "unknown parameter p0, p1, p2, p3, p4 and 895 more; "),
    ],
)
def test_an_unknown_query_parameter_is_named_where_its_name_is_plain(server, query, detail):
    response = server.call("GET", f"/v1/runs?{query}", "admin")
    assert response.status_code == 422
    assert response.json()["detail"].startswith(f"query: {detail}")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_static_files_and_the_document_have_no_query_parameters_to_check(server):
    paths = ("/", "/docs", "/static/build/style/base.css", "/openapi.json")
    assert {server.call("GET", f"{path}?v=2").status_code for path in paths} == {200}
    assert server.call("HEAD", "/openapi.json?v=2").status_code == 200
    assert server.call("HEAD", "/livez?v=2").status_code == server.call("HEAD", "/livez").status_code == 405
    assert server.call("OPTIONS", "/livez?v=2").status_code == server.call("OPTIONS", "/livez").status_code == 405
    assert server.call("GET", "/v1/runs?limti=5").json()["code"] == "key_missing"
