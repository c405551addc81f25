"""What receivers are sent, to the letter, and that no name and no number of alerts breaks a reader's limits.

The golden files show every event in every format. A change of words is made on purpose:
``PYTHONPATH=tests/support python tests/contract/test_notifications.py`` writes them anew, and the diff is read.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from news import CASES, HOSTILE, RUN_URL, alert, ended, many, of, resolved

from relumine_server.webhooks.payload import FORMATS, body

FOLDER = Path(__file__).parent / "golden" / "notifications"
OWN_API = "https://alertmanager.example/api/v2/alerts"
WRITTEN = [*((form, form, "") for form in FORMATS), ("alertmanager-api", "alertmanager", OWN_API)]
names = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=200)


def sent(form, url=""):
    return {case: json.loads(body(form, news, url=url)) for case, news in CASES.items()}


@pytest.mark.parametrize(("file", "form", "url"), WRITTEN)
def test_every_event_reads_as_it_did(file, form, url):
    assert sent(form, url) == json.loads((FOLDER / f"{file}.json").read_text())


def units(text):
    return len(text.encode("utf-16-le")) // 2


def fits_standard(document, text):
    assert set(document) == {"type", "timestamp", "data"}
    assert set(document["data"]) == {"run", "alerts", "total", "url", "summary", "webhook"}
    assert len(text.encode()) < 20_000


def fits_slack(document, text):
    assert len(text) <= 12_000
    assert len(document["blocks"]) <= 50
    for block in document["blocks"]:
        for part in [block["text"]] if block["type"] == "section" else block["elements"]:
            assert 1 <= units(part["text"]) <= (3_000 if block["type"] == "section" else 2_000)
            assert only_own_markup(part["text"])
    assert only_own_markup(document["text"])


def only_own_markup(text):
    """Nothing but our links and dates is left in angle brackets."""
    bare = re.sub(r"<https://relumine\.example/[^<>|]*\|[^<>]*>|<!date\^\d+\^[^<>|]*\|[^<>]*>", "", text)
    return not re.search(r"[<>]", bare) and not re.search(r"&(?!amp;|lt;|gt;)", text)


def fits_discord(document, text):
    assert document["allowed_mentions"] == {"parse": []}
    (embed,) = document["embeds"]
    fields = embed["fields"]
    assert len(fields) <= 25
    assert 1 <= units(embed["title"]) <= 256
    assert 1 <= units(embed["description"]) <= 4_096
    assert all(1 <= units(f["name"]) <= 256 and 1 <= units(f["value"]) <= 1_024 for f in fields)
    texts = [embed["title"], embed["description"], *(f[part] for f in fields for part in ("name", "value"))]
    assert sum(map(units, texts)) <= 6_000
    for said in texts:
        bare = re.sub(r"\[[\w ]+\]\(https://relumine\.example/[^\s()]*\)|<t:\d+:f>|\\[^A-Za-z0-9\s]", "", said)
        assert not re.search(r"[*_~`|<>\[\]#@\\]|://", bare), said


def fits_alertmanager(document, text):
    assert len(text.encode()) < 20_000
    assert document["version"] == "4"
    assert document["status"] in {"firing", "resolved"}
    assert document["alerts"]
    for one in document["alerts"]:
        assert re.fullmatch("[0-9a-f]{16}", one["fingerprint"])
        assert one["labels"]["alertname"].startswith("Relumine")
        assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) and value for name, value in one["labels"].items())
        assert document["commonLabels"].items() <= one["labels"].items()


FITS = {"standard": fits_standard, "slack": fits_slack, "discord": fits_discord, "alertmanager": fits_alertmanager}


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40)
@given(layer=names, project=names, name=names, count=st.integers(1, 40), long=st.booleans())
def test_no_name_breaks_a_format(form, layer, project, name, count, long):
    message = f"{project}/{name} · {layer} is dying (step 3). " + (HOSTILE * 30 if long else "Do: lr ≤ 0.05.")
    said = {"project": project, "run_name": name, "title": f"{layer} is dying", "message": message}
    text = body(form, of("alert.firing", *many(count, **said), total=count))
    FITS[form](json.loads(text), text)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_every_event_keeps_to_the_limits(form, case):
    text = body(form, CASES[case])
    FITS[form](json.loads(text), text)


@pytest.mark.parametrize("form", FORMATS)
@given(author=names, note=st.just("") | names, long=st.booleans())
@settings(max_examples=40)
def test_nothing_that_a_person_wrote_breaks_a_format(form, author, note, long):
    who = {"author": author, "note": "\x01" * 5_000 if long else note, "at": "2026-11-23T14:04:00Z"}
    text = body(form, of("alert.acknowledged", *many(12, state="acknowledged", acknowledged=who)))
    FITS[form](json.loads(text), text)


@pytest.mark.parametrize("form", FORMATS)
def test_a_thousand_lost_layers_fit(form):
    lost = [f"{HOSTILE}{n}" for n in range(1_000)]
    text = body(form, ended(lost=lost, worst=many(20)))
    FITS[form](json.loads(text), text)


def test_the_worst_come_first_and_the_rest_is_counted():
    news = of("alert.firing", *many(40), total=40)
    told = {form: body(form, news) for form in FORMATS}
    assert [a["severity"] for a in json.loads(told["standard"])["data"]["alerts"]][:13] == ["critical"] * 13
    manager = json.loads(told["alertmanager"])
    assert manager["truncatedAlerts"] == 40 - len(manager["alerts"]) > 0
    assert f"<{RUN_URL}|and 30 more>" in told["slack"]
    assert "and 30 more" in told["discord"]


@pytest.mark.parametrize("form", ["slack", "discord"])
def test_a_person_is_told_what_where_since_when_why_what_to_do_and_the_link(form):
    text = body(form, CASES["firing, critical"])
    for said in ("digits/baseline", "fc2 is dying", "since step 4,410", "Likely cause", "Do: lr ≤ 0.05", RUN_URL):
        assert said in text


def test_an_alert_is_the_same_one_for_an_alertmanager_when_it_grows_worse_and_ends():
    milder, worse, over = alert(severity="warning"), alert(), resolved()
    news = [json.loads(body("alertmanager", of("alert.firing", one)))["alerts"][0] for one in (milder, worse, over)]
    assert len({one["fingerprint"] for one in news}) == 1
    posted = json.loads(body("alertmanager", of("alert.resolved", over), url=OWN_API))
    assert [one["labels"]["severity"] for one in posted] == ["critical", "warning"]  # there labels are the identity
    assert {one["endsAt"] for one in posted} == {"2026-11-23T14:05:00Z"}


def test_news_of_alerts_needs_one():
    with pytest.raises(ValueError, match="needs one"):
        body("slack", of("alert.firing"))
    with pytest.raises(ValueError, match="no format"):
        body("pigeon", of("alert.firing", alert()))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, form, url in WRITTEN:
        (FOLDER / f"{file}.json").write_text(json.dumps(sent(form, url), ensure_ascii=False, indent=1) + "\n")
