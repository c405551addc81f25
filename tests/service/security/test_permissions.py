"""Every route of the OpenAPI document with every kind of key: all as the table says, nothing that it does not name."""

from __future__ import annotations

import re

import pytest
from every_route import BODIES, routes

from relumine_server.api.access import EVERY_PROJECT, TABLE
from relumine_server.storage.owners import OWNERS, WITHIN

REFUSED = {
    None: "key_missing",
    "mistyped": "key_unknown",
    "unknown": "key_unknown",
    "revoked": "key_revoked",
    "expired": "key_expired",
}
NOT_OF_THE_API = {("GET", path) for path in ("/", "/static/{name}", "/docs", "/openapi.json")} | {
    ("HEAD", "/openapi.json")
}


def ask(house, route, key, project="ours"):
    method, path = route
    filled = re.sub(r"\{(\w+)\}", lambda found: house.ids[f"{project} {found[1]}"], path)
    body = BODIES.get(route)
    return house.call(method, filled, key, **({} if body is None else {"json": body}))


def test_the_table_names_every_route_and_no_other(house):
    assert set(TABLE) - NOT_OF_THE_API == set(routes(house.app))
    assert set(TABLE) >= EVERY_PROJECT


def test_every_id_in_a_path_has_an_owner():
    named = {name for _, path in TABLE for name in re.findall(r"\{(\w+)\}", path) if path.startswith("/v1")}
    assert named == set(OWNERS) | WITHIN


@pytest.mark.parametrize("key", REFUSED)
def test_a_key_that_is_none_opens_nothing(house, key):
    for route in routes(house.app):
        answer = ask(house, route, key)
        if TABLE[route] == "nothing":
            assert answer.status_code != 401 or route == ("POST", "/v1/login"), route
            continue
        said = answer.json()
        assert (answer.status_code, said.pop("code")) == (401, REFUSED[key]), route
        assert answer.headers["www-authenticate"].startswith('Bearer realm="relumine"')
        assert answer.headers["content-type"] == "application/problem+json"
        assert said.pop("request_id") == answer.headers["x-request-id"]
        assert said == {
            "type": f"urn:relumine:{REFUSED[key]}",
            "status": 401,
            "title": "A key of this server is needed",
            "detail": "send a valid one as Authorization: Bearer rlm_…; SDK: RELUMINE_API_KEY or api_key=",
        }


@pytest.mark.parametrize("scope", ["ingest", "read", "admin"])
@pytest.mark.parametrize("bound", ["", "ours "])
def test_a_key_may_what_its_scope_may_and_nothing_else(house, scope, bound):
    for route in routes(house.app):
        answer = ask(house, route, bound + scope)
        need = TABLE[route]
        if need == "nothing":
            continue
        if scope not in (need, "admin"):
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_too_small"), route
            assert "insufficient_scope" in answer.headers["www-authenticate"]
        elif bound and route in EVERY_PROJECT:
            assert (answer.status_code, answer.json()["code"]) == (403, "other_project"), route
        else:
            assert answer.is_success, (route, answer.text)


@pytest.mark.parametrize("scope", ["ingest", "read", "admin"])
def test_a_key_of_another_project_finds_nothing(house, scope):
    for route in routes(house.app):
        answer = ask(house, route, f"theirs {scope}")
        if TABLE[route] == "nothing":
            continue
        if scope not in (TABLE[route], "admin"):
            assert answer.status_code == 403, route
        elif "{" in route[1] or route == ("POST", "/v1/policy/backtest"):
            assert answer.status_code == 404, route
            assert answer.json()["code"].endswith("_not_found"), route
        elif route[0] == "GET" and route not in EVERY_PROJECT:
            assert answer.is_success, route
            assert "ours" not in answer.text, route
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "other_project"), route
    for route in routes(house.app):  # and all of it is still there
        if route[0] == "GET":
            assert ask(house, route, "admin").is_success, route


def test_what_another_project_has_is_answered_as_what_nobody_has(house):
    for route in routes(house.app):
        if "{" in route[1] and TABLE[route] != "nothing":
            theirs = ask(house, route, "ours admin", "theirs").json()
            missing = re.sub(r"\{(\w+)\}", "none", route[1]).replace("alerts/none", "alerts/none.1.dead")
            body = BODIES.get(route)
            nobody = house.call(route[0], missing, "ours admin", **({} if body is None else {"json": body}))
            assert nobody.status_code == 404, route
            assert {**theirs, "request_id": ""} == {**nobody.json(), "request_id": ""}, route


def test_a_route_that_the_table_forgot_is_closed(house):
    house.app.add_api_route("/v1/forgotten", lambda: "open")
    answers = {key: house.call("GET", "/v1/forgotten", key) for key in (None, "ingest", "read", "ours admin")}
    assert [answer.status_code for answer in answers.values()] == [401, 403, 403, 403]
    assert house.call("GET", "/v1/forgotten", "admin").json() == "open"


def test_the_document_tells_what_is_needed_and_what_is_answered_without(house):
    for path, operations in house.app.openapi()["paths"].items():
        for method, operation in operations.items():
            need = TABLE[method.upper(), path]
            assert "421" in operation["responses"]
            if need != "nothing":
                assert operation["security"] == [{"key": []}, {"login": []}]
                assert f"Needs a key of scope `{need}`." in operation["description"]
                assert "key_missing" in operation["responses"]["401"]["description"]
                assert "scope_too_small" in operation["responses"]["403"]["description"]
            else:
                assert "security" not in operation
