"""The commands of the server: those that serve as real processes, the others in process."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import httpx
import pytest

from relumine_server.db.database import Database
from tests.helpers.command_line import run_command
from tests.helpers.server_process import ServerProcess


@pytest.fixture
def url(tmp_path, monkeypatch):
    """The address of the test's own SQLite file, which does not exist yet; also in the environment."""
    address = f"sqlite:///{tmp_path / 'x.db'}"
    monkeypatch.setenv("RELUMINE_DATABASE_URL", address)
    return address


@pytest.fixture
def start(tmp_path, url):
    """Start a server on the test's own file."""
    started = []

    def start_one(*options):
        started.append(ServerProcess(url, tmp_path / f"server{len(started)}", *options))
        return started[-1].wait_until_ready()

    yield start_one
    for server in started:
        server.kill()


def run(*arguments):
    """Run a command in this process."""
    return run_command(arguments)


def upload(server, active=(0, 0, 0, 0)):
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 100, "active": active} for step in range(1, 6)
    ]
    body = {
        "run": {"id": "r1"},
        "session": "s1",
        "seq": 1,
        "layers": [{"layer_id": 1, "name": "act1", "units": 4}],
        "records": records,
    }
    return httpx.post(f"{server.url}/v1/uploads", json=body, timeout=60)


def kinds(alerts):
    return [alert["kind"] for alert in alerts]


def test_an_address_beyond_this_machine_is_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("serve", "--port", "0", "--host", "0.0.0.0")  # noqa: S104 - it must be refused
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "--insecure-no-auth" in result.stderr
    assert "`relumine-server keys create --scope admin`" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_suggested_command_creates_a_key_and_the_server_requires_it_then(start, url):
    result = run("keys", "create", "--scope", "ingest")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "must be an admin key" in result.stderr
    admin = run("keys", "create", "--scope", "admin", "--name", "me").stdout.strip()
    bound = run("keys", "create", "--scope", "read", "--project", "digits", "--days", "3").stdout.strip()
    on_call = run("keys", "create", "--scope", "write").stdout.strip()
    assert re.fullmatch(r"rlm_write_[0-9A-Za-z]{36}", on_call)
    listed = run("keys", "list").stdout
    assert [line.split()[1:4] for line in listed.splitlines()] == [
        ["SCOPE", "STATE", "PROJECT"],
        ["admin", "valid", "*"],
        ["read", "valid", "digits"],
        ["write", "valid", "*"],
    ]
    assert admin[10:18] in listed
    assert admin[18:] not in listed
    bound_id = "key_" + bound[9:17]
    assert run("keys", "revoke", bound_id).exit_code == 0
    assert run("keys", "revoke", bound_id).exit_code == 2
    assert "last admin key" in run("keys", "revoke", "key_" + admin[10:18]).stderr
    server = start("--host", "0.0.0.0")  # noqa: S104 - with a key it is allowed
    codes = [
        httpx.get(f"{server.url}/v1/runs", headers={"authorization": f"Bearer {key}"}).status_code
        for key in (admin, bound, on_call)
    ]
    assert (codes, httpx.get(f"{server.url}/v1/runs").status_code) == ([200, 401, 200], 401)


def test_with_insecure_no_auth_no_key_is_required_even_if_keys_exist(start):
    run("keys", "create", "--scope", "admin")
    server = start("--host", "0.0.0.0", "--insecure-no-auth")  # noqa: S104 - on purpose
    assert httpx.get(f"{server.url}/v1/runs").status_code == 200


def test_what_was_acknowledged_survives_kill_9_and_a_replay_agrees(start):
    server = start()
    answer = upload(server)
    assert answer.status_code == 202
    assert kinds(answer.json()["alerts"]) == ["born_dead"]
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server = start()
    assert upload(server).json()["duplicate"] is True
    assert kinds(httpx.get(f"{server.url}/v1/alerts").json()["items"]) == ["born_dead"]
    assert server.terminate() in (0, -signal.SIGTERM)
    result = run("replay", "r1")
    assert result.exit_code == 0, result.stderr
    assert "born_dead" in result.stdout
    assert "as stored" in result.stdout


def test_a_replay_uses_the_policy_of_the_project(start):
    server = start()
    assert kinds(upload(server, (30, 0, 0, 0)).json()["alerts"]) == ["born_dead"]
    quiet = {"thresholds": {"born_dead_layer": 1.0}}
    assert httpx.put(f"{server.url}/v1/projects/default/policy", json=quiet).status_code == 200
    server.terminate()
    result = run("replay", "r1")
    assert (result.exit_code, result.stdout) == (1, "5 records, 0 findings, NOT as stored\n")


def test_a_second_server_on_the_same_file_is_refused_by_name(start):
    start()
    result = run("serve", "--port", "0")
    assert result.exit_code == 2
    assert "already served by another process" in result.stderr


def test_a_port_that_is_in_use_is_refused_before_anything_is_created(start, tmp_path, monkeypatch):
    server = start()
    port = server.url.rsplit(":", 1)[1]
    monkeypatch.setenv("RELUMINE_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    result = run("serve", "--port", port)
    assert result.exit_code == 2
    assert f"port {port}" in result.stderr
    assert not (tmp_path / "other.db").exists()


def test_a_run_that_does_not_exist_cannot_be_replayed(url):
    run("migrate")
    result = run("replay", "none")
    assert (result.exit_code, result.stderr.strip()) == (
        2,
        f"relumine-server: there is no run none in {url}",
    )


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://ada:secret@127.0.0.1:1/x", "cannot be used: connection failed"),
        ("postgresql://127.0.0.1:1/x?user=ada&password=secret", "?password=masked&user=masked cannot be used"),
        ("postgres://127.0.0.1:1/x?PASSWORD=secret&sslpassword=secret&sslmode=prefer", "sslmode=prefer"),
        ("nonsense", "is not a database URL"),
        ("mysql://x", "mysql is not supported"),
        ("sqlite:////proc/nope/x.db", "/proc/nope/x.db"),
    ],
)
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["migrate"], ["replay", "r1"]])
def test_a_database_that_cannot_be_used_is_one_sentence(url, sentence, command, monkeypatch):
    monkeypatch.setenv("RELUMINE_DATABASE_URL", url)
    result = run(*command)
    if command == ["replay", "r1"] and url.startswith("postgresql"):
        sentence = "cannot be reached"  # it only reads
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr


def test_a_database_of_a_newer_version_stays_as_it_is(url, tmp_path):
    run("migrate")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    result = run("serve", "--port", "0")
    assert (result.exit_code, "is not of this version" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "command", [["serve", "--port", "0"], ["worker"], ["migrate"], ["replay", "r1"], ["keys", "list"]]
)
def test_a_command_that_fails_closes_the_database(command, url, tmp_path):
    run("migrate")
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    threads = set(threading.enumerate())
    assert run(*command).exit_code == 2
    assert set(threading.enumerate()) == threads  # the writer's thread ended
    Database.open(url).close()  # and the file is free


def test_the_command_runs_as_a_module_and_help_lists_every_command():
    result = subprocess.run(
        [sys.executable, "-m", "relumine_server", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("serve", "worker", "migrate", "keys", "replay", "doctor", "backup"):
        assert command in result.stdout
