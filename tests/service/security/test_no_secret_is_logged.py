"""No key, no signing secret and no path of a webhook in any log: of a real server that everything is done to."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time

import httpx
import pytest
import structlog
from keyed_server import upload

from relumine_server import credentials, logs

HOOK_PATH = "T0123/B4567/hook-path-canary"
DEADLINE_S = 60


def wait_for(say, what):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if found := say():
                return found
        except httpx.HTTPError:
            pass
        time.sleep(0.05)  # a real process is waited for
    raise AssertionError(what)


@pytest.fixture
def server(tmp_path):
    """Address of a server that logs all it can, and the file it logs to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "RELUMINE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}",
        "RELUMINE_LOG_LEVEL": "debug",
        "RELUMINE_WEBHOOK_ALLOW_LOOPBACK": "true",
        "RELUMINE_COURIER_POLL_S": "0.1",
    }
    command = [sys.executable, "-m", "relumine_server", "serve", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/readyz").is_success, "not ready")
        yield url, tmp_path
        process.terminate()
        process.wait(30)


def everything(url, folder):
    """Does all that could leave a secret in a log; gives the secrets."""
    admin = httpx.post(f"{url}/v1/keys", json={"scope": "admin"}).json()["key"]
    wrong, canary = admin[:-1] + ("a" if admin[-1] != "a" else "b"), credentials.new("read")
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {admin}"}) as client:
        hook = {"url": f"http://127.0.0.1:1024/{HOOK_PATH}", "events": ["alert.firing"]}
        made = client.post("/v1/webhooks", json=hook).json()
        ingest = client.post("/v1/keys", json={"scope": "ingest"}).json()["key"]
        for key in (admin, ingest, wrong, canary):
            bearer = {"authorization": f"Bearer {key}"}
            client.post("/v1/uploads", headers=bearer, json=upload("p", "r"))
            client.get(f"/v1/runs?key={key}&cursor={key}", headers=bearer)
            client.get(f"/v1/runs/{key}", headers=bearer)
            client.delete(f"/v1/keys/{key}", headers=bearer)
            client.post("/v1/login", json={"key": key})
            client.post("/v1/login", content=f'{{"key": "{key}"', headers={"content-type": "application/json"})
            client.get("/v1/runs", headers={"authorization": key, "cookie": f"relumine={key}"})
        client.post(f"/v1/webhooks/{made['webhook_id']}/test")
        wait_for(lambda: "deliver" in (folder / "log").read_text(), "no attempt was logged")
        break_the_database(folder / "x.db")
        failed = [
            client.post("/v1/webhooks", json=hook),
            client.post("/v1/keys", json={"scope": "read", "name": canary}),
            client.get(f"/v1/runs/{canary[:60]}"),
        ]
    assert {answer.status_code for answer in failed} <= {500, 503}, [answer.text for answer in failed]
    return [admin, ingest, wrong, canary, made["secret"], HOOK_PATH]


def break_the_database(file):
    """Every statement on these tables fails from here on, with its values at hand."""
    with sqlite3.connect(file) as database:
        for table in ("webhooks", "keys", "runs"):
            database.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
    database.close()


def test_nothing_that_opens_anything_is_in_the_log(server):
    url, folder = server
    secrets = everything(url, folder)
    text = (folder / "log").read_text()
    assert "storage failed" in text or "request failed" in text
    for secret in secrets:
        part = re.sub(r"^(rlm_[a-z]+_.{8}|whsec_)", "", secret)
        assert part not in text
        assert part[:20] not in text


def test_a_secret_that_slips_into_a_line_is_masked(capsys):
    key = credentials.new("admin")
    logs.to_stderr("info")
    log = structlog.get_logger("test")
    try:
        raise ValueError(f"bad {key}")  # noqa: TRY301 - it is what is logged
    except ValueError:
        log.exception("failed", path=f"/v1/keys/{key}", secret="whsec_c2VjcmV0")  # noqa: S106 - not one
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "ValueError: bad rlm_admin_…" in said
    assert key[10:] not in said
    assert "c2VjcmV0" not in said
