"""Every route of the OpenAPI document with every kind of key: access is as the table of permissions defines it."""

from __future__ import annotations

import re

import pytest

from relumine_server.auth.ownership import OWNERS, WITHIN
from relumine_server.auth.permissions import PERMISSIONS, SCOPE_GRANTS
from tests.helpers.routes import BODIES, routes
from tests.helpers.two_project_server import upload

REFUSED = {
    None: "key_missing",
    "mistyped": "key_unknown",
    "unknown": "key_unknown",
    "revoked": "key_revoked",
    "expired": "key_expired",
}
OUTSIDE_THE_API = {("GET", path) for path in ("/", "/static/{build}/{name:path}", "/docs", "/openapi.json")} | {
    ("HEAD", "/openapi.json")
}


GRANTED_BY = {
    "ingest": {"ingest", "admin"},
    "read": {"read", "write", "admin"},
    "write": {"write", "admin"},
    "admin": {"admin"},
}
"""The scopes that allow what a route requires."""
CONCERNING_ALL_PROJECTS = {("GET", "/metrics"), ("GET", "/v1/server")}
"""Closed to keys of one project. All other routes have a project in their path or narrow themselves to the key's."""
REQUEST_ID = re.compile(r'"request_id":"\w+"')
REACHING_NO_DATABASE = {None, "mistyped"}
_routes = []


def documented_routes(app):
    """The routes of every application: the document is made once, which takes longer than many requests."""
    if not _routes:
        _routes.extend(routes(app))
    return _routes


def call_route(server, route, key, project="ours"):
    method, path = route
    concrete_path = re.sub(r"\{(\w+)\}", lambda match: server.ids[f"{project} {match[1]}"], path)
    body = BODIES.get(route)
    return server.call(method, concrete_path, key, **({} if body is None else {"json": body}))


def test_the_table_names_every_route_and_no_other(server):
    assert set(PERMISSIONS) - OUTSIDE_THE_API == set(routes(server.app))


def test_every_id_in_a_path_has_an_owner():
    named = {name for _, path in PERMISSIONS for name in re.findall(r"\{(\w+)\}", path) if path.startswith("/v1")}
    assert named == set(OWNERS) | WITHIN


@pytest.mark.parametrize(
    ("database", "key"),
    [("sqlite", key) for key in REFUSED] + [("postgresql", key) for key in REFUSED if key not in REACHING_NO_DATABASE],
    indirect=["database"],
)
def test_an_invalid_key_is_refused_on_every_route(server, key):
    for route in documented_routes(server.app):
        response = call_route(server, route, key)
        if PERMISSIONS[route] == "nothing":
            assert response.status_code != 401 or route == ("POST", "/v1/session"), route
            continue
        problem = response.json()
        assert (response.status_code, problem.pop("code")) == (401, REFUSED[key]), route
        assert response.headers["www-authenticate"].startswith('Bearer realm="relumine"')
        assert response.headers["content-type"] == "application/problem+json"
        assert problem.pop("request_id") == response.headers["x-request-id"]
        assert problem == {
            "type": f"urn:relumine:{REFUSED[key]}",
            "status": 401,
            "title": "An API key is required",
            "detail": (
                "send a valid API key as Authorization: Bearer rlm_…; in the SDK, set RELUMINE_API_KEY or api_key="
            ),
        }


@pytest.mark.parametrize("scope", ["ingest", "read", "write", "admin"])
@pytest.mark.parametrize("bound", ["", "ours "])
def test_a_key_may_do_what_its_scope_allows_and_nothing_else(server, scope, bound):
    for route in documented_routes(server.app):
        response = call_route(server, route, bound + scope)
        required_scope = PERMISSIONS[route]
        if required_scope == "nothing":
            continue
        if scope not in GRANTED_BY[required_scope]:
            assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope"), route
            assert "insufficient_scope" in response.headers["www-authenticate"]
        elif bound and route in CONCERNING_ALL_PROJECTS:
            assert (response.status_code, response.json()["code"]) == (403, "project_forbidden"), route
        else:
            assert response.is_success, (route, response.text)


def test_a_write_key_reads_acknowledges_resolves_and_silences_and_nothing_else():
    changes = {route for route, permission in PERMISSIONS.items() if permission == "write"}
    assert changes == {
        ("POST", "/v1/alerts/{alert_id}/acknowledge"),
        ("POST", "/v1/alerts/{alert_id}/resolve"),
        ("POST", "/v1/incidents/{incident_id}/acknowledge"),
        ("POST", "/v1/incidents/{incident_id}/resolve"),
        ("POST", "/v1/silences"),
        ("DELETE", "/v1/silences/{silence_id}"),
    }
    assert SCOPE_GRANTS["write"] == {"read", "write"}


@pytest.mark.parametrize("scope", ["ingest", "read", "write", "admin"])
def test_a_key_of_another_project_finds_nothing(server, scope):
    for route in documented_routes(server.app):
        response = call_route(server, route, f"theirs {scope}")
        if PERMISSIONS[route] == "nothing":
            continue
        if scope not in GRANTED_BY[PERMISSIONS[route]]:
            assert response.status_code == 403, route
        elif "{" in route[1] or route == ("POST", "/v1/policy/backtest"):
            assert response.status_code == 404, route
            assert response.json()["code"].endswith("_not_found"), route
        elif route[0] == "GET" and route not in CONCERNING_ALL_PROJECTS:
            assert response.is_success, route
            assert "ours" not in response.text, route
        else:
            assert (response.status_code, response.json()["code"]) == (403, "project_forbidden"), route
    for route in documented_routes(server.app):  # nothing was deleted
        if route[0] == "GET":
            assert call_route(server, route, "admin").is_success, route


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_what_happens_in_one_project_changes_no_response_to_a_key_of_another(server, scope):
    def responses():
        calls = ((route, call_route(server, route, f"theirs {scope}", "theirs")) for route in reads)
        return {route: (response.status_code, REQUEST_ID.sub("", response.text)) for route, response in calls}

    reads = [
        route
        for route in documented_routes(server.app)
        if route[0] == "GET" and route[1] not in ("/livez", "/readyz", "/v1/keys")  # a key tells of its own use
    ]
    earlier = responses()
    assert {status for status, _ in earlier.values()} <= {200, 403}
    for run in ("more-1", "more-2"):
        assert server.call("POST", "/v1/uploads", "ingest", json=upload("ours", run)).status_code == 202
    for name in ("silences", "webhooks"):
        assert call_route(server, ("POST", f"/v1/{name}"), "admin").is_success
    later = responses()
    assert [route for route in reads if later[route] != earlier[route]] == []


def test_a_resource_of_another_project_is_answered_like_one_that_does_not_exist(server):
    for route in documented_routes(server.app):
        if "{" in route[1] and PERMISSIONS[route] != "nothing":
            foreign = call_route(server, route, "ours admin", "theirs").json()
            missing_path = re.sub(r"\{(\w+)\}", "none", route[1]).replace("alerts/none", "alerts/none.1.dead")
            body = BODIES.get(route)
            missing = server.call(route[0], missing_path, "ours admin", **({} if body is None else {"json": body}))
            assert missing.status_code == 404, route
            assert {**foreign, "request_id": ""} == {**missing.json(), "request_id": ""}, route


def test_a_route_that_is_missing_from_the_table_needs_an_admin_key_of_all_projects(server):
    server.app.add_api_route("/v1/forgotten", lambda: "open")
    responses = [server.call("GET", "/v1/forgotten", key) for key in (None, "ingest", "read", "write", "ours admin")]
    assert [response.status_code for response in responses] == [401, 403, 403, 403, 403]
    assert server.call("GET", "/v1/forgotten", "admin").json() == "open"


def test_the_openapi_document_states_the_required_scope_and_the_responses_without_it(server):
    for path, operations in server.app.openapi()["paths"].items():
        for method, operation in operations.items():
            required_scope = PERMISSIONS[method.upper(), path]
            assert "421" in operation["responses"]
            if required_scope != "nothing":
                assert operation["security"] == [{"key": []}, {"session": []}]
                assert f"Needs a key of scope `{required_scope}`." in operation["description"]
                assert "key_missing" in operation["responses"]["401"]["description"]
                assert "insufficient_scope" in operation["responses"]["403"]["description"]
            else:
                assert "security" not in operation
