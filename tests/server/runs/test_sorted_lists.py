"""Lists of runs: each order is complete and stable over pages, on both databases, and tags are found exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
import sqlalchemy as sa

from relumine.schemas.health import HealthStatus
from relumine.schemas.run import RunSort
from relumine_server.db import tables
from relumine_server.db.types import JsonArray, JsonObject, UtcTime
from relumine_server.runs import sorting

HEALTHS = get_args(HealthStatus)
NAMES = ("b", "A", None, "C", "a", "Ä", "ß", "_", "\U0001f600" * 200)
TAGS = ([], ["ci"], ["ci", 'a "b" \\ ü'], ["c"], ["ci/nightly"])
LOSSES = (0.1, None, 3.5e-6, -2.0, 0.1, 1e300)
RATES = (None, 0.5, 12.0, 0.5)
PROJECTS = ("b", "A", "a", "C")
SHARES = (0.25, None, 0.0, 1.0, 0.25)
START = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = (90, 90.5, -1, 0, 7200, 86_400 * 40)


def times(number):
    """The times of a run: it began at some time before its end, or before its last upload, or after both."""
    end = START + timedelta(seconds=SECONDS[number % len(SECONDS)])
    is_over = number % 3 == 0
    finished_at = end if is_over else START + timedelta(days=1)  # of an earlier session, where the run goes on
    return {"started_at": START, "last_heartbeat_at": None if is_over else end, "finished_at": finished_at}


def alert(number, part):
    """One of three alerts of a run, of which some are open."""
    blank = {UtcTime: START, JsonObject: {}, JsonArray: [], sa.Text: "", sa.Boolean: False}
    values = {
        column.name: blank.get(type(column.type), 0)
        for column in tables.alerts.columns
        if not column.nullable and column.default is None
    }
    state = "firing" if part < number % 4 else "resolved"
    return {**values, "run_id": f"r{number:02}", "alert_id": f"a{part}", "state": state}


@pytest.fixture
def runs(call, database):
    """Stored runs by id: many values are equal, and some are missing."""
    for number in range(24):
        body = {"run": {"id": f"r{number:02}", "tags": TAGS[number % len(TAGS)]}, "session": "s", "seq": 1}
        assert call("POST", "/v1/uploads", json=body).status_code == 202

    def write(connection):
        for number in range(24):
            values = {
                "name": NAMES[number % len(NAMES)],
                "health": HEALTHS[number % len(HEALTHS)],
                "final_loss": LOSSES[number % len(LOSSES)],
                "steps_per_s": RATES[number % len(RATES)],
                "layers_dead": number % 3,
                "project": PROJECTS[number % len(PROJECTS)],
                "status": sorting.STATUS_ORDER[number % 4],
                "last_step": None if number % 5 == 0 else number % 4,
                "lost_fraction": SHARES[number % len(SHARES)],
                **times(number),
            }
            is_run = tables.runs.c.run_id == f"r{number:02}"
            connection.execute(sa.update(tables.runs).where(is_run).values(values))
        connection.execute(sa.insert(tables.alerts), [alert(number, part) for number in range(24) for part in range(3)])

    database.write(write)
    return {run["run_id"]: run for run in call("GET", "/v1/runs?limit=200").json()["items"]}


def pages(call, query, limit=5, cursor=None):
    """All runs of a list, page by page, behind a cursor."""
    found = []
    while True:
        suffix = f"&cursor={cursor}" if cursor else ""
        page = call("GET", f"/v1/runs?limit={limit}&{query}{suffix}").json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def expected(runs, sort):
    """The ids in the order that was asked for: equal runs newest first, runs without a value last."""
    field = sort.removeprefix("-")
    newest = sorted(runs.values(), key=lambda run: (run["created_at"], run["run_id"]), reverse=True)
    if field == "created_at":
        return [run["run_id"] for run in (newest if sort.startswith("-") else reversed(newest))]

    def key(run):
        value = run[field]
        if field == "health":
            return sorting.WORST_FIRST.index(value)
        if field == "status":
            return sorting.STATUS_ORDER.index(value)
        return value.lower() if isinstance(value, str) and value.isascii() else value

    present = [run for run in newest if run[field] is not None]
    present.sort(key=key, reverse=sort.startswith("-"))
    return [run["run_id"] for run in present + [run for run in newest if run[field] is None]]


def test_each_order_is_complete_and_the_same_over_pages_of_any_size(runs, call):
    for sort in get_args(RunSort):  # one test: to store the runs takes longer than to list them
        in_one = [run["run_id"] for run in pages(call, f"sort={sort}", limit=200)]
        assert sorted(in_one) == sorted(runs), sort
        for limit in (1, 5):
            assert [run["run_id"] for run in pages(call, f"sort={sort}", limit)] == in_one, (sort, limit)
        if not sort.endswith("name"):  # the lower case of other alphabets is the database's own
            assert in_one == expected(runs, sort), sort


def test_names_are_sorted_without_regard_to_case_and_unnamed_runs_come_last(runs, call):
    names = [run["name"] for run in pages(call, "sort=name")]
    ascii_names = [name for name in names if name and name.isascii()]
    assert ascii_names == sorted(ascii_names, key=str.lower)
    assert names[-2:] == [None, None]
    assert [run["name"] for run in pages(call, "sort=-name")][-2:] == [None, None]


def test_the_worst_health_comes_first(runs, call):
    assert set(sorting.WORST_FIRST) == set(HEALTHS)
    healths = [run["health"] for run in pages(call, "sort=health")]
    assert list(dict.fromkeys(healths)) == list(sorting.WORST_FIRST)


def test_runs_that_come_and_go_between_pages_neither_repeat_nor_hide_others(runs, call):
    first = call("GET", "/v1/runs?sort=name&limit=5").json()
    call("POST", "/v1/uploads", json={"run": {"id": "new", "name": "0"}, "session": "s", "seq": 1})
    call("DELETE", f"/v1/runs/{first['items'][0]['run_id']}")
    rest = pages(call, "sort=name", cursor=first["next_cursor"])
    assert sorted(run["run_id"] for run in first["items"] + rest) == sorted(runs)


def test_a_run_without_a_value_comes_last_in_both_directions(runs, call):
    for field in ("lost_fraction", "duration_s"):
        for sort in (field, f"-{field}"):
            values = [run[field] for run in pages(call, f"sort={sort}")]
            missing = values.count(None)
            assert 0 < missing < len(values)
            assert values[-missing:] == [None] * missing


def test_a_run_lasts_until_its_end_and_one_that_goes_on_until_its_last_upload(runs):
    durations = {run_id: runs[run_id]["duration_s"] for run_id in ("r00", "r01", "r10", "r07")}
    assert durations == {"r00": 90, "r01": 86_400, "r10": 7200, "r07": 86_400}


def test_a_cursor_of_another_order_is_invalid(runs, call):
    cursor = call("GET", "/v1/runs?sort=name&limit=5").json()["next_cursor"]
    for sort in ("-name", "health", "-created_at"):
        answer = call("GET", f"/v1/runs?sort={sort}&cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_an_unknown_order_is_refused(call):
    answer = call("GET", "/v1/runs?sort=loss")
    assert answer.status_code == 422
    assert "sort" in answer.json()["detail"]


def test_a_tag_is_found_exactly(runs, call):
    for tag, count in (("ci", 10), ('a "b" \\ ü', 5), ("c", 5), ("ci/nightly", 4), ("CI", 0), ("%", 0), ('ci"', 0)):
        found = call("GET", "/v1/runs", params={"tag": tag, "limit": 200}).json()["items"]
        assert len(found) == count, tag
        assert all(tag in run["tags"] for run in found)
    both = call("GET", "/v1/runs", params={"tag": "ci", "health": "healthy", "sort": "name"}).json()["items"]
    assert {run["health"] for run in both} == {"healthy"}


def test_a_damaged_list_of_tags_hides_its_run_only(call, database):
    if database.engine.dialect.name == "postgresql":
        pytest.skip("Postgres stores no damaged documents")
    for run in ("r1", "r2"):
        call("POST", "/v1/uploads", json={"run": {"id": run, "tags": ["ci"]}, "session": "s", "seq": 1})
    damage = sa.text("UPDATE runs SET tags = '[\"ci' WHERE run_id = 'r1'")
    database.write(lambda connection: connection.execute(damage))
    assert [run["run_id"] for run in call("GET", "/v1/runs?tag=ci").json()["items"]] == ["r2"]
