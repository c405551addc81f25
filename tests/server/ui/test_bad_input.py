"""What no training should send, and what a large one does: the pages show it, and stay usable."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.helpers.live_server import listening

LONGEST_NAME = 200
MANY_RUNS = 5_000
MANY_LAYERS = 10_000
HEAT_MAP_PX = 480
LEAST_ROW_PX = 8
NAMES = {
    "longest": "w" * LONGEST_NAME,
    "arabic": "\u062a\u062c\u0631\u0628\u0629 12 \u0623\u0648\u0644\u0649",
    "hebrew": "\u05e0\u05d9\u05e1\u05d5\u05d9 (7)",
    "emoji": "\U0001f9d1\u200d\U0001f52c" * 50,
    "combining": "e\u0301\u0323" * 60,
}
MEASURES = ("loss", "learning_rate", "update_ratio", "weight_norm", "update_norm", "output_spread")
YEAR_S = 366 * 86_400


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return tmp_path_factory.mktemp("bad") / "x.db"


@pytest.fixture(scope="module")
def server(database):
    """The URL of a server whose database a test may fill."""
    with listening(f"sqlite:///{database}") as url:
        yield url


@pytest.fixture
def upload(api):
    """A function that uploads a run with the layers and records that it is given, and returns the response."""

    def send(run_id, *, layers=(), records=(), **run):
        body = {"run": {"id": run_id, **run}, "session": "s1", "seq": 1, "layers": layers, "records": records}
        return api.post("/v1/uploads", json=body)

    return send


def layer(number, name="fc"):
    return {"layer_id": number, "name": name, "units": 2}


def record(number, step, **fields):
    return {"layer_id": number, "first_step": step, "step": step, "n_examples": 64, "active": [30, 31], **fields}


def drawn(page):
    page.locator(".timeline canvas").first.wait_for()


def is_as_wide_as_the_window(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture
def phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    yield page
    page.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.parametrize("kind", NAMES)
def test_names_in_any_script_are_whole_and_break_no_line_on_a_phone(phone, upload, kind):
    name = NAMES[kind]
    response = upload(
        kind, name=name, project=name, group=name, tags=[name], layers=[layer(1, name)], records=[record(1, 1)]
    )
    assert response.status_code == 202
    for view in (f"runs?q={kind}", f"runs/{kind}", f"runs/{kind}/layers/1", f"compare?runs={kind}"):
        phone.goto("about:blank")
        phone.goto(f"/#/{view}")
        expect(phone.locator("main")).to_contain_text(name)
        assert is_as_wide_as_the_window(phone), view


def test_a_group_in_arabic_stays_behind_its_project(page, upload):
    assert upload("order", project=NAMES["hebrew"], group=NAMES["arabic"]).status_code == 202
    page.goto("/#/runs/order")
    project, group = (page.get_by_role("link", name=NAMES[kind]).bounding_box() for kind in ("hebrew", "arabic"))
    assert project["x"] + project["width"] < group["x"]


def test_a_name_of_256_characters_is_refused_with_its_limit(upload):
    response = upload("refused", name="w" * 256)
    assert response.status_code == 422
    assert str(LONGEST_NAME) in response.text


def test_a_run_without_a_layer_says_so_and_has_no_empty_chart(page, upload):
    assert upload("bare", name="bare").status_code == 202
    page.goto("/#/runs/bare")
    expect(page.get_by_text("No layers have been uploaded yet.")).to_be_visible()
    expect(page.locator(".run-head")).to_contain_text("no layers yet")
    expect(page.locator(".timeline")).to_be_hidden()
    page.goto("/#/runs?q=bare")
    expect(page.locator("tbody tr")).to_contain_text("unknown")


def test_a_run_that_has_no_finite_value_is_diverged_and_no_chart_fails(page, upload):
    nothing = dict.fromkeys(MEASURES)
    records = []
    for step in range(1, 200, 10):
        is_finite = step < 100
        measured = {"loss": 1.0, "learning_rate": 0.1} if is_finite else nothing
        records.append({"layer_id": 0, "first_step": step, "step": step, "n_examples": 64, **measured})
        counts = {} if is_finite else {"active": [0, 0], "nonfinite": 128}
        records.append(record(1, step, **counts))
    assert upload("nan", name="nan", layers=[layer(1)], records=records).status_code == 202
    page.goto("/#/runs/nan")
    drawn(page)
    expect(page.locator(".run-head")).to_contain_text("diverged")
    expect(page.locator("main")).not_to_contain_text("NaN")
    heat_map = page.locator(".lane-plot").nth(2)
    box = heat_map.bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    expect(page.locator(".tooltip")).to_contain_text("values are not finite since step 101")
    expect(page.locator(".mark.critical")).to_have_attribute("title", re.compile("diverged, step 101"))
    page.goto("/#/runs/nan/layers/1")
    drawn(page)
    expect(page.locator("main")).not_to_contain_text("NaN")


def test_a_start_in_the_future_is_a_date_and_no_negative_duration(page, upload):
    starts_at = time.time() + YEAR_S
    assert (
        upload("early", name="early", started_at=starts_at, layers=[layer(1)], records=[record(1, 1)]).status_code
        == 202
    )
    page.goto("/#/runs?q=early")
    row = page.locator("tbody tr")
    expect(row.locator("td").last).to_have_text(time.strftime("%-d %b %Y", time.localtime(starts_at)))
    expect(row).not_to_contain_text("-")
    page.goto("/#/runs/early")
    expect(page.locator(".run-head")).to_contain_text(re.compile(r"step 1 · –"))


@pytest.fixture(scope="module")
def many_layers(api):
    """A run of 10,000 layers whose names have no common module."""
    numbers = range(1, MANY_LAYERS + 1)
    parts = [{"layers": [layer(number, f"act{number}") for number in numbers]}]
    parts += [{"records": [record(number, 1) for number in numbers[part::2]]} for part in range(2)]
    for seq, part in enumerate(parts, 1):
        response = api.post("/v1/uploads", json={"run": {"id": "deep"}, "session": "s1", "seq": seq, **part})
        assert response.status_code == 202, response.text


def test_ten_thousand_layers_are_shown_in_parts_that_can_be_read(page, many_layers):
    page.goto("/#/runs/deep")
    drawn(page)
    expect(page.locator("caption")).to_contain_text("10,000 layers")
    rows = page.locator(".lane-title .row")
    assert rows.count() <= HEAT_MAP_PX / LEAST_ROW_PX
    assert rows.first.bounding_box()["height"] >= LEAST_ROW_PX
    assert page.locator("tbody tr").count() <= 500
    rows.first.click()
    expect(rows.nth(1)).to_contain_text("act2")
    assert rows.nth(1).bounding_box()["height"] >= LEAST_ROW_PX
    page.get_by_label("Search layers").fill("act9999")
    expect(page.locator("tbody tr")).to_have_count(1)


@pytest.fixture
def many_runs(database, upload):
    """5,000 copies of a run, written to the database: to upload them takes minutes."""
    assert upload("copied", project="sweep", layers=[layer(1)], records=[record(1, 1)]).status_code == 202
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        values = ["'copy-' || value" if column == "run_id" else column for column in columns]
        numbers = "WITH RECURSIVE number(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM number WHERE value < ?)"
        connection.execute(
            f"{numbers} INSERT INTO runs ({', '.join(columns)}) SELECT {', '.join(values)} FROM runs, number "  # noqa: S608 - names of columns
            "WHERE run_id = 'copied'",
            (MANY_RUNS - 1,),
        )


def test_five_thousand_runs_are_a_page_of_rows_and_a_count(page, many_runs):
    page.goto("/#/runs?project=sweep")
    expect(page.locator("tbody tr")).to_have_count(100)
    expect(page.get_by_role("button", name="Training")).to_contain_text(f"{MANY_RUNS:,}")
    page.get_by_role("button", name="Show more runs").click()
    expect(page.locator("tbody tr")).to_have_count(200)
    page.get_by_label("Search").fill("copy-4999")
    expect(page.locator("tbody tr")).to_have_count(1)
