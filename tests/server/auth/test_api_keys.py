"""API keys: shown once, checked by their checksum first, and refused once they are revoked or expired."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from relumine_server.auth import api_keys
from relumine_server.db import tables
from tests.helpers.two_project_server import TwoProjectServer, upload


def code(response):
    return response.status_code, response.json().get("code")


@given(st.sampled_from(["ingest", "read", "admin"]), st.integers(0, 45), st.sampled_from(api_keys.ALPHABET + "_-. é"))
def test_a_key_with_one_wrong_character_is_recognized_without_the_database(scope, position, other):
    key = api_keys.new_secret(scope)
    assert api_keys.read(key).scope == scope
    position %= len(key)
    wrong = key[:position] + other + key[position + 1 :]
    assert (api_keys.read(wrong) is None) == (wrong != key)
    assert api_keys.read(key[:-1]) is None
    assert api_keys.read(key + "a") is None


def test_a_server_without_keys_is_open_until_the_first_key_is_created(server_without_keys):
    assert server_without_keys.call("GET", "/v1/runs").status_code == 200
    assert server_without_keys.call("GET", "/v1/session").json() == {
        "needed": False,
        "scope": "admin",
        "project": None,
        "key_id": None,
    }
    assert (
        server_without_keys.call("POST", "/v1/uploads", "rlm_read_whatever", json=upload("p", "r")).status_code == 202
    )
    for body in ({"scope": "ingest"}, {"scope": "read"}, {"scope": "admin", "project": "p"}):
        assert code(server_without_keys.call("POST", "/v1/keys", json=body)) == (409, "first_key_must_be_admin")
    server_without_keys.create_key("admin", "admin")
    assert code(server_without_keys.call("GET", "/v1/runs")) == (401, "key_missing")
    assert server_without_keys.call("GET", "/v1/runs", "admin").status_code == 200


def test_a_server_with_keys_never_opens_again_by_itself(server_without_keys):
    server_without_keys.create_key(
        "admin", "admin", expires_at=(server_without_keys.now + timedelta(days=1)).isoformat()
    )
    server_without_keys.now += timedelta(days=2)
    assert code(server_without_keys.call("GET", "/v1/runs")) == (401, "key_missing")
    assert code(server_without_keys.call("GET", "/v1/runs", "admin")) == (401, "key_expired")


def test_with_insecure_no_auth_no_key_is_required_even_if_keys_exist(server):
    open_server = TwoProjectServer(server.database_url, {"insecure_no_auth": True}, database=server.database)
    assert open_server.call("DELETE", "/v1/runs/run-ours").status_code == 204


def test_a_key_is_shown_once_and_stored_as_a_digest(server):
    created = server.create_key("new", "read", "ours")
    assert created["key"].startswith("rlm_read_")
    assert created["key_id"] == "key_" + created["key"][9:17]
    listed = server.call("GET", "/v1/keys", "admin").json()["items"]
    assert {
        "key_id": created["key_id"],
        "scope": "read",
        "project": "ours",
        "name": "new",
        "key": None,
    }.items() <= next(key for key in listed if key["key_id"] == created["key_id"]).items()
    with server.app.state.services.database.read() as connection:
        rows = connection.execute(sa.select(tables.api_keys)).all()
    assert api_keys.digest(created["key"]) in {row.digest for row in rows}
    assert not [row for row in rows if created["key"][17:] in str(row)]


def test_every_key_is_listed_once_page_by_page(server):
    names = []
    cursor = None
    while True:
        page = server.call("GET", "/v1/keys", "admin", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        names += [key["name"] for key in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert sorted(names) == sorted(set(server.keys) - {"mistyped", "unknown"})


def test_a_revoked_key_is_refused_at_once_and_stays_listed(server):
    assert server.call("GET", "/v1/runs", "read").status_code == 200
    assert server.call("DELETE", f"/v1/keys/{server.ids['read']}", "admin").status_code == 204
    assert code(server.call("GET", "/v1/runs", "read")) == (401, "key_revoked")
    assert code(server.call("DELETE", f"/v1/keys/{server.ids['read']}", "admin")) == (404, "key_not_found")
    listed = {key["name"]: key for key in server.call("GET", "/v1/keys", "admin").json()["items"]}
    assert listed["read"]["revoked_at"] == "2026-06-01T02:00:00Z"


def test_another_process_notices_created_and_revoked_keys_within_two_seconds(new_database):
    first = TwoProjectServer(new_database("postgresql"))
    second = TwoProjectServer(first.database_url)
    first.create_key("admin", "admin")
    second.now += timedelta(seconds=2)
    assert code(second.call("GET", "/v1/runs")) == (401, "key_missing")
    first.create_key("read", "read")
    assert second.call("GET", "/v1/runs", first.keys["read"]).status_code == 200  # a new key works everywhere at once
    first.call("DELETE", f"/v1/keys/{first.ids['read']}", "admin")
    assert second.call("GET", "/v1/runs", first.keys["read"]).status_code == 200
    second.now += timedelta(seconds=2)
    assert code(second.call("GET", "/v1/runs", first.keys["read"])) == (401, "key_revoked")
    for server in (first, second):
        server.app.state.services.database.close()


def test_an_expired_key_is_refused_from_the_moment_it_expires(server):
    until = server.now + timedelta(minutes=5)
    server.create_key("short", "read", expires_at=until.isoformat())
    server.now = until - timedelta(microseconds=1)
    assert server.call("GET", "/v1/runs", "short").status_code == 200
    server.now = until
    assert code(server.call("GET", "/v1/runs", "short")) == (401, "key_expired")
    assert code(server.call("POST", "/v1/keys", "admin", json={"scope": "read", "expires_at": until.isoformat()})) == (
        422,
        "invalid_key",
    )


def test_the_last_key_that_can_create_keys_cannot_be_revoked(server):
    path = f"/v1/keys/{server.ids['admin']}"  # the other admin keys are bound, revoked or expired
    assert code(server.call("DELETE", path, "admin")) == (409, "last_admin_key")
    server.create_key("second", "admin")
    assert server.call("DELETE", path, "second").status_code == 204


def test_the_last_use_of_a_key_is_stored_once_a_minute(server):
    def last_used():
        listed = server.call("GET", "/v1/keys", "admin").json()["items"]
        return next(key["last_used_at"] for key in listed if key["name"] == "ours read")

    assert last_used() is None
    server.call("GET", "/v1/runs", "ours read")
    assert last_used() == "2026-06-01T02:00:00Z"
    server.now += timedelta(seconds=59)
    server.call("GET", "/v1/runs", "ours read")
    assert last_used() == "2026-06-01T02:00:00Z"
    server.now += timedelta(seconds=1)
    server.call("GET", "/v1/runs", "ours read")
    assert last_used() == "2026-06-01T02:01:00Z"


def test_a_key_of_one_project_creates_and_lists_keys_of_that_project_only(server):
    assert code(server.call("POST", "/v1/keys", "ours admin", json={"scope": "read", "project": "theirs"})) == (
        403,
        "project_forbidden",
    )
    assert server.create_key("created", "read", by="ours admin")["project"] == "ours"
    listed = server.call("GET", "/v1/keys", "ours admin").json()["items"]
    assert {key["project"] for key in listed} == {"ours"}
    assert len(listed) == 5


def test_a_bound_key_uploads_into_its_own_project_only(server):
    assert server.call("POST", "/v1/uploads", "ours ingest", json=upload("ours", "r1")).status_code == 202
    refused = server.call("POST", "/v1/uploads", "ours ingest", json=upload("theirs", "r2"))
    assert code(refused) == (403, "project_forbidden")
    same_id = server.call("POST", "/v1/uploads", "ours ingest", json=upload("ours", "run-theirs"))
    assert same_id.status_code == 202
    run_id = same_id.json()["run_id"]
    assert server.call("GET", f"/v1/runs/{run_id}", "ours read").json()["project"] == "ours"
    assert code(server.call("GET", f"/v1/runs/{run_id}", "theirs read")) == (404, "run_not_found")
    for key, project in (("ours read", "ours"), ("theirs read", "theirs")):
        assert server.call("GET", "/v1/runs/run-theirs", key).json()["project"] == project
        assert server.call("GET", "/v1/runs/run-theirs/overview", key).json()["run"]["project"] == project
    assert server.call("DELETE", "/v1/runs/run-theirs", "ours admin").status_code == 204
    assert server.call("GET", "/v1/runs/run-theirs", "theirs read").status_code == 200
    assert code(server.call("GET", "/v1/runs/r2", "admin")) == (404, "run_not_found")


def test_lists_contain_only_the_project_of_the_key(server):
    def projects(path, key):
        return {item["project"] for item in server.call("GET", path, key).json()["items"]}

    for path in ("/v1/runs", "/v1/projects", "/v1/alerts", "/v1/webhooks", "/v1/silences"):
        assert projects(path, "ours admin") == {"ours"}, path
        assert projects(path, "admin") == {"ours", "theirs"}, path
    for path in ("/v1/runs", "/v1/alerts"):
        assert projects(f"{path}?project=theirs", "ours read") == set(), path
        assert projects(f"{path}?project=theirs", "read") == {"theirs"}, path
    assert projects("/v1/alerts?run_id=run-theirs", "ours read") == set()


def test_a_project_with_the_name_of_a_pattern_gives_no_access_to_other_projects(server):
    server.create_key("stars", "admin", "our*")
    hook = {"url": "https://stars.example/hook"}
    pattern = server.call("POST", "/v1/webhooks", "admin", json={**hook, "project": "our*"}).json()["webhook_id"]
    delivery = server.cancelled_delivery(f"/v1/webhooks/{pattern}")
    assert code(server.call("POST", "/v1/webhooks", "stars", json=hook)) == (403, "project_forbidden")
    assert server.call("GET", "/v1/webhooks", "stars").json()["items"] == []
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")):
        body = {"json": {"url": "https://evil.example/"}} if method == "PATCH" else {}
        response = server.call(method, f"/v1/webhooks/{pattern}{path}", "stars", **body)
        assert code(response) == (404, "webhook_not_found")
    assert code(server.call("GET", f"/v1/deliveries/{delivery}", "stars")) == (404, "delivery_not_found")


def test_a_key_of_one_project_creates_webhooks_of_that_project_only(server):
    hook = {"url": "https://new.example/hook"}
    created = server.call("POST", "/v1/webhooks", "ours admin", json=hook).json()
    assert created["project"] == "ours"
    assert code(server.call("POST", "/v1/webhooks", "ours admin", json={**hook, "project": "theirs"})) == (
        403,
        "project_forbidden",
    )
    path = f"/v1/webhooks/{created['webhook_id']}"
    assert server.call("PATCH", path, "ours admin", json={"project": None}).json()["project"] == "ours"
    assert code(server.call("PATCH", path, "ours admin", json={"project": "theirs"})) == (403, "project_forbidden")
    assert server.call("PATCH", path, "admin", json={"project": None}).json()["project"] is None
    assert code(server.call("GET", path, "ours admin")) == (404, "webhook_not_found")


def test_a_webhook_that_is_moved_to_another_project_hides_its_earlier_deliveries(server):
    webhook = f"/v1/webhooks/{server.ids['theirs webhook_id']}"
    assert server.call("POST", "/v1/uploads", "ingest", json=upload("theirs", "run-secret")).status_code == 202
    earlier = server.call("GET", f"{webhook}/deliveries", "theirs admin").json()["items"]
    secret = next(delivery["delivery_id"] for delivery in earlier if delivery["run_id"] == "run-secret")
    assert server.call("PATCH", webhook, "admin", json={"project": "ours"}).status_code == 200
    visible = server.call("GET", f"{webhook}/deliveries", "ours admin").json()["items"]
    assert ids_of(earlier) - ids_of(visible) == {secret}
    for key in ("ours admin", "theirs admin"):
        assert code(server.call("GET", f"/v1/deliveries/{secret}", key)) == (404, "delivery_not_found")
        assert code(server.call("POST", f"/v1/deliveries/{secret}/redeliver", key)) == (404, "delivery_not_found")
    delivery = server.call("GET", f"/v1/deliveries/{secret}", "admin").json()
    assert (delivery["state"], delivery["status_reason"]) == ("cancelled", "project_changed")
    assert code(server.call("POST", f"/v1/deliveries/{secret}/redeliver", "admin")) == (409, "nothing_to_deliver")


def ids_of(deliveries):
    return {delivery["delivery_id"] for delivery in deliveries}


def test_a_key_of_one_project_silences_that_project_only(server):
    ends_at = (server.now + timedelta(hours=1)).isoformat()
    silence = {"matchers": {"project": "*"}, "ends_at": ends_at, "author": "Ada"}
    assert server.call("POST", "/v1/silences", "ours admin", json=silence).json()["project"] == "ours"
    elsewhere = {**silence, "matchers": {"project": "their*"}}
    assert code(server.call("POST", "/v1/silences", "ours admin", json=elsewhere)) == (403, "project_forbidden")

    def silenced_by(project):
        alert = server.ids[f"{project} alert_id"]
        return server.call("GET", f"/v1/alerts/{alert}", "admin").json()["silenced_by"]

    assert silenced_by("ours") is not None
    assert silenced_by("theirs") is None
    assert server.call("POST", "/v1/silences", "admin", json=silence).json()["matched"] >= 1
    assert silenced_by("theirs") is not None


@pytest.mark.parametrize(
    "template", ["", "Bearer", "Bearer ", "Basic cmxtOng=", "Token {}", "{}", "Bearer {} x", "Bearer é"]
)
def test_a_malformed_authorization_header_is_refused(server, template):
    authorization = template.format(server.keys["admin"]).encode("latin-1")
    assert server.call("GET", "/v1/runs", headers={"authorization": authorization}).status_code == 401


def test_the_scheme_bearer_is_accepted_in_any_case(server):
    for word in ("bearer", "BEARER"):
        response = server.call("GET", "/v1/runs", headers={"authorization": f"{word}  {server.keys['read']} "})
        assert response.status_code == 200
