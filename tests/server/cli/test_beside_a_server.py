"""Commands beside a server that runs on the same SQLite file, on an empty database, and in a wrong folder."""

from __future__ import annotations

import os
import re
import shlex
import sys

import httpx
import pytest

from relumine_server.db.database import Database
from relumine_server.db.sqlite_snapshot import snapshot
from tests.helpers.command_line import run_command
from tests.helpers.forked_python import TRAININGS
from tests.helpers.server_process import DEADLINE_S, ServerProcess


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server process on a SQLite file that the commands use as well."""
    monkeypatch.setenv("RELUMINE_DATABASE_URL", f"sqlite:///{tmp_path / 'x.db'}")
    process = ServerProcess(f"sqlite:///{tmp_path / 'x.db'}", tmp_path / "server")
    yield process.wait_until_ready()
    process.kill()


def upload(server, seq=1):
    layers = [{"layer_id": 1, "name": "act1", "units": 4}]
    records = [{"layer_id": 1, "first_step": seq, "step": seq, "n_examples": 100, "active": [9] * 4}]
    body = {"run": {"id": "r1"}, "session": "s", "seq": seq, "layers": layers, "records": records}
    return httpx.post(f"{server.url}/v1/uploads", json=body).status_code


def test_keys_are_listed_and_runs_replayed_beside_a_running_server(server):
    assert upload(server) == 202
    replayed = run_command(["replay", "r1"])
    assert (replayed.exit_code, "as stored" in replayed.stdout) == (0, True), replayed.output
    key = httpx.post(f"{server.url}/v1/keys", json={"scope": "admin", "name": "me"}).json()
    listed = run_command(["keys", "list"])
    assert listed.exit_code == 0
    heading, row = listed.stdout.splitlines()
    assert heading.split()[:2] == ["KEY", "SCOPE"]
    assert row.split()[:3] == [key["key_id"], "admin", "valid"]


def test_keys_create_and_revoke_say_what_to_send_to_the_running_server(server, monkeypatch):
    monkeypatch.setenv("RELUMINE_PORT", server.url.rpartition(":")[2])
    admin = sent(["keys", "create", "--scope", "admin", "--name", "it's me"], "")
    assert (admin["scope"], admin["name"]) == ("admin", "it's me")
    read = sent(["keys", "create", "--scope", "read"], admin["key"])
    sent(["keys", "revoke", read["key_id"]], admin["key"])
    keys = httpx.get(f"{server.url}/v1/keys", headers={"authorization": f"Bearer {admin['key']}"}).json()["items"]
    assert {key["key_id"]: key["revoked_at"] is not None for key in keys} == {
        admin["key_id"]: False,
        read["key_id"]: True,
    }


def sent(arguments, key):
    """The answer to the request that a command prints instead of doing its work, sent as printed."""
    result = run_command(arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.strip().splitlines()
    words = shlex.split(re.search(r"curl (.*)", line)[1])
    method, url = words[1], words[2]
    headers = dict(words[i + 1].replace("$RELUMINE_API_KEY", key).split(": ") for i, w in enumerate(words) if w == "-H")
    body = words[words.index("-d") + 1] if "-d" in words else None
    if not key:
        del headers["Authorization"]
    answer = httpx.request(method, url, headers=headers, content=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


@pytest.mark.parametrize(
    "command", [["keys", "list"], ["keys", "revoke", "key_x"], ["replay", "r1"], ["backup", "copy.db"], ["worker"]]
)
def test_a_command_in_a_wrong_folder_says_so_and_creates_nothing(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELUMINE_DATABASE_URL", raising=False)
    result = run_command(command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.strip() == (
        "relumine-server: there is no database relumine.db: run the command in the folder of the server, "
        "or name the database with --database-url or RELUMINE_DATABASE_URL"
    )
    assert not list(tmp_path.iterdir())


def test_an_empty_list_of_keys_says_so(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    run_command(["migrate", "--database-url", url])
    result = run_command(["keys", "list", "--database-url", url])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.strip() == "No API keys. `relumine-server keys create --scope admin` creates the first."


def test_an_unknown_run_or_key_is_named(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    run_command(["migrate", "--database-url", url])
    for command, words in (["replay", "nope"], "there is no run nope in"), (["keys", "revoke", "nope"], "no key nope"):
        result = run_command([*command, "--database-url", url])
        assert result.exit_code == 2
        assert words in result.stderr


def test_an_existing_backup_is_kept_and_named(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    run_command(["migrate", "--database-url", url])
    target = tmp_path / "copy.db"
    target.write_text("mine")
    result = run_command(["backup", str(target), "--database-url", url])
    assert (result.exit_code, target.read_text()) == (2, "mine")
    assert result.stderr.strip() == f"relumine-server: no backup was made: {target} exists already"


@pytest.mark.parametrize("folder", ["nosuchfolder", "file"])
def test_sync_of_a_wrong_folder_says_so(folder, tmp_path):
    (tmp_path / "file").touch()
    done = TRAININGS.run(["-m", "relumine", "sync", str(tmp_path / folder)])
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / folder) in done.stderr


def test_reading_beside_a_server_leaves_its_database_open_to_it_alone(server):
    assert run_command(["keys", "list"]).exit_code == 0
    assert upload(server) == 202
    with pytest.raises(Exception, match="already served"):
        Database.open(f"sqlite:///{server_file(server)}")


def server_file(server):
    return re.search(r"sqlite:///(\S+?)[,)]", server.stderr)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no locks on a part of a file that last")
def test_a_second_server_is_refused_although_the_lock_file_was_deleted(server, tmp_path):
    (tmp_path / "x.db.lock").unlink()
    second = ServerProcess(f"sqlite:///{tmp_path / 'x.db'}", tmp_path / "second")
    assert second.process.wait(DEADLINE_S) == 2
    assert "x.db is already served by another process (SQLite allows one, Postgres several)" in second.stderr
    assert upload(server) == 202
    server.kill()
    third = ServerProcess(f"sqlite:///{tmp_path / 'x.db'}", tmp_path / "third").wait_until_ready()
    assert upload(third, 2) == 202
    third.kill()


def test_what_a_killed_server_acknowledged_after_its_write_ahead_log_was_cut_is_there_again(server, tmp_path):
    assert [upload(server, seq) for seq in range(1, 6)] == [202] * 5
    os.truncate(tmp_path / "x.db-wal", 0)
    answers = {seq: upload(server, seq) for seq in range(6, 16)}
    assert set(answers.values()) <= {202, 503}
    server.kill()
    again = ServerProcess(f"sqlite:///{tmp_path / 'x.db'}", tmp_path / "again").wait_until_ready()
    with snapshot(tmp_path / "x.db") as connection:
        stored = {seq for (seq,) in connection.execute("SELECT seq FROM uploads")}
    assert {seq for seq, answer in answers.items() if answer == 202} <= stored
    assert upload(again, 16) == 202
    again.kill()
