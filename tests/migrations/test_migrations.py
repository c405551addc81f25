"""The schema is made by migrations alone, up and down, and keeps the rules that let it be spread by run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic import command

from relumine_server.storage import distribution, lives, migrate
from relumine_server.storage.columns import UtcTime
from relumine_server.storage.tables import BLOBS, alerts, deliveries, lines, metadata, projects, webhooks

# On Citus these stay on the coordinator.
UNSPREAD = {"projects", "webhooks", "silences", "lines", "deliveries", "attempts", "keys", "logins"}
COMPRESSED = {"unit_rows.layers": "ids of the layers, eight bytes each and the same in every row: it compresses well"}

VOLATILE = re.compile(r"\(|\bcurrent_|\blocaltime|'now'", re.IGNORECASE)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


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


def test_projects_keep_what_they_hold_when_policies_come_and_go(engine):
    migrate.downgrade(engine, "0001")
    held = [("p", {"unit_bytes": 1}), ("q", None)]
    with engine.begin() as connection:
        columns = [projects.c.project, projects.c.created_at, projects.c.retention]
        table = sa.table("projects", *(sa.column(one.name, one.type) for one in columns))
        rows = [{"project": name, "created_at": NOW, "retention": kept} for name, kept in held]
        connection.execute(sa.insert(table), rows)
    migrate.upgrade(engine)
    with engine.begin() as connection:
        assert set(connection.scalars(sa.select(projects.c.policy))) == {None}
        connection.execute(sa.update(projects).values(policy={"nats": 12.5}))
        assert connection.scalars(sa.select(projects.c.policy)).all() == [{"nats": 12.5}] * 2
    migrate.downgrade(engine, "0001")
    with engine.connect() as connection:
        query = sa.select(projects.c.project, projects.c.created_at, projects.c.retention).order_by("project")
        assert [tuple(row) for row in connection.execute(query)] == [(name, NOW, kept) for name, kept in held]


def test_alerts_keep_what_they_say_when_they_are_given_a_life(engine):
    migrate.downgrade(engine, "0003")
    added = {"upstream", *lives.LIFE} - {"state", "severity", "opened_step", "opened_at"}
    added -= {"resolved_step", "resolved_at", "resolved_reason"}
    table = sa.table("alerts", *(sa.column(one.name, one.type) for one in alerts.columns if one.name not in added))
    row = {
        "run_id": "r1", "project": "p", "layer_id": 1, "kind": "dead", "severity": "critical", "cause": "unknown",
        "confidence": 0.5, "opened_step": 7, "opened_at": NOW, "updated_at": NOW, "title": "t", "message": "m",
        "evidence": {"n": 1}, "remedies": [],
    }  # fmt: skip
    states = {"a": "firing", "b": "resolved", "c": "acknowledged"}
    rows = [
        {**row, "alert_id": name, "state": state, "kind": name, "resolved_at": NOW if state == "resolved" else None}
        for name, state in states.items()
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(table), rows)
    migrate.upgrade(engine)
    with engine.connect() as connection:
        found = {alert_id: one.life for alert_id, one in lives.load(connection, "r1").items()}
    assert {name: life.state for name, life in found.items()} == states
    assert {name: (life.told_at, life.closed_by) for name, life in found.items()} == {
        "a": (NOW, None), "b": (None, "detector"), "c": (NOW, None),
    }  # fmt: skip
    assert {(life.opened_step, life.since_at, life.owed, life.moves) for life in found.values()} == {(7, NOW, False, 0)}
    migrate.downgrade(engine, "0003")
    with engine.connect() as connection:
        kept = connection.execute(sa.select(table).order_by("alert_id")).mappings().all()
    assert [{name: one[name] for name in rows[0]} for one in kept] == rows


def test_deliveries_keep_what_they_tell_of_when_the_outbox_changes(engine):
    migrate.downgrade(engine, "0004")
    ids = ["r.7.dead", "r.12.dying", "r.3.dead"]
    text = {name: name for name in ("delivery_id", "webhook_id", "event", "project", "url", "format", "secret")}
    delivery = {**text, "run_id": "r", "alert_ids": ids, "state": "failed", "attempt": 4}
    webhook = {**text, "events": ["alert.firing"], "enabled": True}
    with engine.begin() as connection:
        for name, row in (("deliveries", delivery), ("webhooks", webhook)):
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            kept = {key: value for key, value in row.items() if key in table.c}
            times = {column.name: NOW for column in table.c if column.name.endswith("_at")}
            connection.execute(sa.insert(table).values(**kept, **times))
    migrate.upgrade(engine)
    with engine.connect() as connection:
        row = connection.execute(sa.select(deliveries)).one()
        assert (row.subject, row.alerts, row.tried) == ({"dead": [[7, 7], [3, 3]], "dying": [[12, 12]]}, 3, 4)
        assert connection.execute(sa.select(lines)).one()[:2] == ("webhook_id", None)
        assert connection.execute(sa.select(webhooks.c.severity, webhooks.c.retiring)).one() == ("warning", [])
    migrate.downgrade(engine, "0004")
    with engine.connect() as connection:
        table = sa.Table("deliveries", sa.MetaData(), autoload_with=connection)
        kept = connection.execute(sa.select(table.c.alert_ids)).scalar_one()
        assert sorted(kept if isinstance(kept, list) else json.loads(kept)) == sorted(ids)


# The rules. Each gives what of a table breaks it.


def the_run_comes_first_in_every_key_of_a_run_and_its_children(table: sa.Table) -> Iterator[str]:
    keys = [list(table.primary_key.columns)]
    keys += [list(one.columns) for one in table.constraints if isinstance(one, sa.UniqueConstraint)]
    keys += [list(index.expressions) for index in table.indexes if index.unique]
    keys += [[column] for column in table.columns if column.unique]
    for key in keys if table.name not in UNSPREAD else ():
        first = key[0] if key else None
        if first is not table.columns.get("run_id") or first is None or first.nullable:
            yield f"a key of {table.name} begins with {first}"


def a_run_id_is_text_everywhere(table: sa.Table) -> Iterator[str]:
    column = table.columns.get("run_id")
    if column is not None and (type(column.type) is not sa.Text or column.type.length or column.nullable):
        yield f"{column} is {column.type}"


def foreign_keys_stay_within_a_run_and_never_set_null(table: sa.Table) -> Iterator[str]:
    for one in table.foreign_key_constraints:
        pairs = [(element.parent.name, element.target_fullname) for element in one.elements]
        parent = pairs[0][1].split(".")[0]
        actions = {one.ondelete, one.onupdate} - {None}
        within = pairs[0] == ("run_id", f"{parent}.run_id") and one.ondelete == "CASCADE"
        allowed = parent in UNSPREAD if table.name in UNSPREAD else within and parent not in UNSPREAD
        if any("SET" in action.upper() for action in actions) or not allowed:
            yield f"{table.name}: {pairs} {actions}"


def every_value_is_bound_by_the_application(table: sa.Table) -> Iterator[str]:
    for column in table.columns:
        default = column.server_default
        told = str(getattr(default, "arg", default or ""))
        if VOLATILE.search(told) or column.computed is not None or column.server_onupdate is not None:
            yield f"{column} is filled in by the database: {told}"
        if column.onupdate is not None:
            yield f"{column} changes by itself"


def numbers_that_the_database_counts_are_large(table: sa.Table) -> Iterator[str]:
    for column in table.columns:
        counted = column.identity is not None or column is table.autoincrement_column
        if counted and not isinstance(column.type, sa.BigInteger):
            yield f"{column} is counted by the database and of type {column.type}"


def a_moment_is_in_utc(table: sa.Table) -> Iterator[str]:
    for column in table.columns:
        named = column.name.endswith(("_at", "_until", "_time"))
        timed = isinstance(column.type, sa.DateTime | sa.Date | sa.Time)
        if (named or timed) and not isinstance(column.type, UtcTime):
            yield f"{column} is {column.type}"


def large_blobs_are_listed(table: sa.Table) -> Iterator[str]:
    for column in table.columns:
        if isinstance(column.type, sa.LargeBinary) and str(column) not in {*BLOBS, *COMPRESSED}:
            yield f"{column} is neither in BLOBS nor said to be small or worth compressing"


RULES = [
    the_run_comes_first_in_every_key_of_a_run_and_its_children,
    a_run_id_is_text_everywhere,
    foreign_keys_stay_within_a_run_and_never_set_null,
    every_value_is_bound_by_the_application,
    numbers_that_the_database_counts_are_large,
    a_moment_is_in_utc,
    large_blobs_are_listed,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_table_keeps_the_rule(rule):
    assert [fault for table in metadata.sorted_tables for fault in rule(table)] == []


def test_what_is_spread_over_hosts_are_the_tables_of_runs():
    spread = distribution.of_runs()
    assert spread[0] == "runs"
    assert {*spread} == {*metadata.tables} - UNSPREAD
    assert len(spread) > 10


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


# What the databases say themselves.

ASKED = {
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
    "moments without a zone": {
        "postgresql": "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND data_type IN ('timestamp without time zone', 'date', 'time without time zone')",
    },
}


@pytest.mark.parametrize("what", ASKED)
def test_the_database_does_nothing_by_itself(engine, what):
    migrate.upgrade(engine)
    with engine.connect() as connection:
        question = ASKED[what].get(engine.name)
        found = [] if question is None else connection.execute(sa.text(question)).all()
    assert [row for row in found if what != "defaults" or VOLATILE.search(row[1])] == []


def test_postgres_compresses_no_blob_that_is_packed_already(new_database):
    engine = sa.create_engine(new_database("postgresql"), poolclass=sa.NullPool)
    migrate.upgrade(engine)
    question = "SELECT relname || '.' || attname, attstorage FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid"
    with engine.connect() as connection:
        rows = connection.execute(sa.text(f"{question} WHERE atttypid = 'bytea'::regtype AND relkind = 'r'"))
        stored = {name: storage for name, storage in rows if name.split(".")[0] in metadata.tables}
    assert {name for name, storage in stored.items() if storage == "e"} == set(BLOBS)
    assert stored.keys() - set(BLOBS) == COMPRESSED.keys()
