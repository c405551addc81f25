"""Charts, names and words have the room that they need, on a phone, on a desk and on a wide screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

LAYERS = 60
HEAT_MAP, LOSS = 2, 4
BROKEN_WORDS = """() => {
  const broken = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.parentElement.checkVisibility() || node.parentElement.closest("pre, .badge .icon, option")) continue;
    for (const word of node.data.matchAll(/[^\\s-]{2,20}/g)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const tops = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
      if (tops.size > 1) broken.push([word[0], node.parentElement.outerHTML.slice(0, 80)]);
    }
  }
  return broken;
}"""
OUTSIDE = """() => {
  const timeline = document.querySelector(".timeline").getBoundingClientRect();
  const lanes = [...document.querySelectorAll(".lane")].map((lane) => lane.getBoundingClientRect());
  const canvases = [...document.querySelectorAll(".lane canvas")].map((canvas) => canvas.getBoundingClientRect());
  return canvases.filter(({ left, right }) => left < timeline.left || right > timeline.right).length +
    lanes.filter(({ top }, index) => index > 0 && top < lanes[index - 1].bottom - 1).length;
}"""
LUMINANCE = """(names) => names.map((name) => {
  const colour = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const parts = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255);
  const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
})"""


@pytest.fixture
def sized(page):
    """A function that shows a view at a width."""

    def show(view, width):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto("about:blank")
        page.goto(f"/#/{view}")
        return page

    yield show
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 720})


@pytest.fixture(scope="module")
def sixty(api):
    """A run of 60 layers in modules of two levels, with learning rate and a loss of one spike."""
    layers = [
        {"layer_id": number, "name": f"encoder.stage{number % 4}.block{number}.act", "units": 2}
        for number in range(1, LAYERS + 1)
    ]
    records = []
    for step in (1, 11, 21, 31):
        common = {"first_step": step, "step": step, "n_examples": 64}
        records.append({"layer_id": 0, **common, "loss": 1e4 if step == 11 else 0.5, "learning_rate": 0.1})
        records += [{"layer_id": number, **common, "active": [30, 31]} for number in range(1, LAYERS + 1)]
    run = {"id": "sixty", "name": "sixty", "project": "vision"}
    body = {"run": run, "session": "s1", "seq": 1, "layers": layers, "records": records}
    assert api.post("/v1/uploads", json=body).status_code == 202


def test_charts_lie_in_their_card_below_each_other_after_the_window_has_changed(sized, sixty):
    page = sized("runs/sixty", 1400)
    page.locator(".timeline canvas").first.wait_for()
    for width in (2560, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"() => ({OUTSIDE})() === 0")
    title = page.locator(".lane-title").last
    expect(title).to_have_text("step")
    assert title.evaluate("node => node.scrollWidth <= node.clientWidth")


def test_each_of_sixty_layers_has_its_name_beside_its_row(sized, sixty):
    page = sized("runs/sixty", 1400)
    names = page.locator(".lane-title .row")
    expect(names).to_have_count(LAYERS)
    boxes = names.evaluate_all("nodes => nodes.map((node) => node.getBoundingClientRect())")
    assert all(below["top"] >= above["bottom"] - 0.5 for above, below in zip(boxes, boxes[1:], strict=False))
    heat_map = page.locator(".lane-plot").nth(HEAT_MAP).bounding_box()
    assert boxes[-1]["bottom"] <= heat_map["y"] + heat_map["height"] + 1


def test_a_loss_with_a_spike_is_read_on_a_logarithmic_axis_that_is_in_the_link(sized, sixty):
    page = sized("runs/sixty", 1400)
    page.get_by_label("log loss").check()
    expect(page.locator(".lane-title").nth(LOSS)).to_have_text("Loss (log)")
    assert "loss=log" in page.evaluate("location.hash")
    page.reload()
    expect(page.locator(".lane-title").nth(LOSS)).to_have_text("Loss (log)")


def test_a_logarithmic_axis_has_whole_numbers_at_its_lines(sized, sixty):
    page = sized("runs/sixty", 1400)
    page.locator(".timeline canvas").first.wait_for()
    module = page.evaluate("performance.getEntriesByType('resource').find((e) => e.name.includes('scale.js')).name")
    ticks = page.evaluate("async (address) => (await import(address)).logTicks(0.01, 0.06, 4)", module)
    assert ticks == pytest.approx([0.01, 0.02, 0.05])


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("view", ["runs", "runs/run1", "alerts", "settings/webhooks", "settings/projects"])
def test_no_word_is_broken(sized, sixty, dying, api, view, width):
    if not api.get("/v1/webhooks").json()["items"]:
        for url in ("https://hooks.slack.com/services/T/B/x", "https://example.com/api/v2/alerts"):
            assert api.post("/v1/webhooks", json={"url": url, "events": ["run.finished"]}).status_code == 201
    page = sized(view, width)
    page.locator("tbody tr, .card").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert page.evaluate(BROKEN_WORDS) == []


def test_a_wide_screen_is_used(sized, sixty):
    page = sized("runs", 2560)
    page.locator("tbody tr").first.wait_for()
    assert page.locator("main table").first.bounding_box()["width"] >= 0.9 * 2560
    started = page.locator("tbody tr").first.locator("td").last
    assert started.evaluate("node => node.querySelector('time').getClientRects().length") == 1


def test_a_phone_shows_what_matters_of_a_run_without_scrolling_sideways(sized, sixty):
    page = sized("runs?q=sixty", 390)
    row = page.locator("tbody tr")
    for text in ("healthy", "sixty", "running", "0 of 60", "31"):
        cell = row.locator("td:visible", has_text=text).first
        cell.wait_for()
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390, text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dead_is_further_from_healthy_than_dying_is(sized, sixty, scheme):
    page = sized("runs", 1400)
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function(f"() => document.documentElement.dataset.theme === '{scheme}'")
    healthy, dying, dead = page.evaluate(LUMINANCE, ["healthy", "dying", "dead"])
    assert abs(dead - healthy) > abs(dying - healthy) > 0.05
