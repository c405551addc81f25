"""What a notebook shows of a monitor, an alert and a report: small HTML without markup of others."""

from __future__ import annotations

from html.parser import HTMLParser

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from torch import nn

import relumine
from tests.helpers.hostile_names import HOSTILE_NAMES
from tests.helpers.notification_samples import alert

ALLOWED = {"div", "strong", "span", "table", "tr", "th", "td", "a"}
VOID_TEXT = "<script>alert(1)</script>"


class Outline(HTMLParser):
    """Collects the tags, attributes and text of a fragment."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def safe(html):
    """The outline of a fragment that holds nothing but text, tables and links of the web."""
    outline = Outline(html)
    assert outline.tags <= ALLOWED
    assert {name for name, _ in outline.attributes} <= {"style", "href", "target", "rel"}
    assert all(value.startswith(("http://", "https://")) for name, value in outline.attributes if name == "href")
    assert len(html) < 30_000
    return outline


@pytest.fixture
def watched(mlp, train, memory):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, every=1, name=VOID_TEXT) as monitor:
        train(model, optimizer, steps=10)
    return monitor


def test_a_monitor_shows_its_health_its_steps_and_its_page(watched):
    card = safe(watched._repr_html_())
    for part in (f"default/{VOID_TEXT}", "healthy", "10 of 10 steps sampled", watched.url):
        assert part in card.text
    assert repr(watched) == f"<Monitor default/{VOID_TEXT}: healthy {watched.url}>"


def test_a_monitor_lists_the_worst_open_alerts_first_and_not_all(watched, monkeypatch):
    alerts = [alert(id=f"x{n}", severity="warning", layer_id=n) for n in range(100)]
    alerts.append(alert(title="fc9 is dead", kind="dead", layer_id=200))
    monkeypatch.setattr(watched, "alerts", lambda: alerts)
    text = safe(watched._repr_html_()).text
    assert text.index("fc9 is dead") < text.index("warning")
    assert "and 81 more" in text


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_a_monitor_that_analyzes_nothing_shows_unknown(mode, mlp):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with relumine.watch(model, optimizer, mode=mode) as monitor:
        assert "unknown" in safe(monitor._repr_html_()).text
        assert "unknown" in repr(monitor)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_an_alert_shows_its_severity_its_message_and_its_fix(name):
    card = safe(alert(title=name, message=f"{name} {VOID_TEXT}", url="javascript:alert(1)")._repr_html_())
    assert VOID_TEXT in card.text
    assert "critical" in card.text
    assert "the last learning rate at which the layer was healthy" in card.text


def test_a_report_shows_its_findings_and_its_layers():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    card = safe(relumine.check(model, torch.randn(64, 4))._repr_html_())
    assert "flagged" in card.text
    assert "Layer 1 is born dead" in card.text


CELL = """
import torch, relumine
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = relumine.watch(model, optimizer, mode="offline", name="cell")
optimizer.step()
monitor
"""


def test_a_cell_that_ends_with_a_monitor_shows_its_card(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=300).execute()
    (result,) = [output for output in notebook.cells[0].outputs if output.output_type == "execute_result"]
    assert "default/cell" in safe(result["data"]["text/html"]).text
    assert result["data"]["text/plain"].startswith("<Monitor default/cell: unknown ")
