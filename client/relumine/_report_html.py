"""A report of ``check`` as one HTML page: nothing is loaded, no script, no style that a strict policy would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relumine._report import LayerCheck, Report
    from relumine._risk import Risk

POLICY = "default-src 'none'"


def page(report: Report) -> str:
    """The whole page; every name is escaped."""
    flagged = "flagged" if report.findings else "nothing to change"
    body = [f"<h1>relumine check: {flagged}</h1>", f"<p>{report.units:,} units that can die.</p>"]
    body += _listed("Findings", [one.text for one in report.findings])
    body += _listed("Hints", [one.text for one in report.hints])
    body += _listed("Never used", report.unused)
    body += _table("Layers", LAYER, map(_layer, report.layers))
    body += _table("Risk of being born dead, by chain of layers", RISK, map(_risk, report.risks))
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "<title>relumine check</title>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


LAYER = ("layer", "activation", "after", "units", "silent", "examples", "split", "not known")
RISK = ("layers", "widths", "initialization", "bound", "estimate", "drawn", "inputs")


def _layer(one: LayerCheck) -> tuple[str, ...]:
    silent = "cannot die" if one.silent is None else f"{one.silent:,}" if one.finite else "not finite"
    missing = ", ".join(one.missing)
    return (
        one.name, one.activation, one.producer or "–", f"{one.units:,}", silent, f"{one.examples:,}", one.split, missing
    )  # fmt: skip


def _risk(one: Risk) -> tuple[str, ...]:
    share = "–" if one.share is None else f"{one.share:.2%} ± {one.standard_error or 0.0:.2%}"
    widths = " ".join(str(width) for width in one.widths)
    return (
        " ".join(one.layers), widths, one.initialization, f"{one.upper_bound:.3%}", share, f"{one.draws:,}",
        f"{one.inputs:,}",
    )  # fmt: skip


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [f"<h2>{title}</h2>", "<ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    found = list(rows)
    if not found:
        return []
    return [
        f"<h2>{title}</h2>",
        '<table border="1">',
        _row("th", head),
        *(_row("td", row) for row in found),
        "</table>",
    ]


def _row(cell: str, values: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(value)}</{cell}>" for value in values) + "</tr>"
