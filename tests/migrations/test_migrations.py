"""The migration makes the schema that the tables declare; the tables keep the rules that let Citus distribute them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from alembic import command

from relumine_server.db import citus, migrations
from relumine_server.db.tables import BLOBS
from relumine_server.db.types import UtcTime, metadata

# Tables that stay on the coordinator of a Citus cluster.
NOT_DISTRIBUTED = {
    "projects", "webhooks", "silences", "webhook_leases", "deliveries", "delivery_attempts", "api_keys",
    "login_sessions",
}  # fmt: skip
COMPRESSED = {"unit_stats.layers": "ids of the layers, eight bytes each and the same in every row: it compresses well"}

VOLATILE = re.compile(r"\(|\bcurrent_|\blocaltime|'now'", re.IGNORECASE)


@pytest.fixture
def engine(database_url):
    engine = sa.create_engine(database_url)
    yield engine
    engine.dispose()


def schema(engine: sa.Engine) -> dict:
    """Everything that a database reports about the tables of the server."""
    inspector = sa.inspect(engine)
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), getattr(column["type"], "collation", None), column["nullable"])
                for column in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "unique": inspector.get_unique_constraints(table),
            "indexes": inspector.get_indexes(table),
            "foreign keys": inspector.get_foreign_keys(table),
        }
        for table in metadata.tables
    }


def test_up_down_and_up_again(engine):
    migrations.upgrade(engine)
    assert set(sa.inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    migrations.downgrade(engine, "base")
    assert sa.inspect(engine).get_table_names() == ["alembic_version"]
    migrations.upgrade(engine)
    with engine.connect() as connection:
        assert migrations.current(connection) == migrations.head() == "0001"


def test_the_migration_makes_what_the_tables_declare(engine):
    migrations.upgrade(engine)
    with engine.begin() as connection:
        command.check(migrations.config(connection))  # raises if Alembic would generate another migration
    migrated = schema(engine)
    migrations.downgrade(engine, "base")
    metadata.create_all(engine)
    assert schema(engine) == migrated


# The rules. Each yields what breaks it in a table.


def the_run_comes_first_in_every_key_of_a_run_and_its_children(table: sa.Table) -> Iterator[str]:
    keys = [list(table.primary_key.columns)]
    keys += [list(key.columns) for key in table.constraints if isinstance(key, sa.UniqueConstraint)]
    keys += [list(index.expressions) for index in table.indexes if index.unique]
    keys += [[column] for column in table.columns if column.unique]
    for key in keys if table.name not in NOT_DISTRIBUTED else ():
        first = key[0] if key else None
        if first is not table.columns.get("run_id") or first is None or first.nullable:
            yield f"a key of {table.name} begins with {first}"


def a_run_id_is_text_everywhere(table: sa.Table) -> Iterator[str]:
    column = table.columns.get("run_id")
    if column is not None and (type(column.type) is not sa.Text or column.type.length or column.nullable):
        yield f"{column} is {column.type}"


def foreign_keys_stay_within_a_run_and_never_set_null(table: sa.Table) -> Iterator[str]:
    for key in table.foreign_key_constraints:
        pairs = [(element.parent.name, element.target_fullname) for element in key.elements]
        parent = pairs[0][1].split(".")[0]
        actions = {key.ondelete, key.onupdate} - {None}
        if table.name in NOT_DISTRIBUTED:
            is_allowed = parent in NOT_DISTRIBUTED
        else:
            stays_in_run = pairs[0] == ("run_id", f"{parent}.run_id") and key.ondelete == "CASCADE"
            is_allowed = stays_in_run and parent not in NOT_DISTRIBUTED
        if any("SET" in action.upper() for action in actions) or not is_allowed:
            yield f"{table.name}: {pairs} {actions}"


def every_value_is_bound_by_the_application(table: sa.Table) -> Iterator[str]:
    for column in table.columns:
        default = column.server_default
        text = str(getattr(default, "arg", default or ""))
        if VOLATILE.search(text) or column.computed is not None or column.server_onupdate is not None:
            yield f"{column} is filled in by the database: {text}"
        if column.onupdate is not None:
            yield f"{column} changes by itself"


def a_counter_of_the_database_is_large(table: sa.Table) -> Iterator[str]:
    for column in table.columns:
        counted = column.identity is not None or column is table.autoincrement_column
        if counted and not isinstance(column.type, sa.BigInteger):
            yield f"{column} is counted by the database and of type {column.type}"


def a_time_is_in_utc(table: sa.Table) -> Iterator[str]:
    for column in table.columns:
        named = column.name.endswith(("_at", "_until", "_time"))
        timed = isinstance(column.type, sa.DateTime | sa.Date | sa.Time)
        if (named or timed) and not isinstance(column.type, UtcTime):
            yield f"{column} is {column.type}"


def large_blobs_are_listed(table: sa.Table) -> Iterator[str]:
    for column in table.columns:
        if isinstance(column.type, sa.LargeBinary) and str(column) not in {*BLOBS, *COMPRESSED}:
            yield f"{column} is neither in BLOBS nor in COMPRESSED"


RULES = [
    the_run_comes_first_in_every_key_of_a_run_and_its_children,
    a_run_id_is_text_everywhere,
    foreign_keys_stay_within_a_run_and_never_set_null,
    every_value_is_bound_by_the_application,
    a_counter_of_the_database_is_large,
    a_time_is_in_utc,
    large_blobs_are_listed,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_table_keeps_the_rule(rule):
    assert [fault for table in metadata.sorted_tables for fault in rule(table)] == []


def test_the_tables_of_runs_are_distributed():
    distributed = citus.distributed_tables()
    assert distributed[0] == "runs"
    assert {*distributed} == {*metadata.tables} - NOT_DISTRIBUTED
    assert len(distributed) > 10


def _text(name: str, **options) -> sa.Column:
    return sa.Column(name, sa.Text, **options)


FAULTS: list[tuple[Callable[[sa.Table], Iterator[str]], list[sa.schema.SchemaItem]]] = [
    (RULES[0], [_text("id", primary_key=True), _text("run_id", nullable=False)]),
    (RULES[0], [_text("run_id", primary_key=True), _text("slug", unique=True)]),
    (RULES[0], [_text("run_id", primary_key=True), _text("a"), sa.UniqueConstraint("a", "run_id")]),
    (RULES[0], [_text("run_id", primary_key=True), _text("a"), sa.Index("i", "a", unique=True)]),
    (RULES[0], [_text("run_id"), sa.UniqueConstraint("run_id")]),
    (RULES[1], [sa.Column("run_id", sa.String(64), primary_key=True)]),
    (RULES[1], [_text("run_id")]),
    (RULES[2], [sa.Column("run_id", sa.ForeignKey("runs.run_id"), primary_key=True)]),
    (RULES[2], [_text("a"), sa.ForeignKeyConstraint(["a"], ["alerts.alert_id"], ondelete="CASCADE")]),
    (RULES[2], [_text("a"), sa.ForeignKeyConstraint(["a"], ["projects.project"], ondelete="SET NULL")]),
    (RULES[2], [_text("a"), sa.ForeignKeyConstraint(["a"], ["projects.project"], ondelete="CASCADE")]),
    (RULES[3], [sa.Column("at", UtcTime, server_default=sa.func.now())]),
    (RULES[3], [_text("a", server_default=sa.text("gen_random_uuid()"))]),
    (RULES[3], [_text("a", server_default=sa.text("CURRENT_TIMESTAMP"))]),
    (RULES[3], [_text("a", onupdate="x")]),
    (RULES[4], [sa.Column("a", sa.Integer, primary_key=True)]),
    (RULES[4], [_text("run_id", primary_key=True), sa.Column("a", sa.SmallInteger, sa.Identity())]),
    (RULES[5], [sa.Column("seen", sa.DateTime(timezone=True))]),
    (RULES[5], [sa.Column("seen_at", sa.Float)]),
    (RULES[6], [sa.Column("data", sa.LargeBinary)]),
]


@pytest.mark.parametrize(("rule", "columns"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_table_that_breaks_a_rule_is_noticed(rule, columns):
    assert list(rule(sa.Table("fault", sa.MetaData(), *columns)))


# What the databases report.

QUERIES = {
    "triggers": {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger JOIN pg_class r ON r.oid = tgrelid"
        " WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace",
    },
    "defaults": {
        "sqlite": "SELECT m.name, c.dflt_value FROM sqlite_master m, pragma_table_info(m.name) c"
        " WHERE m.type = 'table' AND c.dflt_value IS NOT NULL",
        "postgresql": "SELECT adrelid::regclass, pg_get_expr(adbin, adrelid) FROM pg_attrdef"
        " JOIN pg_class r ON r.oid = adrelid WHERE relnamespace = 'public'::regnamespace",
    },
    "counters": {
        "sqlite": "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'",
        "postgresql": "SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class r ON r.oid = attrelid"
        " WHERE relnamespace = 'public'::regnamespace"
        " AND (attidentity <> '' OR (relkind = 'S' AND attname = 'last_value'))",
    },
    "times without a zone": {
        "postgresql": "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND data_type IN ('timestamp without time zone', 'date', 'time without time zone')",
    },
}


@pytest.mark.parametrize("what", QUERIES)
def test_the_database_does_nothing_by_itself(engine, what):
    migrations.upgrade(engine)
    query = QUERIES[what].get(engine.name)
    if query is None:
        return
    with engine.connect() as connection:
        rows = connection.execute(sa.text(query)).all()
    assert [row for row in rows if what != "defaults" or VOLATILE.search(row[1])] == []


def test_postgres_compresses_no_blob_that_is_packed_already(new_database):
    engine = sa.create_engine(new_database("postgresql"), poolclass=sa.NullPool)
    migrations.upgrade(engine)
    query = "SELECT relname || '.' || attname, attstorage FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid"
    with engine.connect() as connection:
        rows = connection.execute(sa.text(f"{query} WHERE atttypid = 'bytea'::regtype AND relkind = 'r'"))
        storage = {name: kind for name, kind in rows if name.split(".")[0] in metadata.tables}
    external = {name for name, kind in storage.items() if kind == "e"}
    assert external == set(BLOBS)
    assert storage.keys() - external == COMPRESSED.keys()
