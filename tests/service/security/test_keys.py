"""API keys: shown once, checked without a read each, worthless when they should be."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from keyed_server import House, upload

from relumine_server import credentials
from relumine_server.storage import tables as t


def code(answer):
    return answer.status_code, answer.json().get("code")


@given(
    st.sampled_from(["ingest", "read", "admin"]), st.integers(0, 45), st.sampled_from(credentials.ALPHABET + "_-. é")
)
def test_a_key_with_one_character_wrong_is_told_without_the_database(scope, place, other):
    key = credentials.new(scope)
    assert credentials.read(key).scope == scope
    place %= len(key)
    wrong = key[:place] + other + key[place + 1 :]
    assert (credentials.read(wrong) is None) == (wrong != key)
    assert credentials.read(key[:-1]) is None
    assert credentials.read(key + "a") is None


def test_without_keys_a_server_is_open_and_the_first_key_closes_it(empty):
    assert empty.call("GET", "/v1/runs").status_code == 200
    assert empty.call("GET", "/v1/login").json() == {"needed": False, "scope": "admin", "project": None, "key_id": None}
    assert empty.call("POST", "/v1/uploads", "rlm_read_whatever", json=upload("p", "r")).status_code == 202
    for asked in ({"scope": "ingest"}, {"scope": "read"}, {"scope": "admin", "project": "p"}):
        assert code(empty.call("POST", "/v1/keys", json=asked)) == (409, "first_key_must_be_admin")
    empty.make("admin", "admin")
    assert code(empty.call("GET", "/v1/runs")) == (401, "key_missing")
    assert empty.call("GET", "/v1/runs", "admin").status_code == 200


def test_a_server_with_keys_never_opens_again_by_itself(empty):
    empty.make("admin", "admin", expires_at=(empty.now + timedelta(days=1)).isoformat())
    empty.now += timedelta(days=2)
    assert code(empty.call("GET", "/v1/runs")) == (401, "key_missing")
    assert code(empty.call("GET", "/v1/runs", "admin")) == (401, "key_expired")


def test_switched_off_nobody_is_asked_whatever_keys_there_are(house):
    off = House(house.database_url, {"insecure_no_auth": True}) if "postgres" in house.database_url else None
    if off is None:  # SQLite takes one server
        house.app.state.store.close()
        off = House(house.database_url, {"insecure_no_auth": True})
    assert off.call("DELETE", "/v1/runs/run-ours").status_code == 204
    off.app.state.store.close()


def test_a_key_is_shown_once_and_kept_as_a_digest(house):
    shown = house.make("new", "read", "ours")
    assert shown["key"].startswith("rlm_read_")
    assert shown["key_id"] == "key_" + shown["key"][9:17]
    listed = house.call("GET", "/v1/keys", "admin").json()["items"]
    assert {"key_id": shown["key_id"], "scope": "read", "project": "ours", "name": "new", "key": None}.items() <= next(
        key for key in listed if key["key_id"] == shown["key_id"]
    ).items()
    with house.app.state.store.read() as session:
        rows = session.execute(sa.select(t.keys)).all()
    assert credentials.digest(shown["key"]) in {row.digest for row in rows}
    assert not [row for row in rows if shown["key"][17:] in str(row)]


def test_every_key_is_listed_once_page_by_page(house):
    seen, cursor = [], None
    while True:
        page = house.call("GET", "/v1/keys", "admin", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        seen += [key["name"] for key in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(set(house.keys) - {"mistyped", "unknown"})


def test_a_revoked_key_is_worthless_at_once_and_stays_listed(house):
    assert house.call("GET", "/v1/runs", "read").status_code == 200
    assert house.call("DELETE", f"/v1/keys/{house.ids['read']}", "admin").status_code == 204
    assert code(house.call("GET", "/v1/runs", "read")) == (401, "key_revoked")
    assert code(house.call("DELETE", f"/v1/keys/{house.ids['read']}", "admin")) == (404, "key_not_found")
    listed = {key["name"]: key for key in house.call("GET", "/v1/keys", "admin").json()["items"]}
    assert listed["read"]["revoked_at"] == "2026-06-01T02:00:00Z"


def test_another_process_learns_of_it_within_two_seconds(new_database):
    here = House(new_database("postgresql"))
    there = House(here.database_url)
    here.make("admin", "admin")
    there.now += timedelta(seconds=2)
    assert code(there.call("GET", "/v1/runs")) == (401, "key_missing")
    here.make("read", "read")
    assert there.call("GET", "/v1/runs", here.keys["read"]).status_code == 200  # a new key works everywhere at once
    here.call("DELETE", f"/v1/keys/{here.ids['read']}", "admin")
    assert there.call("GET", "/v1/runs", here.keys["read"]).status_code == 200
    there.now += timedelta(seconds=2)
    assert code(there.call("GET", "/v1/runs", here.keys["read"])) == (401, "key_revoked")
    for house in (here, there):
        house.app.state.store.close()


def test_an_expired_key_is_worthless_from_that_moment(house):
    until = house.now + timedelta(minutes=5)
    house.make("short", "read", expires_at=until.isoformat())
    house.now = until - timedelta(microseconds=1)
    assert house.call("GET", "/v1/runs", "short").status_code == 200
    house.now = until
    assert code(house.call("GET", "/v1/runs", "short")) == (401, "key_expired")
    assert code(house.call("POST", "/v1/keys", "admin", json={"scope": "read", "expires_at": until.isoformat()})) == (
        422,
        "invalid_key",
    )


def test_the_last_key_that_can_make_keys_stays(house):
    path = f"/v1/keys/{house.ids['admin']}"
    assert code(house.call("DELETE", path, "admin")) == (409, "last_admin_key")  # that of ours is bound, one is expired
    house.make("second", "admin")
    assert house.call("DELETE", path, "second").status_code == 204


def test_use_is_noted_once_a_minute(house):
    def last_used():
        listed = house.call("GET", "/v1/keys", "admin").json()["items"]
        return next(key["last_used_at"] for key in listed if key["name"] == "ours read")

    assert last_used() is None
    house.call("GET", "/v1/runs", "ours read")
    assert last_used() == "2026-06-01T02:00:00Z"
    house.now += timedelta(seconds=59)
    house.call("GET", "/v1/runs", "ours read")
    assert last_used() == "2026-06-01T02:00:00Z"
    house.now += timedelta(seconds=1)
    house.call("GET", "/v1/runs", "ours read")
    assert last_used() == "2026-06-01T02:01:00Z"


def test_a_key_of_one_project_makes_and_sees_keys_of_that_project_only(house):
    assert code(house.call("POST", "/v1/keys", "ours admin", json={"scope": "read", "project": "theirs"})) == (
        403,
        "other_project",
    )
    assert house.make("made", "read", by="ours admin")["project"] == "ours"
    listed = house.call("GET", "/v1/keys", "ours admin").json()["items"]
    assert {key["project"] for key in listed} == {"ours"}
    assert len(listed) == 4


def test_an_upload_goes_into_the_project_of_its_key(house):
    assert house.call("POST", "/v1/uploads", "ours ingest", json=upload("ours", "r1")).status_code == 202
    refused = house.call("POST", "/v1/uploads", "ours ingest", json=upload("theirs", "r2"))
    assert code(refused) == (403, "other_project")
    stolen = house.call("POST", "/v1/uploads", "ours ingest", json=upload("ours", "run-theirs", 2))
    assert code(stolen) == (409, "run_in_other_project")
    assert code(house.call("GET", "/v1/runs/r2", "admin")) == (404, "run_not_found")


def test_lists_show_the_project_of_the_key_only(house):
    def projects(path, key):
        return {item["project"] for item in house.call("GET", path, key).json()["items"]}

    for path in ("/v1/runs", "/v1/projects", "/v1/alerts", "/v1/webhooks", "/v1/silences"):
        assert projects(path, "ours admin") == {"ours"}, path
        assert projects(path, "admin") == {"ours", "theirs"}, path
    for path in ("/v1/runs", "/v1/alerts"):
        assert projects(f"{path}?project=theirs", "ours read") == set(), path
        assert projects(f"{path}?project=theirs", "read") == {"theirs"}, path
    assert projects("/v1/alerts?run_id=run-theirs", "ours read") == set()


def test_a_project_that_is_called_like_a_pattern_gives_no_way_to_other_projects(house):
    house.make("stars", "admin", "our*")
    hook = {"url": "https://stars.example/hook"}
    pattern = house.call("POST", "/v1/webhooks", "admin", json={**hook, "project": "our*"}).json()["webhook_id"]
    delivery = house.called_off(f"/v1/webhooks/{pattern}")
    assert code(house.call("POST", "/v1/webhooks", "stars", json=hook)) == (403, "other_project")
    assert house.call("GET", "/v1/webhooks", "stars").json()["items"] == []
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")):
        body = {"json": {"url": "https://evil.example/"}} if method == "PATCH" else {}
        answer = house.call(method, f"/v1/webhooks/{pattern}{path}", "stars", **body)
        assert code(answer) == (404, "webhook_not_found")
    assert code(house.call("GET", f"/v1/deliveries/{delivery}", "stars")) == (404, "delivery_not_found")


def test_a_key_of_one_project_makes_webhooks_of_that_project_only(house):
    hook = {"url": "https://new.example/hook"}
    made = house.call("POST", "/v1/webhooks", "ours admin", json=hook).json()
    assert made["project"] == "ours"
    assert code(house.call("POST", "/v1/webhooks", "ours admin", json={**hook, "project": "theirs"})) == (
        403,
        "other_project",
    )
    path = f"/v1/webhooks/{made['webhook_id']}"
    assert house.call("PATCH", path, "ours admin", json={"project": None}).json()["project"] == "ours"
    assert code(house.call("PATCH", path, "ours admin", json={"project": "theirs"})) == (403, "other_project")
    assert house.call("PATCH", path, "admin", json={"project": None}).json()["project"] is None
    assert code(house.call("GET", path, "ours admin")) == (404, "webhook_not_found")


def test_a_webhook_given_to_another_project_brings_no_news_of_the_first_along(house):
    webhook = f"/v1/webhooks/{house.ids['theirs webhook_id']}"
    assert house.call("POST", "/v1/uploads", "ingest", json=upload("theirs", "run-secret")).status_code == 202
    told = house.call("GET", f"{webhook}/deliveries", "theirs admin").json()["items"]
    secret = next(one["delivery_id"] for one in told if one["run_id"] == "run-secret")
    assert house.call("PATCH", webhook, "admin", json={"project": "ours"}).status_code == 200
    seen = house.call("GET", f"{webhook}/deliveries", "ours admin").json()["items"]
    assert {one["delivery_id"] for one in told} - {one["delivery_id"] for one in seen} == {secret}
    for key in ("ours admin", "theirs admin"):
        assert code(house.call("GET", f"/v1/deliveries/{secret}", key)) == (404, "delivery_not_found")
        assert code(house.call("POST", f"/v1/deliveries/{secret}/redeliver", key)) == (404, "delivery_not_found")
    shown = house.call("GET", f"/v1/deliveries/{secret}", "admin").json()
    assert (shown["state"], shown["reason"]) == ("cancelled", "webhook_moved")
    assert code(house.call("POST", f"/v1/deliveries/{secret}/redeliver", "admin")) == (409, "nothing_to_tell")


def test_a_key_of_one_project_silences_that_project_only(house):
    ends_at = (house.now + timedelta(hours=1)).isoformat()
    quiet = {"matchers": {"project": "*"}, "ends_at": ends_at, "author": "Ada"}
    assert house.call("POST", "/v1/silences", "ours admin", json=quiet).json()["project"] == "ours"
    elsewhere = {**quiet, "matchers": {"project": "their*"}}
    assert code(house.call("POST", "/v1/silences", "ours admin", json=elsewhere)) == (403, "other_project")
    held = {project: house.ids[f"{project} alert_id"] for project in ("ours", "theirs")}
    shown = {project: house.call("GET", f"/v1/alerts/{alert}", "admin").json() for project, alert in held.items()}
    assert (shown["ours"]["silenced_by"] is not None, shown["theirs"]["silenced_by"]) == (True, None)
    assert house.call("POST", "/v1/silences", "admin", json=quiet).json()["matched"] >= 1
    assert house.call("GET", f"/v1/alerts/{held['theirs']}", "admin").json()["silenced_by"] is not None


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer ", "Basic cmxtOng=", "Token {}", "{}", "Bearer {} x", "Bearer é"]
)
def test_what_is_no_bearer_key_is_refused(house, sent):
    authorization = sent.format(house.keys["admin"]).encode("latin-1")
    assert house.call("GET", "/v1/runs", headers={"authorization": authorization}).status_code == 401


def test_the_word_bearer_is_read_in_any_case(house):
    for word in ("bearer", "BEARER"):
        answer = house.call("GET", "/v1/runs", headers={"authorization": f"{word}  {house.keys['read']} "})
        assert answer.status_code == 200
