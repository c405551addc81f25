"""A database that is full, read-only, gone or too busy: clear refusals, reading goes on, nothing needs a restart."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import httpx
import psycopg.errors
import pytest
import sqlalchemy as sa
from live_server import THREAD, caller, listening

from relumine_server.app import create_app
from relumine_server.errors import NotReady, StorageFull, StorageUnavailable
from relumine_server.settings import Settings
from relumine_server.storage import tables as t
from relumine_server.storage.troubles import problem_of
from relumine_server.storage.writer import WAITING

UNITS = 200
CUT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
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
    made = create_app(Settings(database_url=new_database("sqlite")))
    yield made
    made.state.store.close()


def pragma(app, setting: str) -> None:
    """Of the one connection that writes."""
    connection = app.state.store.writing_engine.raw_connection()
    connection.cursor().execute(f"PRAGMA {setting}")
    connection.close()


def limit_pages(app, pages: int) -> None:
    pragma(app, f"max_page_count = {pages}")


def held(app) -> set[tuple[str, int]]:
    with app.state.store.read() as connection:
        return {tuple(row) for row in connection.execute(sa.select(t.uploads.c.run_id, t.uploads.c.seq))}


def test_a_full_disk_refuses_reads_on_and_takes_everything_when_there_is_space(app):
    call = caller(app)
    limit_pages(app, 200)
    answers = {}
    for seq in range(1, 200):
        answers["r1", seq] = call("POST", "/v1/uploads", json=body("r1", seq))
    codes = {answer.status_code for answer in answers.values()}
    assert codes == {202, 507}
    refused = [answer for answer in answers.values() if answer.status_code == 507]
    assert all(one.json()["code"] == "storage_full" and int(one.headers["retry-after"]) > 0 for one in refused)
    assert held(app) == {key for key, answer in answers.items() if answer.status_code == 202}
    assert call("GET", "/v1/runs/r1/overview").status_code == 200
    assert call("GET", "/readyz").status_code == 200
    limit_pages(app, 1_000_000)
    for (run, seq), answer in answers.items():
        if answer.status_code == 507:
            assert call("POST", "/v1/uploads", json=body(run, seq)).json()["accepted"] == 10
    assert held(app) == set(answers)


def test_works_committed_together_on_a_full_disk_fail_one_by_one(app):
    """SQLite rolls the whole transaction back when it is full: what still fits must be stored all the same."""
    store = app.state.store
    limit_pages(app, 120)
    held_up, go = threading.Event(), threading.Event()

    def hold(_connection):
        held_up.set()
        go.wait(10)

    def write(connection, size):
        connection.execute(
            sa.text("INSERT INTO projects (project, created_at) VALUES (:p, '2026-01-01')"), {"p": "x" * size}
        )

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(store.write, hold)
        held_up.wait(10)
        sizes = [10, 2_000_000, 20, 3_000_000, 30]
        futures = {size: pool.submit(store.write, lambda c, size=size: write(c, size)) for size in sizes}
        while store.waiting < len(sizes):
            pass
        go.set()
        first.result(10)
        failed = {size for size, future in futures.items() if isinstance(future.exception(10), StorageFull)}
        done = {size for size, future in futures.items() if future.exception(10) is None}
    assert (failed, done) == ({2_000_000, 3_000_000}, {10, 20, 30})
    with store.read() as connection:
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


def test_a_postgres_that_is_read_only_refuses_and_recovers(new_database):
    url = sa.make_url(new_database("postgresql"))
    app = create_app(Settings(database_url=url.render_as_string(hide_password=False)))
    call, engine = caller(app), app.state.store.writing_engine
    assert call("POST", "/v1/uploads", json=body("r1", 1)).status_code == 202
    for mode, status in (("on", 503), ("off", 202)):
        with engine.begin() as connection:
            connection.exec_driver_sql("SET TRANSACTION READ WRITE")
            connection.exec_driver_sql(f"ALTER DATABASE {url.database} SET default_transaction_read_only = {mode}")
        engine.dispose()
        assert call("POST", "/v1/uploads", json=body("r1", 2)).status_code == status
        assert call("GET", "/v1/runs/r1").status_code == 200
    app.state.store.close()


def test_a_connection_that_was_cut_is_replaced_and_the_upload_kept(new_database):
    app = create_app(Settings(database_url=new_database("postgresql")))
    call = caller(app)
    for seq in (1, 2, 3):
        with app.state.store.read() as connection:
            connection.execute(sa.text("SELECT 1"))
        with sa.create_engine(app.state.store.engine.url, poolclass=sa.NullPool).connect() as other:
            other.execute(sa.text(CUT))
        assert call("POST", "/v1/uploads", json=body("r1", seq)).status_code == 202
    assert held(app) == {("r1", 1), ("r1", 2), ("r1", 3)}
    app.state.store.close()


def test_when_all_connections_are_in_use_the_next_is_sent_away_within_a_second(new_database):
    url = new_database("postgresql")
    with listening(url) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert client.post("/v1/uploads", json=body("r1", 1)).status_code == 202
        holder = sa.create_engine(url, poolclass=sa.NullPool).connect()
        holder.execute(sa.text("SELECT * FROM runs FOR UPDATE"))
        with ThreadPoolExecutor(20) as pool:
            asked = [pool.submit(client.post, "/v1/uploads", json=body("r1", seq)) for seq in range(2, 14)]
            sent_away = [future.result().status_code for future in islice(as_completed(asked), 4)]
            holder.rollback()
            holder.close()
            codes = [future.result().status_code for future in asked]
        assert sent_away == [503] * 4
        assert sorted(codes) == [202] * 8 + [503] * 4
        assert client.get("/v1/runs/r1").status_code == 200


def test_too_many_bytes_under_way_are_refused_and_given_back(new_database):
    limits = {"max_intake_bytes": 2**20, "max_values_per_upload": 10**6}
    app = create_app(Settings(database_url=new_database("sqlite"), **limits))
    call = caller(app)
    large = body("r1", 1, steps=2000)
    answer = call("POST", "/v1/uploads", json=large)
    assert (answer.status_code, answer.json()["code"]) == (429, "busy")
    for seq in range(1, 30):
        assert call("POST", "/v1/uploads", json=body("r1", seq)).status_code == 202
    assert app.state.intake.held == 0
    app.state.store.close()


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
def test_what_a_database_says_becomes_what_a_caller_is_told(original, kind):
    error = sa.exc.DBAPIError.instance("SELECT 1", {}, original, psycopg.Error)
    assert isinstance(problem_of(error), kind)


def test_a_fault_of_ours_stays_one(app):
    with pytest.raises(sa.exc.OperationalError), app.state.store.read() as connection:
        connection.execute(sa.text("SELEKT"))
    with pytest.raises(sa.exc.IntegrityError):
        app.state.store.write(lambda c: c.execute(sa.text("INSERT INTO projects (project) VALUES (NULL)")))


def test_the_queue_of_the_writer_is_bounded(app):
    store = app.state.store
    held_up, go = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(store.write, lambda _c: (held_up.set(), go.wait(20)))
        held_up.wait(10)
        futures = [store._writes.submit(lambda _c: None) for _ in range(WAITING)]
        answer = caller(app)("POST", "/v1/uploads", json=body("r1", 1))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        go.set()
        first.result(10)
        assert all(future.result(10) is None for future in futures)


def test_a_server_under_test_ends_though_the_test_fails(new_database):
    """``listening`` itself: a server left behind would hold its file, and keep the interpreter from ending."""
    with pytest.raises(AssertionError), listening(new_database("sqlite")) as address:
        raise AssertionError
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/livez")
    assert THREAD not in {thread.name for thread in threading.enumerate()}
