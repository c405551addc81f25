"""A server that was told to makes the first key itself, and prints it once: real processes, on both databases."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time

import httpx
import pytest
import sqlalchemy as sa

COMMAND = [sys.executable, "-m", "relumine_server"]
DEADLINE_S = 60
KEY = re.compile(r"rlm_admin_[0-9A-Za-z]{36}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Started:
    """A server process, with what it printed in files."""

    def __init__(self, database_url, folder, *options, **settings):
        self.url, self._out, self._err = f"http://127.0.0.1:{free_port()}", folder / "out", folder / "err"
        given = {"RELUMINE_DATABASE_URL": database_url, "RELUMINE_LOG_FORMAT": "json", **settings}
        port = self.url.rsplit(":", 1)[1]
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", port, *options], env={**os.environ, **given}, stdout=out, stderr=err
            )

    def wait(self):
        """Until it is ready."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self._err.read_text()
            try:
                if httpx.get(f"{self.url}/readyz").is_success:
                    return self
            except httpx.HTTPError:
                time.sleep(0.05)  # a real process is waited for
        raise AssertionError("not ready")

    @property
    def printed(self):
        """Keys on standard output."""
        return KEY.findall(self._out.read_text())

    @property
    def logged(self):
        """Keys in the log."""
        return KEY.findall(self._err.read_text())

    def end(self):
        self.process.terminate()
        self.process.wait(DEADLINE_S)

    def status(self, key=None):
        return httpx.get(f"{self.url}/v1/keys", headers={"authorization": f"Bearer {key}"} if key else {}).status_code


@pytest.fixture
def start(tmp_path):
    """Start a server that may make the first key."""
    started = []

    def go(database_url, *options, **settings):
        folder = tmp_path / f"server{len(started)}"
        folder.mkdir()
        started.append(Started(database_url, folder, *options, **{"RELUMINE_FIRST_KEY": "true", **settings}))
        return started[-1]

    yield go
    for server in started:
        server.process.kill()
        server.process.wait()


def test_the_first_start_prints_an_admin_key_and_the_second_none(start, database_url):
    first = start(database_url, "--host", "0.0.0.0").wait()  # noqa: S104 - with a key it may
    (key,) = first.printed
    assert first.logged == []  # the log may be shipped, the key must not be
    assert (first.status(key), first.status()) == (200, 401)
    first.end()
    second = start(database_url).wait()
    assert (second.printed, second.logged) == ([], [])
    assert (second.status(key), second.status()) == (200, 401)


def test_a_key_that_was_revoked_or_made_by_hand_is_not_followed_by_another(start, database_url):
    made = subprocess.run(
        [*COMMAND, "keys", "create", "--scope", "admin", "--days", "1", "--database-url", database_url],
        capture_output=True,
        text=True,
        check=True,
    )
    server = start(database_url).wait()
    assert server.printed == []
    assert server.status(made.stdout.strip()) == 200


def test_without_the_setting_or_where_nobody_is_asked_no_key_is_made(start, database_url):
    for settings in ({"RELUMINE_FIRST_KEY": "false"}, {"RELUMINE_INSECURE_NO_AUTH": "true"}):
        server = start(database_url, **settings).wait()
        assert (server.printed, server.status()) == ([], 200)
        server.end()


def test_servers_that_begin_at_once_on_an_empty_postgres_print_one_key(start, postgres):
    engine = sa.create_engine(postgres, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    name = f"empty_{os.getpid()}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    engine.dispose()
    url = postgres.set(database=name).render_as_string(hide_password=False)
    servers = [start(url, "--workers", workers) for workers in ("2", "1", "1")]
    (key,) = [key for server in servers for key in server.wait().printed]
    assert [server.status(key) for server in servers] == [200] * 3
    assert [server.status() for server in servers] == [401] * 3
