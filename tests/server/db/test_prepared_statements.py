"""A pooler in front of Postgres that gives each transaction another connection is noticed: nothing is prepared then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import structlog

from relumine_server.app import create_app
from relumine_server.db.database import Database
from relumine_server.db.prepared_statements import PreparedStatements
from relumine_server.settings import Settings
from tests.helpers.live_server import caller

FORGET = "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"  # psycopg would notice a plain DEALLOCATE
MANY = 12  # psycopg prepares what it has executed five times


@pytest.fixture
def postgres_app(new_database):
    url = new_database("postgresql")
    with_pool = Database.open(url)
    yield create_app(Settings(database_url=url), database=with_pool), with_pool
    with_pool.close()


def upload(call, seq):
    records = [{"layer_id": 1, "first_step": seq, "step": seq, "n_examples": 8, "active": [1, 2]}]
    layers = [{"layer_id": 1, "name": "act1", "units": 2}]
    body = {"run": {"id": "r1"}, "session": "s1", "seq": seq, "layers": layers, "records": records}
    return call("POST", "/v1/uploads", json=body).status_code


def forget_statements(database):
    """Forget what the connection used last has prepared, as where a pooler gives another one; return how much."""
    with database.writing_engine.begin() as connection:  # psycopg starts over after a rollback
        count = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one()
        connection.exec_driver_sql(FORGET)
    return count


def test_statements_that_another_connection_had_prepared_cost_at_most_one_retry(postgres_app):
    app, database = postgres_app
    call = caller(app)
    assert {upload(call, seq) for seq in range(1, MANY)} == {202}
    assert forget_statements(database) > 0
    with structlog.testing.capture_logs() as logs:
        statuses = [upload(call, seq) for seq in range(MANY, 3 * MANY)]
    assert statuses[1:] == [202] * (2 * MANY - 1)
    assert statuses[0] in (202, 503)
    pooler = "a connection pooler is in front of the database: statements are not prepared"
    assert [log["event"] for log in logs].count(pooler) == 1
    assert upload(call, MANY) == 202  # as the SDK sends it again
    assert call("GET", "/v1/runs/r1").json()["sampled_steps"] == 3 * MANY - 1


@pytest.mark.parametrize(("answering", "threshold"), [(17, 5), (18, None)])
def test_a_pooler_is_noticed_by_the_backend_that_answers(answering, threshold):
    class Cursor:
        def execute(self, _sql, *, prepare):
            assert not prepare
            return self

        def fetchone(self):
            return (answering,)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    connection = SimpleNamespace(
        cursor=Cursor, commit=lambda: None, pgconn=SimpleNamespace(backend_pid=17), prepare_threshold=5
    )
    statements = PreparedStatements()
    statements._detect(connection, None)
    statements._apply(connection, None, None)
    assert connection.prepare_threshold == threshold
