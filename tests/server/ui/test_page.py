"""The dashboard in a real browser, with a run in which a layer dies."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect


def test_without_runs_the_page_shows_how_to_start_one(page):
    page.goto("/")
    page.get_by_text("There are no runs yet").wait_for()
    assert "relumine.watch(model, optimizer" in page.locator("pre").inner_text()


def test_a_run_is_listed_and_opens_with_its_alerts(page, dying):
    page.goto("/")
    page.get_by_role("link", name="baseline").click()
    page.get_by_role("heading", name="baseline").wait_for()
    worst = next(alert for alert in dying if alert["kind"] == "dead")
    card = page.locator(f'[data-alert="{worst["id"]}"]')
    assert worst["message"] in card.inner_text()
    assert "lower_learning_rate" in card.inner_text()
    assert "relumine.remedies.lower_learning_rate(optimizer, " in card.inner_text()


@pytest.fixture(scope="module")
def sixty_dead_layers(api):
    """A run of 60 layers that were all born dead, and its alerts."""
    layers = [{"layer_id": number, "name": f"fc{number}", "units": 8} for number in range(1, 61)]
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
    page.goto("/#/runs/sixty")
    page.get_by_text("59 more alerts with this cause").click()
    assert page.locator("li.card").count() == 1
    assert page.get_by_role("link", name="fc60 was born dead").is_visible()


def test_the_link_of_a_message_opens_its_alert(page, sixty_dead_layers):
    alert = next(alert for alert in sixty_dead_layers if alert["layer"] == "fc60")
    page.goto("/#" + alert["url"].partition("#")[2])  # the server knows no port of its own here
    target = page.locator(".target")
    target.wait_for()
    assert target.get_attribute("data-alert") == alert["id"]
    assert page.evaluate("document.activeElement.id") == f"alert-{alert['id']}"
    expect(target).to_be_in_viewport()


def test_the_link_of_an_alert_that_the_page_of_its_run_does_not_list_opens_the_alert(page, dying, api):
    api.post("/v1/uploads", json={"run": {"id": "empty"}, "session": "s1", "seq": 1}).raise_for_status()
    page.goto(f"/#/runs/empty?alert={dying[0]['id']}")
    page.get_by_role("heading", name=dying[0]["title"]).wait_for()
    assert page.evaluate("location.hash") == f"#/alerts/{dying[0]['id']}"


def test_the_heat_map_and_the_learning_rate_are_drawn(page, dying):
    page.goto("/#/runs/run1")
    page.locator("#heat-map .heatmaplayer image").first.wait_for()
    page.locator("#learning-rate .scatterlayer path.js-line").first.wait_for(state="attached")
    page.locator("#loss .scatterlayer path.js-line").first.wait_for(state="attached")
    assert page.locator("#heat-map").get_attribute("aria-label").startswith("Heat map of 1 layers over 40 steps")


def test_layers_of_one_name_have_a_row_each(page, api):
    layers = [{"layer_id": number, "name": "relu", "units": 2} for number in (1, 2)]
    records = [{"layer_id": number, "first_step": 1, "step": 1, "n_examples": 8, "active": [3, 4]} for number in (1, 2)]
    body = {"run": {"id": "same-name"}, "session": "s1", "seq": 1, "layers": layers, "records": records}
    assert api.post("/v1/uploads", json=body).status_code == 202
    page.goto("/#/runs/same-name")
    page.locator("#heat-map .heatmaplayer image").first.wait_for()
    labels = page.locator("#heat-map .ytick text").all_text_contents()
    assert sorted(labels) == ["relu (layer 1)", "relu (layer 2)"]


def test_a_layer_opens_with_every_unit(page, dying):
    page.goto("/#/runs/run1")
    page.locator("#layer-1").click()
    page.locator("#layer-units .barlayer .point").first.wait_for(state="attached")
    assert page.locator("#layer-units .barlayer .point").count() == 24
    assert "24 units, 18 of them never active" in page.locator("#layer-units").get_attribute("aria-label")


def test_names_are_text_and_never_markup(page, dying):
    page.goto("/#/runs/run1")
    page.locator("#layer-1").wait_for()
    assert page.locator("#layer-1").inner_text() == "<b>act1</b>"


def test_an_alert_is_acknowledged_by_keyboard(page, dying, api):
    worst = next(alert for alert in dying if alert["kind"] == "dead")
    page.goto(f"/#/alerts/{worst['id']}")
    page.get_by_label("Your name").focus()
    page.keyboard.type("Ada")
    page.keyboard.press("Tab")
    page.keyboard.type("on it")
    page.keyboard.press("Enter")
    page.locator("header .tag.acknowledged").wait_for()
    assert api.get(f"/v1/alerts/{worst['id']}").json()["state"] == "acknowledged"


def test_an_alert_is_silenced_and_the_silence_ended(page, api, alerts_of):
    alert = next(alert for alert in alerts_of("run2") if alert["kind"] == "dead")
    page.goto(f"/#/alerts/{alert['id']}")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Note").fill("a sweep")
    page.get_by_label("For").select_option("8 hours")
    page.get_by_role("button", name="Silence").click()
    page.locator(".tag.silenced").wait_for()
    assert page.get_by_role("button", name="Silence").count() == 0
    (silence,) = api.get("/v1/silences").json()["items"]
    assert (silence["author"], silence["comment"], silence["matched"]) == ("Ada", "a sweep", 1)
    assert silence["matchers"] == {"run_id": "run2", "kind": "dead", "layer": "<b>act1</b>"}
    page.goto("/#/alerts")
    page.get_by_role("button", name="End now").click()
    page.get_by_role("heading", name="Silences").wait_for(state="detached")
    assert api.get(f"/v1/alerts/{alert['id']}").json()["silenced_by"] is None


def test_an_alert_is_resolved_and_its_events_shown(page, api, alerts_of):
    alert = next(alert for alert in alerts_of("run3") if alert["kind"] == "dead")
    page.goto(f"/#/alerts/{alert['id']}")
    page.get_by_label("Your name").fill("")
    page.get_by_role("button", name="Resolve").click()
    assert api.get(f"/v1/alerts/{alert['id']}").json()["state"] == "firing"  # without a name nothing happens
    page.get_by_label("Your name").fill("Grace")
    page.get_by_label("Note").fill("restarted")
    page.get_by_role("button", name="Resolve").click()
    page.locator("header .tag.resolved").wait_for()
    rows = page.locator("table tbody tr")
    events = [row.split("\t")[2:4] for row in rows.all_inner_texts()]
    assert events == [["raised", "firing"], ["escalated", "firing"], ["resolved by user", "resolved"]]
    assert "Grace: restarted" in rows.last.inner_text()
    assert page.get_by_role("button", name="Resolve").count() == 0


def test_an_alert_says_what_was_done_about_it_and_what_became_of_that(page, api, alerts_of):
    alert = next(alert for alert in alerts_of("run5") if alert["kind"] == "dead")
    page.goto(f"/#/alerts/{alert['id']}")
    page.get_by_role("heading", name="Events").wait_for()
    assert page.get_by_role("heading", name="Applied remedies").count() == 0
    metric = {"step": 311, "name": f"remedy/{alert['id']}/lower_learning_rate", "value": 0.1}
    body = {"run": {"id": "run5", "project": "digits"}, "session": "s1", "seq": 2, "layers": [], "records": []}
    assert api.post("/v1/uploads", json=body | {"metrics": [metric]}).status_code == 202
    page.reload()
    page.get_by_role("heading", name="Applied remedies").wait_for()
    row = page.locator("table").filter(has_text="Remedies that the training applied").locator("tbody tr").inner_text()
    step, action, outcome, share_before, share_after, explanation = row.split("\t")
    assert (step, action, outcome, share_before, share_after) == (
        "311",
        "lower learning rate",
        "ineffective",
        "75 %",
        "75 %",
    )
    assert explanation == "75 % of the units dead at step 391, 8 sampled steps since"


def test_a_second_person_sees_who_has_acknowledged_the_alert(lenient_watch, api, alerts_of):
    page = lenient_watch.tab  # the browser logs a 409 as an error
    alert = next(alert for alert in alerts_of("run4") if alert["kind"] == "dead")
    page.goto(f"/#/alerts/{alert['id']}")
    page.get_by_label("Your name").fill("Grace")
    note = {"author": "Ada", "note": "on it"}
    assert api.post(f"/v1/alerts/{alert['id']}/acknowledge", json=note).status_code == 200
    page.get_by_role("button", name="Acknowledge").click()
    page.get_by_role("alert").get_by_text("Ada has it since").wait_for()


def test_alerts_webhooks_and_unknown_pages_show(page, dying):
    page.goto("/#/alerts")
    page.locator("[data-alert]").first.wait_for()
    page.goto("/#/webhooks")
    page.get_by_text("There are no webhooks yet").wait_for()
    page.goto("/#/nowhere")
    page.get_by_text("Page not found").wait_for()


@pytest.fixture
def dark_page(page):
    """A page for a person who prefers dark colours."""
    page.emulate_media(color_scheme="dark")
    yield page
    page.emulate_media(color_scheme="light")


def test_the_page_is_readable_in_the_dark(dark_page, dying):
    dark_page.goto("/#/runs/run1")
    dark_page.get_by_role("heading", name="baseline").wait_for()
    assert dark_page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 31)"


def test_the_policy_forbids_foreign_and_inline_scripts(api):
    policy = api.get("/").headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'" in policy
    assert api.get("/static/none.js").headers["content-type"] == "application/problem+json"


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
