"""Titles and messages of findings: severity first, then what, how long, what is to come, why, and what to do.

A message has at most ``MAX_MESSAGE_CHARS`` characters, whatever its names and numbers: what a reader misses least is
left out first.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from relumine.schemas.layer_label import ELLIPSIS, MAX_LABEL_CHARS, shortened
from relumine_server.detection.findings import Finding, Forecast
from relumine_server.detection.message_cause import cause_sentence
from relumine_server.detection.message_evidence import evidence_clause, has_lost_half
from relumine_server.detection.message_fix import LOSS_UNAFFECTED, fix_sentence, loss_sentence
from relumine_server.detection.number_words import duration, percent

MAX_MESSAGE_CHARS = 320
MAX_RUN_CHARS = 50
MAX_UPSTREAM_CHARS = 40
"""Characters of names. Longer ones lose their middle."""
SHORT_RUN_CHARS = 24
SHORT_UPSTREAM_CHARS = 24
"""The same where a message would be too long."""
_LAYER_TITLES = {
    "dying": "is dying",
    "dead": "is dead",
    "born_dead": "was born dead",
    "no_data": "is no longer observed",
}
_RUN_TITLES = {
    "constant_output": "The output no longer depends on the input",
    "diverged": "The run diverged",
    "no_data": "The training is not being watched",
    "stalled": "The run stopped reporting",
}


def title(finding: Finding) -> str:
    """Return the problem in a few words: *fc2 is dying*."""
    if finding.layer is None:
        return _RUN_TITLES.get(finding.kind, f"The run {_LAYER_TITLES.get(finding.kind, finding.kind)}")
    label = shortened(finding.layer_label or finding.layer, MAX_LABEL_CHARS)
    return f"{label} {_LAYER_TITLES.get(finding.kind, finding.kind.replace('_', ' '))}"


def message(finding: Finding, run_label: str) -> str:
    """Return what happened, how much, when, why and what to do, in one line that needs no other context."""
    if finding.transition == "resolved":
        run = shortened(run_label, MAX_RUN_CHARS)
        return f"{run} · {title(finding)}: ended at step {finding.step:,} ({finding.reason or 'resolved'})."
    for length in Length:
        text = _render(finding, run_label, length)
        if len(text) <= MAX_MESSAGE_CHARS:
            return text
    return text[: MAX_MESSAGE_CHARS - 1] + ELLIPSIS


class Length(IntEnum):
    """The lengths of a message. Each leaves out what its name says, and all that those before it do."""

    FULL = 0
    WITHOUT_UNAFFECTED_LOSS = 1
    WITHOUT_INTERVAL = 2
    WITHOUT_SECOND_EVIDENCE = 3
    WITH_SHORT_NAMES = 4
    WITHOUT_LOSS = 5
    WITHOUT_SECOND_FIX = 6
    WITHOUT_FORECAST = 7
    WITHOUT_CAUSE = 8


def _render(finding: Finding, run_label: str, length: Length) -> str:
    has_short_names = length >= Length.WITH_SHORT_NAMES
    finding = _with_short_names(finding, SHORT_UPSTREAM_CHARS if has_short_names else MAX_UPSTREAM_CHARS)
    run = shortened(run_label, SHORT_RUN_CHARS if has_short_names else MAX_RUN_CHARS)
    head = f"{finding.severity.upper()} {run} · {title(finding)}"
    what = evidence_clause(finding, is_short=length >= Length.WITHOUT_SECOND_EVIDENCE)
    cause = "" if length >= Length.WITHOUT_CAUSE else cause_sentence(finding)
    sentences = (
        f"{head}: {what}." if what else f"{head}.",
        _forecast_sentence(_forecast(finding), length),
        cause,
        fix_sentence(finding, cause, is_short=length >= Length.WITHOUT_SECOND_FIX),
        _loss_sentence(finding, length),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def _with_short_names(finding: Finding, limit: int) -> Finding:
    """Return the finding with names of other layers that leave room for what it says."""
    names = [shortened(name, limit) for name in finding.evidence.get("upstream_names") or ()]
    return replace(finding, evidence=finding.evidence | {"upstream_names": names})


def _loss_sentence(finding: Finding, length: Length) -> str:
    sentence = loss_sentence(finding)
    is_left_out = length >= Length.WITHOUT_UNAFFECTED_LOSS and sentence == LOSS_UNAFFECTED
    return "" if is_left_out or length >= Length.WITHOUT_LOSS else sentence


def _forecast(finding: Finding) -> Forecast | None:
    """Return the forecast; None where half of the layer is inactive already, or the step has passed."""
    forecast = finding.forecast
    if forecast is None or has_lost_half(finding.evidence) or forecast.step <= finding.step:
        return None
    return forecast


def _forecast_sentence(forecast: Forecast | None, length: Length) -> str:
    if forecast is None or length >= Length.WITHOUT_FORECAST:
        return ""
    eta = f", in about {duration(forecast.eta_s)}" if forecast.eta_s is not None and forecast.eta_s > 0 else ""
    if length >= Length.WITHOUT_INTERVAL:
        return f"Forecast: half dead by step {forecast.step:,}{eta}."
    interval = f"{forecast.low:,}\N{EN DASH}{forecast.high:,}"
    certainty = percent(forecast.confidence)
    return f"Forecast: half of the layer dead by step {forecast.step:,} ({certainty} interval {interval}){eta}."
