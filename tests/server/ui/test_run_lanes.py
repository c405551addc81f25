"""The lanes of a run below its heat map: jumps of the learning rate, and the kill ratio of the worst layer."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

LOSS, KILL_RATIO = 4, 5
FIRST, LAST, JUMP = 1, 391, 201
SHIFTS = {1: -0.1, 2: -0.5}


@pytest.fixture(scope="module")
def measured(api):
    """A run of two layers whose units are pushed down, the second one more, by a rate that slowly rises."""
    layers = [{"layer_id": layer, "name": f"fc{layer}", "units": 4} for layer in SHIFTS]
    records = []
    for step in range(1, 41):
        span = {"first_step": step, "step": step, "n_examples": 64}
        records.append({"layer_id": 0, **span, "loss": 1.0, "learning_rate": 0.1 * 1.05**step})
        for layer, shift in SHIFTS.items():
            units = {"max": [1.0] * 4, "var": [1.0] * 4, "update_shift": [shift] * 4}
            records.append({"layer_id": layer, **span, "active": [30] * 4, **units})
    run = {"id": "measured", "name": "measured"}
    body = {"run": run, "session": "s1", "seq": 1, "layers": layers, "records": records}
    response = api.post("/v1/uploads", json=body)
    assert response.status_code == 202, response.text


def open_run(page, run_id):
    page.goto("about:blank")
    page.goto(f"/#/runs/{run_id}")
    page.locator(".timeline canvas").first.wait_for()


def hover(page, lane, share):
    box = page.locator(".lane-plot canvas").nth(lane).bounding_box()
    page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def test_a_jump_of_the_learning_rate_is_a_line_in_the_loss_that_names_both_rates(page, dying):
    open_run(page, "run1")
    hover(page, LOSS, (JUMP - FIRST) / (LAST - FIRST))
    expect(page.locator(".timeline .tooltip")).to_have_text(
        "step 201: loss 1\nlearning rate 0.1 → 1 at step 201", use_inner_text=True
    )
    hover(page, LOSS, 0.25)
    expect(page.locator(".timeline .tooltip")).not_to_contain_text("learning rate")


def test_a_rate_that_changes_slowly_has_no_line_however_far_it_comes(page, measured):
    open_run(page, "measured")
    for share in (0.2, 0.4, 0.6, 0.8):
        hover(page, LOSS, share)
        expect(page.locator(".timeline .tooltip")).not_to_contain_text("learning rate")


def test_the_largest_jumps_of_a_rate_that_jumps_all_the_time_are_kept_in_the_order_of_steps(page, dying):
    open_run(page, "run1")
    find = "performance.getEntriesByType('resource').find((e) => e.name.includes('rate_changes.js')).name"
    changes = page.evaluate(
        """async (address) => {
          const steps = [...Array(200).keys()];
          const rates = steps.map((step) => (step % 2 ? 1 : 0.3 / (1 + step)));
          return (await import(address)).rateChanges([...steps, 200, 201], [...rates, null, 0]);
        }""",
        page.evaluate(find),
    )
    steps = [change["step"] for change in changes]
    assert len(steps) == 30
    assert steps == sorted(steps)
    assert min(steps) > 150


def test_the_kill_ratio_of_the_worst_layer_has_a_lane(page, api, measured, dying):
    trace = api.get("/v1/runs/measured/overview").json()["run_trace"]
    assert trace["kill_ratio"][-1] == pytest.approx(0.5)
    open_run(page, "measured")
    expect(page.locator(".lane-title").nth(KILL_RATIO)).to_have_text("Kill ratio, worst layer")
    hover(page, KILL_RATIO, 0.9)
    expect(page.locator(".timeline .tooltip")).to_contain_text("kill ratio, worst layer 0.5")
    open_run(page, "run1")  # its records have no shifts
    expect(page.locator(".lane-title", has_text="Kill ratio")).to_have_count(0)


def test_the_kill_ratio_of_a_dead_layer_does_not_stretch_its_axis(page, measured):
    open_run(page, "measured")
    find = "performance.getEntriesByType('resource').find((e) => e.name.includes('/run/lanes.js')).name"
    title = page.evaluate(
        """async (address) => {
          const { killRatioLane } = await import(address);
          return killRatioLane({ step: [1, 2, 3], kill_ratio: [0.01, 1e-9, 0] }).title;
        }""",
        page.evaluate(find),
    )
    assert title == "Kill ratio, worst layer"  # no logarithmic axis
