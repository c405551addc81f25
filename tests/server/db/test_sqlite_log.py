"""A write-ahead log that is cut under a running server: what was acknowledged afterwards is there after a restart."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from relumine_server.db import sqlite_writer
from relumine_server.db.database import Database
from relumine_server.db.sqlite_log import WriteAheadLog
from tests.helpers.live_server import caller
from tests.server.db.conftest import body


def log_of(file):
    return Path(f"{file}-wal")


def cut_to_nothing(log):
    os.truncate(log, 0)


def cut_in_half(log):
    os.truncate(log, log.stat().st_size // 2)


def overwrite_with_zeros(log):
    log.write_bytes(bytes(log.stat().st_size))


def stored_uploads(file, folder):
    """Return the uploads that a server would find that starts on these files, which must be intact."""
    folder.mkdir()
    copy = folder / "copy.db"
    shutil.copy(file, copy)
    if log_of(file).exists():
        shutil.copy(log_of(file), log_of(copy))
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {seq for (seq,) in connection.execute("SELECT seq FROM uploads")}


def checkpoint(file):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


@pytest.mark.parametrize("cut", [cut_to_nothing, cut_in_half, overwrite_with_zeros])
def test_after_a_cut_no_upload_is_acknowledged_that_a_restart_would_lose(app_on_file, file, tmp_path, cut):
    call = caller(app_on_file)
    for seq in range(1, 6):
        assert call("POST", "/v1/uploads", json=body(seq)).status_code == 202
    cut(log_of(file))
    acknowledged = set()
    with structlog.testing.capture_logs() as logs:
        for seq in range(6, 14):
            answer = call("POST", "/v1/uploads", json=body(seq))
            if answer.status_code == 202:
                acknowledged.add(seq)
            else:
                assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
                assert "-wal file) was cut" in answer.json()["detail"]
    assert call("GET", "/readyz").status_code == 503
    assert [log["event"] for log in logs].count("the write-ahead log of the database was cut") == 1
    assert acknowledged <= stored_uploads(file, tmp_path / "killed")
    app_on_file.state.services.database.close()
    assert acknowledged <= stored_uploads(file, tmp_path / "ended")


def test_a_cut_log_that_was_copied_into_the_database_is_begun_anew_and_nothing_is_lost(app_on_file, file, tmp_path):
    call = caller(app_on_file)
    assert call("POST", "/v1/uploads", json=body(1)).status_code == 202
    checkpoint(file)
    cut_to_nothing(log_of(file))
    for seq in range(2, 6):
        assert call("POST", "/v1/uploads", json=body(seq)).status_code == 202
    assert stored_uploads(file, tmp_path / "killed") == {1, 2, 3, 4, 5}


def test_an_emptied_log_of_a_regular_checkpoint_is_no_cut(app_on_file, file, tmp_path):
    call = caller(app_on_file)
    assert call("POST", "/v1/uploads", json=body(1)).status_code == 202
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert log_of(file).stat().st_size == 0
    for seq in range(2, 6):
        assert call("POST", "/v1/uploads", json=body(seq)).status_code == 202
    assert stored_uploads(file, tmp_path / "killed") == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("cut", [cut_to_nothing, cut_in_half, overwrite_with_zeros])
def test_a_server_that_ends_with_a_cut_log_leaves_the_database_intact(app_on_file, file, tmp_path, cut):
    for seq in range(1, 6):
        assert caller(app_on_file)("POST", "/v1/uploads", json=body(seq)).status_code == 202
    cut(log_of(file))
    app_on_file.state.services.database.close()
    stored_uploads(file, tmp_path / "ended")


@pytest.mark.parametrize("cut", [cut_to_nothing, cut_in_half])
def test_a_commit_behind_a_hole_is_refused_and_the_hole_never_reaches_the_database(file, tmp_path, cut):
    with closing(Database.open(f"sqlite:///{file}")) as database:

        def insert(connection, name):
            connection.execute(sa.text("INSERT INTO projects VALUES (:name, '2026-01-01', NULL, NULL)"), {"name": name})

        for name in "abcdef":
            database.write(lambda connection, name=name: insert(connection, name))

        def insert_while_cut(connection):
            insert(connection, "behind")
            cut(log_of(file))

        with pytest.raises(Exception, match="was cut by another process"):
            database.write(insert_while_cut)
        with pytest.raises(Exception, match="was cut by another process"):
            database.write(lambda connection: insert(connection, "later"))
    stored_uploads(file, tmp_path / "ended")  # intact


def test_the_log_is_copied_into_the_database_before_it_grows_large(app_on_file, file):
    call = caller(app_on_file)
    database = app_on_file.state.services.database

    def fill(connection):
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS filler (data BLOB)"))
        connection.execute(sa.text("INSERT INTO filler VALUES (zeroblob(8000000))"))

    for _ in range(4):
        database.write(fill)
    assert call("POST", "/v1/uploads", json=body(1)).status_code == 202
    assert log_of(file).stat().st_size < 16_000_000
    assert file.stat().st_size > 24_000_000


def refuse_checkpoints(action, first, *_):
    is_checkpoint = action == sqlite3.SQLITE_PRAGMA and first == "wal_checkpoint"
    return sqlite3.SQLITE_DENY if is_checkpoint else sqlite3.SQLITE_OK


def test_writes_go_on_where_the_log_cannot_be_copied_into_the_database(app_on_file, monkeypatch):
    """As on a full disk, which tests/chaos/disk_full.py has: SQLite's own error comes out of the driver."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_FRAMES", 0)
    database = app_on_file.state.services.database
    database.write(lambda connection: connection.connection.driver_connection.set_authorizer(refuse_checkpoints))
    call = caller(app_on_file)
    for seq in range(1, 4):
        assert call("POST", "/v1/uploads", json=body(seq)).status_code == 202


def test_the_writer_goes_on_after_an_error_of_its_own(app_on_file, monkeypatch):
    failures = [RuntimeError("of the writer")]

    def fail_once(_log):
        if failures:
            raise failures.pop()
        return 0

    monkeypatch.setattr(WriteAheadLog, "frames", property(fail_once))
    call = caller(app_on_file)
    with structlog.testing.capture_logs() as logs:
        for seq in range(1, 3):
            assert call("POST", "/v1/uploads", json=body(seq)).status_code == 202
    assert [log["event"] for log in logs if log["log_level"] == "error"] == [
        "the writer of the database failed; it goes on"
    ]
