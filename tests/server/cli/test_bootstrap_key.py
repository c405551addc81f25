"""The bootstrap key: a server that is asked to creates the first key itself and prints it once."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.helpers import databases
from tests.helpers.command_line import run_command
from tests.helpers.server_process import ServerProcess

KEY = re.compile(r"rlm_admin_[0-9A-Za-z]{36}")


def status(server, key=None):
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.get(f"{server.url}/v1/keys", headers=headers).status_code


def printed_keys(server):
    """Keys on standard output."""
    return KEY.findall(server.stdout)


def logged_keys(server):
    """Keys in the log."""
    return KEY.findall(server.stderr)


@pytest.fixture
def start(tmp_path):
    """Start a server that may create the first key."""
    started = []

    def start_one(database_url, *options, **settings):
        settings = {"RELUMINE_BOOTSTRAP_KEY": "true", "RELUMINE_LOG_FORMAT": "json", **settings}
        started.append(ServerProcess(database_url, tmp_path / f"server{len(started)}", *options, **settings))
        return started[-1]

    yield start_one
    for server in started:
        server.kill()


def test_the_first_start_prints_an_admin_key_and_the_second_prints_none(start, database_url):
    first = start(database_url, "--host", "0.0.0.0").wait_until_ready()  # noqa: S104 - with a key it is allowed
    (key,) = printed_keys(first)
    assert logged_keys(first) == []  # logs are shipped elsewhere, the key must not be
    assert (status(first, key), status(first)) == (200, 401)
    first.terminate()
    second = start(database_url).wait_until_ready()
    assert (printed_keys(second), logged_keys(second)) == ([], [])
    assert (status(second, key), status(second)) == (200, 401)


def test_after_a_key_was_created_by_hand_no_other_is_created(start, database_url):
    arguments = ["keys", "create", "--scope", "admin", "--days", "1", "--database-url", database_url]
    key = run_command(arguments).stdout.strip()
    server = start(database_url).wait_until_ready()
    assert printed_keys(server) == []
    assert status(server, key) == 200


def test_without_the_setting_or_without_authentication_no_key_is_created(start, database_url):
    for settings in ({"RELUMINE_BOOTSTRAP_KEY": "false"}, {"RELUMINE_INSECURE_NO_AUTH": "true"}):
        server = start(database_url, **settings).wait_until_ready()
        assert (printed_keys(server), status(server)) == ([], 200)
        server.terminate()


def test_servers_that_start_at_once_on_an_empty_postgres_print_one_key(start, postgres):
    empty = databases.create_postgres_database(postgres)
    url = empty.render_as_string(hide_password=False)
    servers = [start(url, "--workers", workers) for workers in ("2", "1", "1")]
    for server in servers:
        server.wait_until_ready()
    (key,) = [key for server in servers for key in printed_keys(server)]
    assert [status(server, key) for server in servers] == [200] * 3
    assert [status(server) for server in servers] == [401] * 3
    for server in servers:
        server.terminate()
    databases.drop_postgres_database(postgres, empty.database)
