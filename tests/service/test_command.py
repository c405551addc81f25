"""The command, as a real process."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import httpx
import pytest

COMMAND = [sys.executable, "-m", "relumine_server"]
DEADLINE_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def start(tmp_path):
    """Start a server on the test's own file; yields (process, url)."""
    started = []

    def go(*options):
        port = free_port()
        environment = {**os.environ, "RELUMINE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
        process = subprocess.Popen([*COMMAND, "serve", "--port", str(port), *options], env=environment)
        started.append(process)
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").is_success:
                    return process, f"http://127.0.0.1:{port}"
            except httpx.HTTPError:
                time.sleep(0.05)  # a real process is waited for
        raise AssertionError("not ready")

    yield go
    for process in started:
        process.kill()
        process.wait()


def keys(tmp_path, *arguments):
    environment = {**os.environ, "RELUMINE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
    return subprocess.run([*COMMAND, "keys", *arguments], env=environment, capture_output=True, text=True)


def upload(url, active=(0, 0, 0, 0)):
    body = {
        "run": {"id": "r1"},
        "session": "s1",
        "seq": 1,
        "layers": [{"layer_id": 1, "name": "act1", "units": 4}],
        "records": [
            {"layer_id": 1, "first_step": s, "step": s, "n_examples": 100, "active": active} for s in range(1, 6)
        ],
    }
    return httpx.post(f"{url}/v1/uploads", json=body)


def test_a_bind_beyond_this_machine_is_refused_in_one_sentence(tmp_path):
    done = subprocess.run([*COMMAND, "serve", "--host", "0.0.0.0"], cwd=tmp_path, capture_output=True, text=True)  # noqa: S104 - it must be refused
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "--insecure-no-auth" in done.stderr
    assert "`relumine-server keys create --scope admin`" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_command_that_mends_it_does_and_then_a_key_is_needed(start, tmp_path):
    done = keys(tmp_path, "create", "--scope", "ingest")
    assert (done.returncode, done.stdout) == (2, "")
    assert "must be an admin key" in done.stderr
    admin = keys(tmp_path, "create", "--scope", "admin", "--name", "me").stdout.strip()
    bound = keys(tmp_path, "create", "--scope", "read", "--project", "digits", "--days", "3").stdout.strip()
    listed = keys(tmp_path, "list").stdout
    assert [line.split()[1:4] for line in listed.splitlines()] == [["admin", "valid", "*"], ["read", "valid", "digits"]]
    assert admin[10:18] in listed
    assert admin[18:] not in listed
    revoked = "key_" + bound[9:17]
    assert keys(tmp_path, "revoke", revoked).returncode == 0
    assert keys(tmp_path, "revoke", revoked).returncode == 2
    assert "last admin key" in keys(tmp_path, "revoke", "key_" + admin[10:18]).stderr
    _, url = start("--host", "0.0.0.0")  # noqa: S104 - now it may
    codes = [
        httpx.get(f"{url}/v1/runs", headers={"authorization": f"Bearer {key}"}).status_code for key in (admin, bound)
    ]
    assert (codes, httpx.get(f"{url}/v1/runs").status_code) == ([200, 401], 401)
    assert "which has /v1/keys" in keys(tmp_path, "list").stderr  # SQLite takes one process


def test_without_keys_and_with_insecure_no_auth_nobody_is_asked(start, tmp_path):
    keys(tmp_path, "create", "--scope", "admin")
    _, url = start("--host", "0.0.0.0", "--insecure-no-auth")  # noqa: S104 - on purpose
    assert httpx.get(f"{url}/v1/runs").status_code == 200


def test_what_was_acknowledged_survives_kill_9_and_a_replay_agrees(start, tmp_path):
    process, url = start()
    answer = upload(url)
    assert answer.status_code == 202
    assert [alert["kind"] for alert in answer.json()["alerts"]] == ["born_dead"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process, url = start()
    assert upload(url).json()["duplicate"] is True
    assert [alert["kind"] for alert in httpx.get(f"{url}/v1/alerts").json()["items"]] == ["born_dead"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)
    database = f"sqlite:///{tmp_path / 'x.db'}"
    done = subprocess.run([*COMMAND, "replay", "r1", "--database-url", database], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "born_dead" in done.stdout
    assert "as stored" in done.stdout


def test_a_replay_goes_by_the_policy_of_the_project(start, tmp_path):
    process, url = start()
    assert [alert["kind"] for alert in upload(url, (30, 0, 0, 0)).json()["alerts"]] == ["born_dead"]
    quiet = {"thresholds": {"born_dead_layer": 1.0}}
    assert httpx.put(f"{url}/v1/projects/default/policy", json=quiet).status_code == 200
    process.terminate()
    process.wait(30)
    database = f"sqlite:///{tmp_path / 'x.db'}"
    done = subprocess.run([*COMMAND, "replay", "r1", "--database-url", database], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "5 records, 0 findings, NOT as stored\n")


def test_a_second_server_on_the_same_file_is_refused_by_name(start, tmp_path):
    start()
    environment = {**os.environ, "RELUMINE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
    done = subprocess.run(
        [*COMMAND, "serve", "--port", str(free_port())], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "already served by another process" in done.stderr


def test_a_run_that_is_not_there_cannot_be_replayed(tmp_path):
    database = f"sqlite:///{tmp_path / 'x.db'}"
    subprocess.run([*COMMAND, "migrate", "--database-url", database], check=True, capture_output=True)
    done = subprocess.run([*COMMAND, "replay", "none", "--database-url", database], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (2, "relumine-server: no run none")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ada:secret@127.0.0.1:1/x", "cannot be used: connection failed"),
        ("nonsense", "is no address of a database"),
        ("mysql://x", "mysql is not supported"),
        ("sqlite:////proc/nope/x.db", "cannot be used"),
    ],
)
@pytest.mark.parametrize("command", [["serve"], ["migrate"], ["replay", "r1"]])
def test_a_database_that_cannot_be_used_is_a_sentence(url, said, command):
    environment = {**os.environ, "RELUMINE_DATABASE_URL": url}
    done = subprocess.run([*COMMAND, *command], env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    if command == ["replay", "r1"] and url.startswith("postgresql"):
        said = "out of reach"  # it only reads
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    environment = {**os.environ, "RELUMINE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
    subprocess.run([*COMMAND, "migrate"], env=environment, check=True, timeout=DEADLINE_S)
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    done = subprocess.run([*COMMAND, "serve"], env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, "is not of this version" in done.stderr) == (2, True)
