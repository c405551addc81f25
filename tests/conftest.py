"""Databases of both kinds, and how tests are spread over the workers of pytest-xdist.

Each worker has one Postgres server, one database of each kind that is opened once and emptied before each test, and
copies of a migrated database for the tests that start servers of their own.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import socketserver
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
import structlog

from relumine_server.db.database import Database
from tests.helpers import citus_cluster, databases, quick_apps, shared_tls

# No test asserts a time: machines are shared. `make test` draws the same examples each time, so that it fails only
# for a change; `make chaos` draws others, and more of them.
hypothesis.settings.register_profile("same_examples", deadline=None, derandomize=True)
hypothesis.settings.register_profile("other_examples", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("same_examples")

# Without the settings of the command, structlog prints every traceback with the variables of all frames, which takes
# seconds. This is the renderer that ``reset_defaults`` brings back, too.
structlog.get_config()["processors"][-1].exception_formatter = structlog.dev.plain_traceback

# A client that a test cuts off is expected, and Python 3.11 sometimes crashes while it formats a traceback beside
# running threads.
socketserver.BaseServer.handle_error = lambda *_arguments: None

KINDS = ("sqlite", "postgresql")
WORKERS_OF_A_SERVER = ("relumine-dispatcher", "relumine-maintenance", "relumine-evaluator")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that share a fixture of their module or package in one worker, so that the fixture is set up once."""
    for item in items:
        group = _shared_fixture_owner(item)
        if group is not None and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Print how a worker died: pytest-xdist only says that it did, and the run ends with it."""
    if error is None:
        return
    memory = Path("/proc/meminfo")
    available = [line for line in memory.read_text().splitlines() if "MemAvailable" in line] if memory.exists() else []
    stacks = _stacks_file(node.workerinput).read_text()
    status = node.gateway._io.popen.wait(timeout=60)  # negative: the number of a signal; -9 may be for want of memory
    print(f"\n{node.gateway.id} died with status {status}", *available, f"\n{stacks}", flush=True)  # noqa: T201 - for the log of CI


def _stacks_file(worker: dict[str, Any]) -> Path:
    """The file in which a worker of pytest-xdist writes the stacks of its threads when it crashes."""
    return Path(tempfile.gettempdir(), f"relumine-tests-{worker['testrunuid']}-{worker['workerid']}.txt")


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Let torch draw the same in each test: one small net in two hundred has a unit that is dead from the start."""
    torch = sys.modules.get("torch")
    if torch is not None:
        # Its own ``manual_seed`` formats a traceback for each accelerator that is not there, and Python 3.11 sometimes
        # crashes while it formats one beside running threads.
        torch.manual_seed = torch.default_generator.manual_seed
        torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _stacks_of_a_crash(request) -> Iterator[None]:
    """Keep the stacks of a crash for the log of CI: what pytest itself writes of a worker's crash is lost."""
    worker = getattr(request.config, "workerinput", None)
    if worker is None:
        yield
        return
    with _stacks_file(worker).open("w") as file:
        faulthandler.enable(file)
        yield
        faulthandler.disable()
    _stacks_file(worker).unlink()


def _shared_fixture_owner(item: pytest.Item) -> str | None:
    """The package or module whose fixture a test shares with others; None if it shares none."""
    module = item.nodeid.split("::")[0]
    owner = None
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        for definition in definitions:
            if definition.scope == "package":
                return definition.baseid
            if definition.scope == "module":
                owner = module
    return owner


@pytest.fixture(scope="session", autouse=True)
def _quick_apps() -> None:
    quick_apps.install()
    shared_tls.install()


@pytest.fixture(scope="session", autouse=True)
def _ended_servers() -> Iterator[None]:
    """Fail where a test left a server of this process running: it would print and draw numbers beside later tests."""
    yield
    for thread in threading.enumerate():
        if thread.name in WORKERS_OF_A_SERVER:
            thread.join(60)  # a stopped worker ends with its round
            assert not thread.is_alive(), f"{thread.name} still runs after the last test"


@pytest.fixture(scope="session")
def more_examples() -> int:
    """How many times the usual number of examples the model tests play: RELUMINE_MORE_EXAMPLES=10 takes minutes."""
    return int(os.environ.get("RELUMINE_MORE_EXAMPLES", "1"))


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder of this worker, in memory where there is room."""
    folder = databases.scratch_folder("relumine-tests-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.URL]:
    """The Postgres server of this worker: the address of its maintenance database."""
    if citus_cluster.HOSTS:
        yield citus_cluster.HOSTS[0]
        return
    with databases.postgres_server() as address:
        yield address


@pytest.fixture(scope="session")
def sqlite_template(scratch) -> Path:
    """A migrated SQLite file without rows."""
    file = scratch / "template.db"
    databases.migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres) -> sa.URL:
    """A migrated Postgres database without rows."""
    if citus_cluster.HOSTS:
        template = citus_cluster.create_database(postgres, "template0")
    else:
        template = databases.create_postgres_database(postgres)
    databases.migrate(template.render_as_string(hide_password=False))
    if citus_cluster.HOSTS:
        citus_cluster.form_cluster(template.database)
    return template


@pytest.fixture(scope="session")
def shared_sqlite(sqlite_template, scratch) -> Iterator[Database]:
    """The SQLite database of this worker, open."""
    shared = Database.open(_copy_sqlite(sqlite_template, scratch))
    quick_apps.skip_migration(shared.writing_engine)
    yield shared
    shared.close()


@pytest.fixture(scope="session")
def shared_postgresql(postgres, postgres_template) -> Iterator[Database]:
    """The Postgres database of this worker, open."""
    url = _copy_postgres(postgres, postgres_template)
    shared = Database.open(url.render_as_string(hide_password=False))
    quick_apps.skip_migration(shared.writing_engine)
    yield shared
    shared.close()
    _drop_postgres(postgres, url)


@pytest.fixture(params=KINDS)
def database(request) -> Database:
    """An open, empty database, once of each kind: every promise holds on both. Tests must not close it."""
    shared = request.getfixturevalue(f"shared_{request.param}")
    databases.empty(shared)
    return shared


@pytest.fixture
def new_database(request, tmp_path) -> Iterator[Callable[[str], str]]:
    """A function that creates a migrated database of a kind, "sqlite" or "postgresql", and returns its address."""
    copies: list[tuple[sa.URL, sa.URL]] = []

    def copy(kind: str) -> str:
        if kind == "sqlite":
            return _copy_sqlite(request.getfixturevalue("sqlite_template"), tmp_path)
        server = request.getfixturevalue("postgres")
        url = _copy_postgres(server, request.getfixturevalue("postgres_template"))
        copies.append((server, url))
        return url.render_as_string(hide_password=False)

    yield copy
    for server, url in copies:
        _drop_postgres(server, url)


@pytest.fixture(params=KINDS)
def database_url(request, new_database) -> str:
    """The address of a migrated database of the test's own, once of each kind."""
    return new_database(request.param)


def _copy_sqlite(template: Path, folder: Path) -> str:
    file = databases.new_sqlite_path(folder)
    shutil.copy(template, file)
    return f"sqlite:///{file}"


def _copy_postgres(server: sa.URL, template: sa.URL) -> sa.URL:
    create = citus_cluster.create_database if citus_cluster.HOSTS else databases.create_postgres_database
    return create(server, template.database)


def _drop_postgres(server: sa.URL, url: sa.URL) -> None:
    if citus_cluster.HOSTS:  # each database keeps a daemon on every host
        citus_cluster.drop(url.database)
    else:
        databases.drop_postgres_database(server, url.database)
