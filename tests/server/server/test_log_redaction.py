"""No key, no signing secret and no path of a webhook is in the log of a real server, whatever is requested of it."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import time
from typing import get_args

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from relumine_server import log_config
from relumine_server.app import create_app
from relumine_server.auth import api_keys
from relumine_server.settings import Settings
from tests.helpers.forked_python import SERVERS
from tests.helpers.live_server import caller
from tests.helpers.two_project_server import upload

HOOK_PATH = "T0123/B4567/hook-path-canary"
DEADLINE_S = 60


def wait_for(condition, message):
    """Return the first true value of a condition; fail with the message if there is none in time."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return result
        except httpx.HTTPError:
            pass
        time.sleep(0.05)  # a real process is waited for
    raise AssertionError(message)


@pytest.fixture
def server(tmp_path):
    """The URL of a server that logs at level debug, and the folder of its log and its database."""
    with socket.socket() as free_port:
        free_port.bind(("127.0.0.1", 0))
        port = free_port.getsockname()[1]
    settings = {
        "RELUMINE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}",
        "RELUMINE_LOG_LEVEL": "debug",
        "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true",
        "RELUMINE_DISPATCHER_POLL_S": "0.1",
    }
    command = ["-m", "relumine_server", "serve", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = SERVERS.start(command, env={**os.environ, **settings}, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/readyz").is_success, "not ready")
        yield url, tmp_path
        process.terminate()
        process.wait(60)


def use_secrets(url, folder):
    """Send every kind of request that could leave a secret in the log; return the secrets."""
    admin = httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]
    wrong = admin[:-1] + ("a" if admin[-1] != "a" else "b")
    unknown = api_keys.new_secret("read")
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {admin}"}) as client:
        hook = {"url": f"http://127.0.0.1:1024/{HOOK_PATH}", "events": ["alert.firing"]}
        webhook = client.post("/v1/webhooks", json=hook).json()
        ingest = client.post("/v1/keys", json={"scope": "ingest"}).json()["key"]
        for key in (admin, ingest, wrong, unknown):
            bearer = {"authorization": f"Bearer {key}"}
            client.post("/v1/uploads", headers=bearer, json=upload("p", "r"))
            client.get(f"/v1/runs?key={key}&cursor={key}", headers=bearer)
            client.get(f"/v1/runs/{key}", headers=bearer)
            client.delete(f"/v1/keys/{key}", headers=bearer)
            client.post("/v1/session", json={"key": key})
            client.post("/v1/session", content=f'{{"key": "{key}"', headers={"content-type": "application/json"})
            client.get("/v1/runs", headers={"authorization": key, "cookie": f"relumine={key}"})
        client.post(f"/v1/webhooks/{webhook['webhook_id']}/test")
        wait_for(lambda: "deliver" in (folder / "log").read_text(), "no attempt was logged")
        break_the_database(folder / "x.db")
        failures = [
            client.post("/v1/webhooks", json=hook),
            client.post("/v1/keys", json={"scope": "read", "name": unknown}),
            client.get(f"/v1/runs/{unknown[:60]}"),
        ]
    assert {response.status_code for response in failures} <= {500, 503}, [response.text for response in failures]
    return [admin, ingest, wrong, unknown, webhook["secret"], HOOK_PATH]


def break_the_database(file):
    """Make every statement on these tables fail from now on; the errors know the values of the statements."""
    with sqlite3.connect(file) as database:
        for table in ("webhooks", "api_keys", "runs"):
            database.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
    database.close()


def test_the_log_contains_no_secret(server):
    url, folder = server
    secrets = use_secrets(url, folder)
    text = (folder / "log").read_text()
    assert "storage failed" in text or "request failed" in text
    for secret in secrets:
        part = re.sub(r"^(rlm_[a-z]+_.{8}|whsec_)", "", secret)
        assert part not in text
        assert part[:20] not in text


def test_a_secret_in_a_log_line_is_masked(capsys):
    key = api_keys.new_secret("admin")
    log_config.to_stderr("info")
    log = structlog.get_logger("test")
    try:
        raise ValueError(f"bad {key}")  # noqa: TRY301 - the error that is logged
    except ValueError:
        log.exception("failed", path=f"/v1/keys/{key}", secret="whsec_c2VjcmV0")  # noqa: S106 - not a real secret
    finally:
        structlog.reset_defaults()
    output = capsys.readouterr().err
    assert "ValueError: bad rlm_admin_…" in output
    assert key[10:] not in output
    assert "c2VjcmV0" not in output


def test_the_path_as_sent_is_not_logged_when_the_storage_fails(new_database):
    database_url = new_database("sqlite")
    app = create_app(Settings(database_url=database_url))
    send = caller(app)
    secret = send("POST", "/v1/keys", json={"scope": "admin"}).json()["key"]
    break_the_database(database_url.removeprefix("sqlite:///"))
    app.state.services.authenticator.forget()
    with capture_logs() as lines:
        for path in ("/v1/runs/forged!line", "/v1/forged!line", "/v1/alerts/forged!line.1.dead/events", "/forged!line"):
            send("GET", path, headers={"authorization": f"Bearer {secret}"})
    app.state.services.database.close()
    failures = [line for line in lines if line["event"] == "storage failed"]
    assert {line["route"] for line in failures} == {"/v1/runs/{run_id}", "/v1/alerts/{alert_id}/events", "unknown"}
    assert "forged!line" not in str(lines)


@pytest.mark.parametrize("scope", get_args(api_keys.Scope))
def test_a_key_of_every_scope_is_masked(scope):
    secret = api_keys.new_secret(scope)
    assert log_config.SECRET.sub(r"\1…", f"key {secret}.") == f"key rlm_{scope}_…."
