"""The page of one alert: its life, the chart of its onset, its evidence in words, how to fix it, what was done."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.server.ui.conftest import UNITS, series


@pytest.fixture
def alert(alerts_of):
    """A function that uploads a run in which a layer dies, shows its alert and returns it."""
    return lambda run_id, name="baseline": alerts_of(run_id, name)[0]


def drawn(page):
    """Wait until the chart is drawn, and return its lanes."""
    page.locator(".timeline canvas").first.wait_for()
    return page.locator(".timeline .lane-title").all_text_contents()


def test_the_page_says_what_and_where_and_how_far_it_has_gone(watch, alert):
    raised = alert("where")
    watch.show(f"alerts/{raised['id']}")
    page = watch.tab
    expect(page.get_by_role("heading", level=1)).to_have_text(raised["title"])
    expect(page.locator(".crumbs")).to_contain_text("digits / baseline / <b>act1</b>")
    stages = page.get_by_role("list", name="Life of the alert").get_by_role("listitem")
    expect(stages.first).to_contain_text(f"step {raised['opened_step']}")
    expect(stages.last).to_contain_text("still open")


def test_the_onset_is_a_chart_of_the_layer_and_the_learning_rate(watch, alert):
    raised = alert("onset")
    watch.show(f"alerts/{raised['id']}")
    titles = " ".join(drawn(watch.tab))
    assert all(title in titles for title in ("Lost units", "Active rate", "Learning rate", "Loss"))
    expect(watch.tab.locator(".event-legend")).to_contain_text(f"opened: step {raised['opened_step']}")


def test_a_loss_that_was_logged_instead_of_recorded_is_drawn(watch, api):
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    records = [{**record, "loss": None} if "loss" in record else record for record in series()]
    metrics = [{"step": 10 * number + 1, "name": "loss", "value": 1.5} for number in range(40)]
    run = {"id": "logged", "project": "digits"}
    body = {"run": run, "session": "s1", "seq": 1, "layers": layers, "records": records, "metrics": metrics}
    raised = api.post("/v1/uploads", json=body).json()["alerts"][0]
    watch.show(f"alerts/{raised['id']}")
    assert "Loss" in drawn(watch.tab)


def test_the_chart_shows_the_whole_run_and_the_url_keeps_that(watch, alert):
    raised = alert("range")
    watch.show(f"alerts/{raised['id']}")
    drawn(watch.tab)
    with watch.tab.expect_response(lambda answer: "/series" in answer.url and "from_step" not in answer.url):
        watch.tab.get_by_role("button", name="Whole run").click()
    expect(watch.tab).to_have_url(re.compile("range=run"))


def test_evidence_is_named_in_words_with_an_explanation_each(watch, alert):
    raised = alert("words")
    watch.show(f"alerts/{raised['id']}")
    page = watch.tab
    units = page.locator("dl.evidence div", has=page.locator("dt", has_text="Inactive units"))
    evidence = raised["evidence"]
    expect(units).to_contain_text(f"{evidence['units_silent']} of {evidence['units']}")
    assert "all units of the layer" in units.locator("dt").get_attribute("title")
    expect(units.locator("small")).to_be_hidden()
    page.get_by_role("button", name="Explain the numbers").click()
    expect(units.locator("small")).to_be_visible()
    expect(page.locator(".alert-evidence pre")).to_be_hidden()
    page.locator("summary", has_text="All values as JSON").click()
    expect(page.locator(".alert-evidence pre")).to_contain_text('"units_silent"')


def test_explanations_and_folded_values_stay_open_when_the_evidence_changes(watch, api):
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    records = list(series())
    body = {"run": {"id": "growing", "project": "digits"}, "session": "s1", "layers": layers}
    half = next(number for number, record in enumerate(records) if record["step"] == 251)
    raised = api.post("/v1/uploads", json={**body, "seq": 1, "records": records[:half]}).json()["alerts"][0]
    watch.show(f"alerts/{raised['id']}")
    watch.tab.get_by_role("button", name="Explain the numbers").click()
    watch.tab.locator("summary", has_text="All values as JSON").click()
    assert api.post("/v1/uploads", json={**body, "seq": 2, "records": records[half:]}).status_code == 202
    now = api.get(f"/v1/alerts/{raised['id']}").json()["evidence"]
    assert now != raised["evidence"]
    expect(watch.tab.locator(".alert-evidence pre")).to_contain_text(f'"n": {now["n"]}', timeout=30_000)
    expect(watch.tab.locator("dl.evidence small").first).to_be_visible()
    expect(watch.tab.get_by_role("button", name="Explain the numbers")).to_have_attribute("aria-pressed", "true")


def test_the_first_remedy_has_its_code_open_to_copy(watch, alert):
    raised = alert("fix")
    watch.show(f"alerts/{raised['id']}")
    remedies = watch.tab.locator(".remedies li")
    expect(remedies.first.locator("pre")).to_have_text(raised["remedies"][0]["code"])
    expect(remedies.first.get_by_role("button", name="Copy the code")).to_be_visible()
    expect(remedies).to_have_count(len(raised["remedies"]) + 1)  # and how the training does it by itself


def test_an_alert_is_acknowledged_by_keyboard_and_then_resolved(watch, alert, api):
    raised = alert("keys")
    watch.show(f"alerts/{raised['id']}")
    page = watch.tab
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Note").fill("on it")
    page.get_by_role("button", name="Acknowledge").press("Enter")
    expect(page.locator(".lifecycle")).to_contain_text("by Ada, now: on it")
    page.get_by_label("Note").fill("lowered the rate")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator(".lifecycle")).to_contain_text("closed by Ada: lowered the rate")
    expect(page.locator(".alert-events tbody tr").last).to_contain_text("resolved by user")
    expect(page.get_by_role("button", name="Resolve")).to_have_count(0)
    assert api.get(f"/v1/alerts/{raised['id']}").json()["outcome"] == "closed"


def test_this_alert_alone_is_silenced_with_its_special_characters_as_text(watch, alert, api):
    raised = alert("silenced")
    watch.show(f"alerts/{raised['id']}")
    watch.tab.get_by_label("Your name").fill("Ada")
    watch.tab.get_by_role("button", name="Silence", exact=True).click()
    expect(watch.tab.get_by_text("A silence matches this alert")).to_be_visible()
    (silence,) = api.get("/v1/silences").json()["items"]
    assert silence["matchers"] == {"run_id": "silenced", "kind": raised["kind"], "layer": "<b>act1</b>"}
    assert silence["matched"] == 1
    api.delete(f"/v1/silences/{silence['silence_id']}")


def test_what_is_typed_survives_a_refresh(watch, alert):
    raised = alert("typed")
    watch.show(f"alerts/{raised['id']}")
    watch.tab.get_by_label("Note").fill("half a sentence")
    watch.tab.get_by_role("heading", level=1).click()
    with watch.tab.expect_response(re.compile(rf"/v1/alerts/{raised['id']}$"), timeout=30_000):
        pass
    expect(watch.tab.get_by_label("Note")).to_have_value("half a sentence")


def test_a_second_person_sees_who_has_the_alert(lenient_watch, alert, api):
    raised = alert("taken")
    lenient_watch.show(f"alerts/{raised['id']}")
    lenient_watch.tab.get_by_label("Your name").fill("Bob")
    assert api.post(f"/v1/alerts/{raised['id']}/acknowledge", json={"author": "Ada"}).status_code == 200
    lenient_watch.tab.get_by_role("button", name="Acknowledge").click()
    expect(lenient_watch.tab.locator(".alert-form [role=alert]")).to_contain_text("Ada")


def test_what_was_done_and_what_became_of_it_is_listed(watch, alert, api):
    raised = alert("done")
    metric = {"step": raised["opened_step"], "name": f"remedy/{raised['id']}/lower_learning_rate", "value": 0.1}
    body = {"run": {"id": "done", "project": "digits"}, "session": "s1", "seq": 2, "metrics": [metric]}
    assert api.post("/v1/uploads", json=body).status_code == 202
    watch.show(f"alerts/{raised['id']}")
    effects = watch.tab.locator(".alert-effects tbody tr")
    expect(effects).to_contain_text("lower learning rate")
    expect(watch.tab.locator(".event-legend")).to_contain_text("lower learning rate: step")


def test_an_alert_that_does_not_exist_is_not_found(lenient_watch):
    lenient_watch.show("alerts/nothing.1.dying")
    expect(lenient_watch.tab.get_by_role("heading", name="Not found")).to_be_visible()


def test_a_long_name_of_markup_breaks_its_lines_on_a_phone(watch, alert):
    raised = alert("phone", "<script>window.pwned=1</script>" + "w" * 165)
    watch.tab.set_viewport_size({"width": 390, "height": 844})
    try:
        watch.show(f"alerts/{raised['id']}")
        drawn(watch.tab)
        expect(watch.tab.locator(".crumbs")).to_contain_text("<script>window.pwned=1</script>www")
        assert watch.tab.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        watch.tab.set_viewport_size({"width": 1280, "height": 720})
