"""The report of ``check`` as one HTML page that a strict content security policy accepts: no scripts, no styles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from relumine._runtime.text import plural
from relumine.schemas import notebook

if TYPE_CHECKING:
    from relumine._analysis.report import LayerCheck, Report
    from relumine._analysis.risk import Risk

POLICY = "default-src 'none'"
LAYER_COLUMNS = ("layer", "activation", "after", "units", "inactive", "examples", "split", "not known")
RISK_COLUMNS = ("layers", "widths", "initialization", "bound", "estimate", "drawn", "inputs")


def page(report: Report) -> str:
    """Return the whole page; every name is escaped."""
    status = "flagged" if report.findings else "nothing to change"
    body = [f"<h1>relumine check: {status}</h1>", f"<p>{report.units:,} units that can die.</p>"]
    body += _list("Findings", [finding.text for finding in report.findings])
    body += _list("Hints", [hint.text for hint in report.hints])
    body += _list("Never used", report.unused)
    body += _table("Layers", LAYER_COLUMNS, [_layer_cells(layer) for layer in report.layers])
    body += _table("Risk of being born dead, by chain of layers", RISK_COLUMNS, [_risk_cells(r) for r in report.risks])
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "<title>relumine check</title>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def notebook_card(report: Report) -> str:
    """Return the findings, the hints and the layers as a card for notebooks."""
    lines = [f"{plural(report.units, 'unit')} that can die."]
    lines += [finding.text for finding in report.findings]
    lines += [hint.text for hint in report.hints]
    lines += [f"{name}: never used" for name in report.unused]
    rows = [[notebook.text(cell) for cell in _layer_cells(layer)] for layer in report.layers]
    word = "flagged" if report.findings else "passed"
    return notebook.card("relumine check", word, lines, notebook.table(LAYER_COLUMNS, rows))


def _layer_cells(layer: LayerCheck) -> tuple[str, ...]:
    if layer.inactive is None:
        inactive = "cannot die"
    elif not layer.finite:
        inactive = "not finite"
    else:
        inactive = f"{layer.inactive:,}"
    return (
        layer.name,
        layer.activation,
        layer.producer or "–",
        f"{layer.units:,}",
        inactive,
        f"{layer.examples:,}",
        layer.split,
        ", ".join(layer.missing),
    )


def _risk_cells(risk: Risk) -> tuple[str, ...]:
    estimate = "–"
    if risk.fraction is not None:
        estimate = f"{risk.fraction:.2%} ± {risk.standard_error or 0.0:.2%}"
    return (
        " ".join(risk.layers),
        " ".join(str(width) for width in risk.widths),
        risk.initialization,
        f"{risk.upper_bound:.3%}",
        estimate,
        f"{risk.draws:,}",
        f"{risk.inputs:,}",
    )


def _list(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [f"<h2>{title}</h2>", "<ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]


def _table(title: str, columns: Iterable[str], rows: Sequence[Iterable[str]]) -> list[str]:
    if not rows:
        return []
    body = [_row("td", row) for row in rows]
    return [f"<h2>{title}</h2>", '<table border="1">', _row("th", columns), *body, "</table>"]


def _row(cell: str, values: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(value)}</{cell}>" for value in values) + "</tr>"
