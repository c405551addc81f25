"""The schema is made by migrations alone, up and down, and keeps the rules that let it be spread by run."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic import command

from relumine_server.storage import migrate
from relumine_server.storage.tables import metadata

REFERENCE = {"projects", "webhooks", "deliveries", "attempts"}  # small, or kept on one shard


@pytest.fixture
def engine(database_url):
    made = sa.create_engine(database_url)
    yield made
    made.dispose()


def test_up_down_and_up_again(engine):
    migrate.upgrade(engine)
    assert set(sa.inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    migrate.downgrade(engine, "base")
    assert sa.inspect(engine).get_table_names() == ["alembic_version"]
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert migrate.current(connection) == migrate.head()


def test_migrations_make_what_the_tables_say(engine):
    migrate.upgrade(engine)
    with engine.begin() as connection:
        command.check(migrate.config(connection))  # raises where they differ


@pytest.mark.parametrize("table", [t for t in metadata.sorted_tables if t.name not in REFERENCE], ids=lambda t: t.name)
def test_the_run_comes_first_in_every_key_of_a_run_and_its_children(table):
    assert next(iter(table.primary_key.columns)).name == "run_id"
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            assert next(iter(constraint.columns)).name == "run_id"
