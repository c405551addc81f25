"""The file of a SQLite database: private, and missed as soon as it is not at its path."""

from __future__ import annotations

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from relumine_server.app import create_app
from relumine_server.db.database import Database
from relumine_server.errors import FileInUseError
from relumine_server.maintenance.backup import backup
from relumine_server.settings import Settings
from tests.helpers.live_server import caller
from tests.server.db.conftest import body

SUFFIXES = ("", "-wal", "-shm", ".lock")


def delete(file):
    file.unlink()


def move(file):
    file.rename(file.with_suffix(".moved"))


def replace_by_another(file):
    other = file.with_suffix(".other")
    other.write_bytes(file.read_bytes())
    other.rename(file)


def move_folder(file):
    file.parent.rename(file.parent.with_name("moved"))


def delete_log(file):
    Path(f"{file}-wal").unlink()


@pytest.mark.parametrize("change", [delete, move, replace_by_another, move_folder, delete_log])
def test_without_its_file_no_upload_is_acknowledged_and_the_server_is_not_ready(app_on_file, file, change):
    call = caller(app_on_file)
    assert call("POST", "/v1/uploads", json=body(1)).status_code == 202
    change(file)
    with structlog.testing.capture_logs() as logs:
        for seq in range(2, 6):
            answer = call("POST", "/v1/uploads", json=body(seq))
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
            assert "moved" in answer.json()["detail"]
    assert call("GET", "/readyz").status_code == 503
    assert [log["event"] for log in logs].count("the database file is no longer at its path") == 1
    if change is not replace_by_another and change is not delete_log:
        assert not file.exists()  # no empty file is made in its place


def test_writes_go_on_when_the_file_is_back(app_on_file, file):
    call = caller(app_on_file)
    assert call("POST", "/v1/uploads", json=body(1)).status_code == 202
    away = file.with_suffix(".away")
    file.rename(away)
    assert call("POST", "/v1/uploads", json=body(2)).status_code == 503
    away.rename(file)
    with structlog.testing.capture_logs() as logs:
        assert call("POST", "/v1/uploads", json=body(2)).status_code == 202
    assert call("GET", "/readyz").status_code == 200
    assert "the database file is at its path again" in [log["event"] for log in logs]
    assert call("GET", "/v1/runs/r1").json()["last_step"] == 2


@pytest.fixture
def no_umask():
    previous = os.umask(0)
    yield
    os.umask(previous)


def mode(path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_every_file_of_a_database_is_private_whatever_the_umask(tmp_path, no_umask):
    file = tmp_path / "new folder" / "x.db"
    app = create_app(Settings(database_url=f"sqlite:///{file}"))
    assert caller(app)("POST", "/v1/uploads", json=body(1)).status_code == 202
    assert {suffix: mode(f"{file}{suffix}") for suffix in SUFFIXES} == dict.fromkeys(SUFFIXES, 0o600)
    assert mode(file.parent) == 0o700
    backup(f"sqlite:///{file}", tmp_path / "copy.db")
    assert mode(tmp_path / "copy.db") == 0o600
    app.state.services.database.close()


def test_files_that_others_could_read_are_withdrawn_from_them_and_logged(file):
    lock = Path(f"{file}.lock")
    lock.touch()
    for path in (file, lock):
        path.chmod(0o644)
    with structlog.testing.capture_logs() as logs:
        Database.open(f"sqlite:///{file}").close()
    assert (mode(file), mode(lock)) == (0o600, 0o600)
    event = "other users could read a file of the database; their permission was removed"
    assert sorted(log["file"] for log in logs if log["event"] == event) == sorted([str(file), str(lock)])


def test_a_database_whose_lock_belongs_to_another_user_is_refused_with_a_sentence_that_says_so(file, monkeypatch):
    lock = file.with_name(f"{file.name}.lock")
    lock.touch()
    opens = os.open
    monkeypatch.setattr(os, "geteuid", lambda: lock.stat().st_uid + 1)

    def deny(path, *arguments, **options):
        if Path(path) == lock:
            raise PermissionError(13, "Permission denied", str(path))
        return opens(path, *arguments, **options)

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(OSError, match=r"\.lock belongs to user \w+: only a server of that user can use the database"):
        Database.open(f"sqlite:///{file}")


def test_a_lock_that_another_user_holds_is_named_with_that_user(file, monkeypatch):
    with closing(Database.open(f"sqlite:///{file}")):
        monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
        with pytest.raises(FileInUseError, match=r"by another process .* lock is held by user \w+, who owns x"):
            Database.open(f"sqlite:///{file}")
