"""The page of a run, and of a layer, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

CHARTS_WITHIN_PX = 300
PIXEL = """([index, share]) => {
  const canvas = document.querySelectorAll(".timeline canvas")[index];
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, Math.floor(canvas.width * share), Math.floor(canvas.height / 2), 1, 1, 0, 0, 1, 1);
  return [...copy.getImageData(0, 0, 1, 1).data];
}"""
HEAT_MAP = 2  # the third lane, below alerts and sampled steps
ZOOM = "() => location.hash.split('?')[1] || ''"


def drawn(page):
    page.wait_for_function("() => performance.getEntriesByName('timeline-drawn').length > 0")


def open_run(page, run_id, query=""):
    page.goto("about:blank")
    page.goto(f"/#/runs/{run_id}{query}")
    page.locator(".timeline canvas").first.wait_for()
    drawn(page)


def test_the_page_begins_with_health_the_incident_and_its_fix(page, dying):
    open_run(page, "run1")
    expect(page.get_by_role("heading", name="baseline")).to_be_visible()
    head = page.locator(".run-head")
    expect(head).to_contain_text("damaged")
    expect(head).to_contain_text("1 of 1 layers lost")
    worst = next(alert for alert in dying if alert["kind"] == "dead")
    card = page.locator(f'#incident [data-alert="{worst["id"]}"]')
    expect(card).to_contain_text("relumine.remedies.lower_learning_rate(optimizer, ")
    assert worst["message"].split(" · ")[-1] in card.inner_text()


def test_charts_begin_near_the_top(page, dying):
    page.set_viewport_size({"width": 1400, "height": 900})
    open_run(page, "run1")
    assert page.locator(".timeline").bounding_box()["y"] <= CHARTS_WITHIN_PX


def test_what_is_lost_what_is_healthy_and_what_was_not_sampled_have_three_looks(page, dying):
    open_run(page, "run1")
    healthy, lost = (page.evaluate(PIXEL, [HEAT_MAP, share]) for share in (0.2, 0.9))
    assert healthy[2] > healthy[0]  # pale blue
    assert lost[0] > 2 * lost[2]  # red


def test_a_part_that_was_not_sampled_is_hatched_and_named(page, api):
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 64, "active": [30] * 4}
        for step in (*range(0, 200, 10), *range(2000, 2200, 10))
    ]
    body = {
        "run": {"id": "gap"},
        "session": "s1",
        "seq": 1,
        "layers": [{"layer_id": 1, "name": "fc", "units": 4}],
        "records": records,
    }
    assert api.post("/v1/uploads", json=body).status_code == 202
    open_run(page, "gap")
    lane = page.locator(".lane-plot").nth(1)
    box = lane.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator(".tooltip")).to_contain_text("not sampled around step")
    colours = {tuple(page.evaluate(PIXEL, [HEAT_MAP, share])) for share in (0.50, 0.501, 0.502, 0.503, 0.504)}
    assert len(colours) > 1  # lines and what is between them


def test_a_past_that_came_in_fewer_points_is_not_taken_for_a_pause(page, dying):
    open_run(page, "run1")
    module = page.evaluate("performance.getEntriesByType('resource').find((e) => e.name.includes('heat_map')).name")
    limits = page.evaluate(
        """async (address) => {
          const { longestGapAt } = await import(address);
          const past = Array.from({ length: 50 }, (_, index) => index * 1000);
          const live = Array.from({ length: 300 }, (_, index) => 49000 + 10 * (index + 1));
          const steps = [...past, ...live, 60000, ...Array.from({ length: 20 }, (_, index) => 60010 + 10 * index)];
          return [longestGapAt(steps, 10), longestGapAt(steps, 200), longestGapAt(steps, 349)];
        }""",
        module,
    )
    assert limits == [3000, 100, 100]  # sampled all along; and the pause before step 60,000 is one


def test_the_cursor_reads_values_in_every_lane(page, dying):
    open_run(page, "run1")
    for lane, text in ((HEAT_MAP, "dead"), (3, "learning rate"), (4, "loss")):
        box = page.locator(".lane-plot").nth(lane).bounding_box()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
        expect(page.locator(".tooltip")).to_contain_text(text)


def test_a_zoom_stays_over_updates_and_is_in_the_link(page, api, alerts_of):
    alerts_of("live")
    open_run(page, "live")
    box = page.locator(".lane-plot").nth(HEAT_MAP).bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 5)
    page.mouse.up()
    zoom = page.evaluate(ZOOM)
    assert re.fullmatch(r"from=\d+&to=\d+", zoom)
    record = {"layer_id": 1, "first_step": 500, "step": 500, "n_examples": 64, "active": [30] * 24}
    body = {"run": {"id": "live", "project": "digits"}, "session": "s1", "seq": 2, "records": [record]}
    assert api.post("/v1/uploads", json=body).status_code == 202
    expect(page.locator(".run-head")).to_contain_text("step 500")
    assert page.evaluate(ZOOM) == zoom
    page.get_by_role("button", name="Show all steps").click()
    assert page.evaluate(ZOOM) == ""


def test_an_update_writes_only_what_has_changed(page, api, alerts_of):
    alerts_of("kept")
    open_run(page, "kept")
    kept_nodes = ["tbody tr", "tbody td .badge", ".lane-title .row", ".mark"]
    page.evaluate("places => document.querySelectorAll(places).forEach((node) => { node.kept = true; })", kept_nodes)
    record = {"layer_id": 1, "first_step": 900, "step": 900, "n_examples": 64, "active": [30] * 6 + [0] * 18}
    body = {"run": {"id": "kept", "project": "digits"}, "session": "s1", "seq": 2, "records": [record]}
    assert api.post("/v1/uploads", json=body).status_code == 202
    expect(page.locator("tbody tr td").last).to_have_text("900")
    is_kept = "place => [...document.querySelectorAll(place)].map((node) => node.kept === true)"
    for place in kept_nodes:
        assert set(page.evaluate(is_kept, place)) == {True}, place


def test_the_timeline_is_zoomed_by_keyboard(page, dying):
    open_run(page, "run1")
    page.locator(".timeline").focus()
    page.keyboard.press("+")
    assert "from=" in page.evaluate(ZOOM)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("0")
    assert page.evaluate(ZOOM) == ""


@pytest.fixture(scope="module")
def sixty_dead_layers(api):
    """A run of 60 layers that were all born dead, and its alerts."""
    layers = [{"layer_id": number, "name": f"block.fc{number}", "units": 8} for number in range(1, 61)]
    for seq, step in enumerate(range(0, 40, 10), 1):
        records = [
            {"layer_id": number, "first_step": step, "step": step, "n_examples": 64, "active": [0] * 8}
            for number in range(1, 61)
        ]
        run = {"id": "sixty", "name": "sixty"}
        body = {"run": run, "session": "s1", "seq": seq, "layers": layers, "records": records}
        assert api.post("/v1/uploads", json=body).status_code == 202
    return api.get("/v1/alerts", params={"run_id": "sixty", "limit": 200}).json()["items"]


def test_layers_that_die_of_one_cause_are_one_card_with_the_others_folded(page, sixty_dead_layers):
    assert len(sixty_dead_layers) == 60
    open_run(page, "sixty")
    page.get_by_text("59 more alerts with this cause").click()
    assert page.locator(".incident").count() == 1
    assert page.get_by_role("link", name="block.fc60 was born dead", exact=True).is_visible()


def test_more_layers_than_fit_are_folded_by_module_and_unfolded_by_a_click(page, api):
    layers = [{"layer_id": number, "name": f"stage{number % 2}.fc{number}", "units": 2} for number in range(1, 101)]
    layers.sort(key=lambda layer: layer["name"][:6])
    for number, layer in enumerate(layers, 1):
        layer["layer_id"] = number
    records = [{"layer_id": n, "first_step": 1, "step": 1, "n_examples": 8, "active": [3, 4]} for n in range(1, 101)]
    body = {"run": {"id": "hundred"}, "session": "s1", "seq": 1, "layers": layers, "records": records}
    assert api.post("/v1/uploads", json=body).status_code == 202
    open_run(page, "hundred")
    expect(page.locator(".lane-title .row")).to_have_count(2)
    page.get_by_role("button", name="stage0.*").click()
    expect(page.locator(".lane-title .row")).to_have_count(51)


def test_the_link_of_a_message_opens_its_alert(page, sixty_dead_layers):
    alert = next(alert for alert in sixty_dead_layers if alert["layer"] == "block.fc60")
    page.goto("about:blank")
    page.goto("/#" + alert["url"].partition("#")[2])  # the server knows no port of its own here
    target = page.locator(".target")
    target.wait_for()
    assert target.get_attribute("data-alert") == alert["id"]
    assert page.evaluate("document.activeElement.id") == f"alert-{alert['id']}"
    expect(target).to_be_in_viewport()


def test_the_link_of_an_alert_that_the_page_of_its_run_does_not_list_opens_the_alert(page, dying, api):
    api.post("/v1/uploads", json={"run": {"id": "empty"}, "session": "s1", "seq": 1}).raise_for_status()
    page.goto("about:blank")
    page.goto(f"/#/runs/empty?alert={dying[0]['id']}")
    page.wait_for_url(re.compile(re.escape(f"#/alerts/{dying[0]['id']}")))


def test_tabs_show_config_metrics_and_coverage(page, api):
    run = {"id": "tabs", "config": {"optimizer": {"lr": 0.1}, "layers": [1, 2]}}
    metrics = [{"step": step, "name": "accuracy", "value": 0.1 * step} for step in range(5)]
    record = {"layer_id": 1, "first_step": 1, "step": 1, "n_examples": 64, "active": [30] * 4}
    body = {"run": run, "session": "s1", "seq": 1, "metrics": metrics, "records": [record]}
    assert (
        api.post("/v1/uploads", json=body | {"layers": [{"layer_id": 1, "name": "fc", "units": 4}]}).status_code == 202
    )
    open_run(page, "tabs")
    page.get_by_role("tab", name="Config").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("optimizer.lr")
    page.get_by_role("tab", name="Metrics").click()
    expect(page.get_by_role("heading", name="accuracy")).to_be_visible()
    page.get_by_role("tab", name="Coverage").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("sampled steps")
    assert "tab=coverage" in page.evaluate(ZOOM)


def test_layers_of_one_name_have_a_row_each(page, api):
    layers = [{"layer_id": number, "name": "relu", "units": 2} for number in (1, 2)]
    records = [{"layer_id": number, "first_step": 1, "step": 1, "n_examples": 8, "active": [3, 4]} for number in (1, 2)]
    body = {"run": {"id": "same-name"}, "session": "s1", "seq": 1, "layers": layers, "records": records}
    assert api.post("/v1/uploads", json=body).status_code == 202
    open_run(page, "same-name")
    hrefs = [row.get_attribute("href") for row in page.locator(".lane-title .row").all()]
    assert hrefs == ["#/runs/same-name/layers/1", "#/runs/same-name/layers/2"]


@pytest.fixture
def dark_page(page):
    """A page for a person who prefers dark colours."""
    page.emulate_media(color_scheme="dark")
    yield page
    page.emulate_media(color_scheme="light")


def test_the_page_is_readable_in_the_dark(dark_page, dying):
    open_run(dark_page, "run1")
    assert dark_page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"


@pytest.mark.parametrize("width", [390, 768, 1400, 2560])
def test_no_width_makes_the_page_scroll_sideways(page, dying, width):
    page.set_viewport_size({"width": width, "height": 900})
    for view in ("runs", "runs/run1"):
        page.goto("about:blank")
        page.goto(f"/#/{view}")
        page.locator("tbody tr").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_policy_forbids_foreign_and_inline_scripts(api):
    policy = api.get("/").headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'" in policy
    assert api.get("/static/build/none.js").headers["content-type"] == "application/problem+json"


def test_files_of_this_build_are_kept_for_ever_and_those_of_others_are_checked(api):
    (address,) = re.findall(r'src="(static/[0-9a-f]+/app\.js)"', api.get("/").text)
    assert "immutable" in api.get(f"/{address}").headers["cache-control"]
    assert api.get("/static/another/app.js").headers["cache-control"] == "no-cache"


def test_charts_are_saved_as_a_picture(page, dying):
    page.goto("about:blank")
    page.goto("/#/runs/run1")
    page.locator(".timeline canvas").first.wait_for()
    page.get_by_text("Export").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Charts as PNG").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


def test_the_api_reference_loads_nothing_from_other_hosts(page):
    urls = []
    page.on("request", lambda request: urls.append(request.url))
    page.goto("/docs")
    page.locator("#operations-uploads-post_upload").wait_for()
    page.locator("#operations-alerts-list_alerts .opblock-summary-control").click()
    page.get_by_text("Needs a key of scope").first.wait_for()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".responses-table.live-responses-table").wait_for()
    assert {url.split("/")[2].split(":")[0] for url in urls if not url.startswith("data:")} == {"127.0.0.1"}
