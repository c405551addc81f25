"""The bodies of notifications, compared with golden files, and the limits of each receiver, whatever is in them.

The golden files contain every event in every format. To change a text, run
``python -m tests.contract.test_notifications``, which writes them again, and read the diff.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relumine.schemas.webhook import EVENTS, FORMATS
from relumine_server.webhooks.formats import render_body
from tests.helpers.notification_samples import (
    CASES,
    HOSTILE,
    RUN_URL,
    alert,
    many_alerts,
    notification,
    resolved,
    run_finished,
)

FOLDER = Path(__file__).parent / "golden" / "notifications"
ALERTMANAGER_API = "https://alertmanager.example/api/v2/alerts"
GOLDEN_FILES = [*((name, name, "") for name in FORMATS), ("alertmanager-api", "alertmanager", ALERTMANAGER_API)]
names = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=200)


def rendered(webhook_format, url=""):
    return {case: json.loads(render_body(webhook_format, sample, url=url)) for case, sample in CASES.items()}


@pytest.mark.parametrize(("file", "webhook_format", "url"), GOLDEN_FILES)
def test_every_event_is_rendered_as_in_the_golden_file(file, webhook_format, url):
    assert rendered(webhook_format, url) == json.loads((FOLDER / f"{file}.json").read_text())


def test_there_is_a_golden_case_of_every_event():
    assert {sample.event for sample in CASES.values()} == set(EVENTS)


def utf16_length(text):
    return len(text.encode("utf-16-le")) // 2


def fits_standard(document, text):
    assert set(document) == {"type", "timestamp", "data"}
    assert set(document["data"]) == {"run", "alerts", "total", "url", "summary", "webhook"}
    assert len(text.encode()) < 20_000


def fits_slack(document, text):
    assert len(text) <= 12_000
    assert len(document["blocks"]) <= 50
    for block in document["blocks"]:
        is_section = block["type"] == "section"
        for part in [block["text"]] if is_section else block["elements"]:
            assert 1 <= utf16_length(part["text"]) <= (3_000 if is_section else 2_000)
            assert has_no_foreign_markup(part["text"])
    assert has_no_foreign_markup(document["text"])


def has_no_foreign_markup(text):
    """Return True where only our own links and dates are in angle brackets."""
    rest = re.sub(r"<https://relumine\.example/[^<>|]*\|[^<>]*>|<!date\^\d+\^[^<>|]*\|[^<>]*>", "", text)
    return not re.search(r"[<>]", rest) and not re.search(r"&(?!amp;|lt;|gt;)", text)


def fits_discord(document, text):
    assert document["allowed_mentions"] == {"parse": []}
    (embed,) = document["embeds"]
    fields = embed["fields"]
    assert len(fields) <= 25
    assert 1 <= utf16_length(embed["title"]) <= 256
    assert 1 <= utf16_length(embed["description"]) <= 4_096
    assert all(1 <= utf16_length(field["name"]) <= 256 for field in fields)
    assert all(1 <= utf16_length(field["value"]) <= 1_024 for field in fields)
    texts = [embed["title"], embed["description"], *(field[part] for field in fields for part in ("name", "value"))]
    assert sum(map(utf16_length, texts)) <= 6_000
    for shown in texts:
        rest = re.sub(r"\[[\w ]+\]\(https://relumine\.example/[^\s()]*\)|<t:\d+:f>|\\[^A-Za-z0-9\s]", "", shown)
        assert not re.search(r"[*_~`|<>\[\]#@\\]|://", rest), shown


def fits_alertmanager(document, text):
    assert len(text.encode()) < 20_000
    assert document["version"] == "4"
    assert document["status"] in {"firing", "resolved"}
    assert document["alerts"]
    for item in document["alerts"]:
        assert re.fullmatch("[0-9a-f]{16}", item["fingerprint"])
        assert item["labels"]["alertname"].startswith("Relumine")
        assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) and value for name, value in item["labels"].items())
        assert document["commonLabels"].items() <= item["labels"].items()


FITS = {"standard": fits_standard, "slack": fits_slack, "discord": fits_discord, "alertmanager": fits_alertmanager}


@pytest.mark.parametrize("webhook_format", FORMATS)
@settings(max_examples=40)
@given(layer=names, project=names, name=names, count=st.integers(1, 40), long=st.booleans())
def test_no_name_breaks_a_format(webhook_format, layer, project, name, count, long):
    message = f"{project}/{name} · {layer} is dying (step 3). " + (HOSTILE * 30 if long else "Fix: lower it to 0.05.")
    texts = {"project": project, "run_name": name, "title": f"{layer} is dying", "message": message}
    text = render_body(webhook_format, notification("alert.firing", *many_alerts(count, **texts), total=count))
    FITS[webhook_format](json.loads(text), text)


@pytest.mark.parametrize("webhook_format", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_every_event_keeps_the_limits(webhook_format, case):
    text = render_body(webhook_format, CASES[case])
    FITS[webhook_format](json.loads(text), text)


@pytest.mark.parametrize("webhook_format", FORMATS)
@given(author=names, note=st.just("") | names, long=st.booleans())
@settings(max_examples=40)
def test_no_author_or_note_breaks_a_format(webhook_format, author, note, long):
    acknowledgement = {"author": author, "note": "\x01" * 5_000 if long else note, "at": "2026-11-23T14:04:00Z"}
    alerts = many_alerts(12, state="acknowledged", acknowledged=acknowledgement)
    text = render_body(webhook_format, notification("alert.acknowledged", *alerts))
    FITS[webhook_format](json.loads(text), text)


@pytest.mark.parametrize("webhook_format", FORMATS)
def test_a_thousand_dead_layers_fit(webhook_format):
    dead = [f"{HOSTILE}{number}" for number in range(1_000)]
    text = render_body(webhook_format, run_finished(dead_layers=dead, ended_alerts=many_alerts(20)))
    FITS[webhook_format](json.loads(text), text)


def test_the_most_severe_alerts_come_first_and_the_others_are_counted():
    alerts = [item.model_copy(update={"incident_id": item.id}) for item in many_alerts(40)]
    sample = notification("alert.firing", *alerts, total=40)
    bodies = {webhook_format: render_body(webhook_format, sample) for webhook_format in FORMATS}
    severities = [item["severity"] for item in json.loads(bodies["standard"])["data"]["alerts"]]
    assert severities[:13] == (["critical"] * 13)[: len(severities)]
    assert len(severities) > 5
    document = json.loads(bodies["alertmanager"])
    assert document["truncatedAlerts"] == 40 - len(document["alerts"]) > 0
    assert f"<{RUN_URL}|and 30 more>" in bodies["slack"]
    assert "and 30 more" in bodies["discord"]


@pytest.mark.parametrize("webhook_format", ["slack", "discord"])
def test_a_person_reads_what_where_since_when_why_what_to_do_and_the_link(webhook_format):
    text = render_body(webhook_format, CASES["firing, critical"])
    for part in ("digits/baseline", "fc2 is dying", "since step 4,410", "Likely cause", "Fix: lower it to", RUN_URL):
        assert part in text


@pytest.mark.parametrize("webhook_format", ["slack", "discord"])
def test_a_message_is_shown_without_the_severity_run_and_title_that_stand_above_it(webhook_format):
    message = "CRITICAL digits/baseline · fc2 is dying: each optimizer step pushes its units."
    text = render_body(webhook_format, notification("alert.firing", alert(message=message)))
    assert "Each optimizer step pushes its units." in text
    assert "CRITICAL" not in text


def test_an_alert_has_one_identity_for_an_alertmanager_when_its_severity_rises_and_when_it_ends():
    samples = (alert(severity="warning"), alert(), resolved())
    bodies = [json.loads(render_body("alertmanager", notification("alert.firing", sample))) for sample in samples]
    assert len({body["alerts"][0]["fingerprint"] for body in bodies}) == 1
    resolution = notification("alert.resolved", resolved())
    posted = json.loads(render_body("alertmanager", resolution, url=ALERTMANAGER_API))
    assert [item["labels"]["severity"] for item in posted] == ["critical", "warning"]  # there labels are the identity
    assert {item["endsAt"] for item in posted} == {"2026-11-23T14:05:00Z"}


def test_a_notification_about_alerts_needs_an_alert_and_a_format_must_exist():
    with pytest.raises(ValueError, match="needs one"):
        render_body("slack", notification("alert.firing"))
    with pytest.raises(ValueError, match="no format"):
        render_body("pigeon", notification("alert.firing", alert()))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, webhook_format, url in GOLDEN_FILES:
        document = json.dumps(rendered(webhook_format, url), ensure_ascii=False, indent=1)
        (FOLDER / f"{file}.json").write_text(f"{document}\n")
