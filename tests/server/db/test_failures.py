"""A database that is full, read-only, gone or busy: clear refusals, reads continue, nothing needs a restart."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import httpx
import psycopg.errors
import pytest
import sqlalchemy as sa

from relumine_server.app import create_app
from relumine_server.db import tables
from relumine_server.db.dialect import MAX_WAITING
from relumine_server.db.errors import problem_of
from relumine_server.errors import NotReady, StorageFull, StorageUnavailable
from relumine_server.settings import Settings
from tests.helpers.live_server import THREAD, caller, listening

UNITS = 200
# Waits until they are gone: the pool would find a connection alive that is about to end.
TERMINATE_OTHERS = """SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
 WHERE pid <> pg_backend_pid() AND datname = current_database()"""


def body(run: str, seq: int, steps: int = 10):
    first = seq * steps
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 8, "active": [step % 8] * UNITS}
        for step in range(first, first + steps)
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    return {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}


@pytest.fixture
def app(new_database):
    app = create_app(Settings(database_url=new_database("sqlite")))
    yield app
    app.state.services.database.close()


def pragma(app, setting: str) -> None:
    """Set a pragma of the one connection that writes."""
    connection = app.state.services.database.writing_engine.raw_connection()
    connection.cursor().execute(f"PRAGMA {setting}")
    connection.close()


def limit_pages(app, pages: int) -> None:
    pragma(app, f"max_page_count = {pages}")


def stored_uploads(app) -> set[tuple[str, int]]:
    with app.state.services.database.read() as connection:
        return {tuple(row) for row in connection.execute(sa.select(tables.uploads.c.run_id, tables.uploads.c.seq))}


def test_on_a_full_disk_uploads_are_refused_reads_continue_and_nothing_needs_a_restart(app):
    call = caller(app)
    limit_pages(app, 200)
    answers = {}
    refused = []
    for seq in range(1, 200):
        answer = answers["r1", seq] = call("POST", "/v1/uploads", json=body("r1", seq))
        refused += [answer] if answer.status_code != 202 else []
        if len(refused) == 10:
            break
    codes = {answer.status_code for answer in answers.values()}
    assert codes == {202, 507}
    assert all(answer.json()["code"] == "storage_full" for answer in refused)
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert stored_uploads(app) == {key for key, answer in answers.items() if answer.status_code == 202}
    assert call("GET", "/v1/runs/r1/overview").status_code == 200
    assert call("GET", "/readyz").status_code == 200
    limit_pages(app, 1_000_000)
    for (run, seq), answer in answers.items():
        if answer.status_code == 507:
            assert call("POST", "/v1/uploads", json=body(run, seq)).json()["accepted"] == 10
    assert stored_uploads(app) == set(answers)


def test_writes_of_a_group_fail_one_by_one_on_a_full_disk(app):
    """SQLite rolls the whole transaction back when it is full: what still fits must be stored all the same."""
    database = app.state.services.database
    limit_pages(app, 120)
    started = threading.Event()
    release = threading.Event()

    def block(_connection):
        started.set()
        release.wait(60)

    def write(connection, size):
        connection.execute(
            sa.text("INSERT INTO projects (project, created_at) VALUES (:p, '2026-01-01')"), {"p": "x" * size}
        )

    with ThreadPoolExecutor(9) as pool:
        blocked = pool.submit(database.write, block)
        started.wait(60)
        sizes = [10, 2_000_000, 20, 3_000_000, 30]
        futures = {size: pool.submit(database.write, lambda c, size=size: write(c, size)) for size in sizes}
        while database.waiting < len(sizes):
            pass
        release.set()
        blocked.result(60)
        failed = {size for size, future in futures.items() if isinstance(future.exception(60), StorageFull)}
        stored = {size for size, future in futures.items() if future.exception(60) is None}
    assert failed == {2_000_000, 3_000_000}
    assert stored == {10, 20, 30}
    with database.read() as connection:
        assert set(connection.scalars(sa.text("SELECT length(project) FROM projects"))) == {10, 20, 30}


def test_a_read_only_database_refuses_and_recovers(app):
    call = caller(app)
    assert call("POST", "/v1/uploads", json=body("r1", 1)).status_code == 202
    pragma(app, "query_only = ON")
    answer = call("POST", "/v1/uploads", json=body("r1", 2))
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert answer.headers["retry-after"]
    assert call("GET", "/v1/runs/r1").status_code == 200
    pragma(app, "query_only = OFF")
    assert call("POST", "/v1/uploads", json=body("r1", 2)).status_code == 202


def test_a_read_only_postgres_refuses_and_recovers(new_database):
    url = sa.make_url(new_database("postgresql"))
    app = create_app(Settings(database_url=url.render_as_string(hide_password=False)))
    call = caller(app)
    engine = app.state.services.database.writing_engine
    assert call("POST", "/v1/uploads", json=body("r1", 1)).status_code == 202
    for mode, status in (("on", 503), ("off", 202)):
        with engine.begin() as connection:
            connection.exec_driver_sql("SET TRANSACTION READ WRITE")
            connection.exec_driver_sql(f"ALTER DATABASE {url.database} SET default_transaction_read_only = {mode}")
        engine.dispose()
        assert call("POST", "/v1/uploads", json=body("r1", 2)).status_code == status
        assert call("GET", "/v1/runs/r1").status_code == 200
    app.state.services.database.close()


def test_a_terminated_connection_is_replaced_and_the_upload_stored(new_database):
    app = create_app(Settings(database_url=new_database("postgresql")))
    call = caller(app)
    for seq in (1, 2, 3):
        with app.state.services.database.read() as connection:
            connection.execute(sa.text("SELECT 1"))
        with sa.create_engine(app.state.services.database.engine.url, poolclass=sa.NullPool).connect() as other:
            other.execute(sa.text(TERMINATE_OTHERS))
        assert call("POST", "/v1/uploads", json=body("r1", seq)).status_code == 202
    assert stored_uploads(app) == {("r1", 1), ("r1", 2), ("r1", 3)}
    app.state.services.database.close()


def test_a_connection_that_is_lost_at_the_end_of_a_read_is_an_outage_and_no_defect(new_database):
    app = create_app(Settings(database_url=new_database("postgresql")))
    call = caller(app)
    assert call("POST", "/v1/uploads", json=body("r1", 1)).status_code == 202
    engine = app.state.services.database.engine

    def terminate(_connection):
        with sa.create_engine(engine.url, poolclass=sa.NullPool).connect() as other:
            other.execute(sa.text(TERMINATE_OTHERS))

    sa.event.listen(engine, "rollback", terminate)  # a read ends with it
    answer = call("GET", "/v1/runs/r1")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    sa.event.remove(engine, "rollback", terminate)
    assert call("GET", "/v1/runs/r1").status_code == 200
    app.state.services.database.close()


def test_when_all_connections_are_in_use_the_next_upload_is_refused(new_database):
    url = new_database("postgresql")
    with listening(url) as address, httpx.Client(base_url=address, timeout=60) as client:
        for number in range(6):  # at most two uploads of one run hold a connection
            assert client.post("/v1/uploads", json=body(f"r{number}", 1)).status_code == 202
        holder = sa.create_engine(url, poolclass=sa.NullPool).connect()
        holder.execute(sa.text("SELECT * FROM runs FOR UPDATE"))
        with ThreadPoolExecutor(20) as pool:
            futures = [pool.submit(client.post, "/v1/uploads", json=body(f"r{n % 6}", 2 + n)) for n in range(12)]
            refused = [future.result().status_code for future in islice(as_completed(futures), 4)]
            holder.rollback()
            holder.close()
            codes = [future.result().status_code for future in futures]
        assert refused == [503] * 4
        assert sorted(codes) == [202] * 8 + [503] * 4
        assert client.get("/v1/runs/r1").status_code == 200


def test_too_many_inflight_bytes_are_refused_and_released(new_database):
    limits = {"max_inflight_upload_bytes": 2**20, "max_values_per_upload": 10**6}
    app = create_app(Settings(database_url=new_database("sqlite"), **limits))
    call = caller(app)
    large = body("r1", 1, steps=2000)
    answer = call("POST", "/v1/uploads", json=large)
    assert (answer.status_code, answer.json()["code"]) == (429, "busy")
    for seq in range(1, 30):
        assert call("POST", "/v1/uploads", json=body("r1", seq)).status_code == 202
    assert app.state.services.inflight.held == 0
    app.state.services.database.close()


@pytest.mark.parametrize(
    ("original", "kind"),
    [
        (psycopg.errors.DiskFull(), StorageFull),
        (psycopg.errors.AdminShutdown(), StorageUnavailable),
        (psycopg.errors.LockNotAvailable(), StorageUnavailable),
        (psycopg.errors.ReadOnlySqlTransaction(), StorageUnavailable),
        (psycopg.errors.TooManyConnections(), StorageUnavailable),
        (psycopg.errors.UndefinedTable(), NotReady),
    ],
)
def test_an_error_of_a_database_becomes_a_problem(original, kind):
    error = sa.exc.DBAPIError.instance("SELECT 1", {}, original, psycopg.Error)
    assert isinstance(problem_of(error), kind)


def test_a_defect_of_the_server_is_raised_as_it_is(app):
    with pytest.raises(sa.exc.OperationalError), app.state.services.database.read() as connection:
        connection.execute(sa.text("SELEKT"))
    with pytest.raises(sa.exc.IntegrityError):
        app.state.services.database.write(lambda c: c.execute(sa.text("INSERT INTO projects (project) VALUES (NULL)")))


def test_the_queue_of_the_writer_is_bounded(app):
    database = app.state.services.database
    started = threading.Event()
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(database.write, lambda _c: (started.set(), release.wait(60)))
        started.wait(60)
        futures = [database._writer.submit(lambda _c: None) for _ in range(MAX_WAITING)]
        answer = caller(app)("POST", "/v1/uploads", json=body("r1", 1))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        release.set()
        blocked.result(60)
        assert all(future.result(60) is None for future in futures)


def test_a_server_under_test_ends_though_the_test_fails(new_database):
    """``listening`` itself: a server that keeps running would hold its file and keep the interpreter from ending."""
    with pytest.raises(AssertionError), listening(new_database("sqlite")) as address:
        raise AssertionError
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/livez")
    assert THREAD not in {thread.name for thread in threading.enumerate()}
