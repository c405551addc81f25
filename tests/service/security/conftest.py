"""A server with keys of every kind, and two projects of which each has one of everything."""

from __future__ import annotations

from datetime import timedelta

import pytest
from keyed_server import House, upload

from relumine_server.credentials import checksum


@pytest.fixture
def empty(database_url):
    """A server without any key."""
    house = House(database_url)
    yield house
    house.app.state.store.close()


@pytest.fixture
def house(empty):
    """Keys of every kind; projects ours and theirs with a run, an alert, a silence, a webhook and a delivery each."""
    house = empty
    house.make("admin", "admin")
    for scope in ("ingest", "read"):
        house.make(scope, scope)
    for project in ("ours", "theirs"):
        for scope in ("ingest", "read", "admin"):
            house.make(f"{project} {scope}", scope, project)
        answer = house.call("POST", "/v1/uploads", "ingest", json=upload(project, f"run-{project}"))
        house.ids[f"{project} run_id"] = f"run-{project}"
        house.ids[f"{project} alert_id"] = answer.json()["alerts"][0]["id"]
        hook = {"url": f"https://{project}.example/hook", "project": project}
        made = house.call("POST", "/v1/webhooks", "admin", json=hook)
        house.ids[f"{project} webhook_id"] = made.json()["webhook_id"]
        house.ids[f"{project} delivery_id"] = house.called_off(f"/v1/webhooks/{made.json()['webhook_id']}")
        quiet = {"matchers": {"kind": "none"}, "ends_at": (house.now + timedelta(days=1)).isoformat(), "author": "Ada"}
        made = house.call("POST", "/v1/silences", f"{project} admin", json=quiet)
        house.ids[f"{project} silence_id"] = made.json()["silence_id"]
        house.ids[f"{project} key_id"] = house.ids[f"{project} read"]
        house.ids[f"{project} project"], house.ids[f"{project} layer_id"] = project, "1"
    house.make("revoked", "admin")
    assert house.call("DELETE", f"/v1/keys/{house.ids['revoked']}", "admin").status_code == 204
    house.make("expired", "admin", expires_at=(house.now + timedelta(hours=1)).isoformat())
    house.now += timedelta(hours=2)
    key = house.keys["admin"]
    swapped = key[:20] + ("a" if key[20] != "a" else "b") + key[21:]
    assert checksum(swapped[:-6]) != swapped[-6:]
    house.keys["mistyped"] = swapped
    begin = key[:20] + "0" * (len(key) - 26)
    house.keys["unknown"] = begin + checksum(begin)
    return house
