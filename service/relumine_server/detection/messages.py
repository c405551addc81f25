"""Titles and messages of findings: one sentence after another, each only where the evidence supports it."""

from __future__ import annotations

from typing import Any

from relumine_server.detection.findings import Finding, Forecast, Remedy

FEW_UNITS_SHARE = 0.1
"""Share of silent units below which the message names the other evidence of a warning."""
LIKELY_CONFIDENCE = 0.7
"""Confidence from which a cause is called likely, and not just possible."""
MIN_LOSS_CHANGE = 0.05
"""Relative change of the loss that is worth a sentence."""
_KINDS = {
    "dying": "is dying",
    "dead": "is dead",
    "born_dead": "was born dead",
    "constant_output": "output no longer depends on the input",
    "diverged": "values are not finite",
    "no_data": "is no longer observed",
    "stalled": "stopped reporting",
}
_CAUSES = {
    "high_learning_rate": "a high learning rate",
    "negative_bias": "biases that drifted negative",
    "bad_initialization": "the initialization",
    "input_shift": "an input that changed",
    "upstream_collapse": "a layer before it that was lost first",
}
_ACTIONS = {
    "check_loss": "check which loss term or target pushes the units down",
    "reinitialize": "reinitialize the layer",
    "normalize_input": "normalize the input as before",
    "check_job": "check whether the job runs, waits or is paused, and reaches the server",
    "check_coverage": "check what changed in the model, and the run's coverage",
}
_SHIFT_PARTS = {"weight": "weights", "input": "input", "bias": "bias"}


def title(finding: Finding) -> str:
    """Return the problem in a few words: *fc2 is dying*."""
    if finding.layer is None and finding.kind == "no_data":
        return "The training is not being watched"
    if finding.layer is None:
        return f"The run: {_KINDS[finding.kind]}"
    return f"{finding.layer or 'The run'} {_KINDS[finding.kind]}"


def message(finding: Finding, run_label: str) -> str:
    """Return what happened, how much, when, why and what to do, in one line that needs no other context."""
    if finding.transition == "resolved":
        reason = finding.reason or "resolved"
        return f"{run_label} · {title(finding)}: over since step {finding.step:,} ({reason})."
    sentences = [
        f"{run_label} · {title(finding)} (step {finding.step:,}).",
        _evidence_sentence(finding),
        _forecast_sentence(finding.forecast),
        _cause_sentence(finding),
        _remedy_sentence(finding),
        _loss_sentence(finding),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _evidence_sentence(finding: Finding) -> str:
    evidence = finding.evidence
    if finding.kind == "no_data" and finding.layer is None:
        return _unwatched_sentence(evidence)
    if finding.kind == "no_data":
        return (
            "Its module runs, but its activation is not recorded: nothing is known about its units from this step on."
        )
    if finding.kind == "stalled":
        return _stall_sentence(evidence)
    units = evidence.get("units") or 0
    silent = evidence.get("units_silent") or 0
    kill_ratio = evidence.get("kill_ratio")
    has_few_silent = not units or silent < FEW_UNITS_SHARE * units
    if finding.kind == "dying" and units and has_few_silent and kill_ratio is not None and kill_ratio >= 1:
        return f"One update took {kill_ratio:,.1f} times what a tenth of the units had left."
    if has_few_silent:
        return _headroom_sentence(evidence)
    return _silence_sentence(evidence, silent, units)


def _unwatched_sentence(evidence: dict[str, Any]) -> str:
    """State since when nothing is recorded, and why."""
    watching = evidence["watching"]
    last_step = watching["last_step"]
    since = "Nothing was ever recorded" if last_step is None else f"Nothing was recorded since step {last_step:,}"
    return f"{since}: {watching['explanation']}."


def _silence_sentence(evidence: dict[str, Any], silent: int, units: int) -> str:
    baseline = evidence.get("baseline_fraction")
    baseline_note = "" if baseline is None else f"; baseline {_percent(baseline)}"
    n = evidence.get("n")
    sample_note = f" on {n:,} {evidence['n_unit']}" if n else ""
    return f"{silent:,} of {units:,} units ({_percent(silent / units)}{baseline_note}) silent{sample_note}."


def _stall_sentence(evidence: dict[str, Any]) -> str:
    """State how long no upload arrived, and the longest pause that the run made before."""
    longest_gap_s = evidence.get("longest_gap_s") or 0.0
    usual = f"; its longest pause was {_duration(longest_gap_s)}" if longest_gap_s >= 1 else ""
    return f"No upload arrived for {_duration(evidence.get('silent_s') or 0.0)}{usual}. It may report again."


def _headroom_sentence(evidence: dict[str, Any]) -> str:
    """State what a warning rests on before many units are silent."""
    headroom = evidence.get("headroom") or {}
    now = headroom.get("now")
    usual = headroom.get("usual")
    has_shrunk = now is not None and usual is not None and now < usual
    silent = evidence.get("units_silent") or 0
    units = evidence.get("units") or 0
    prefix = f"{silent:,} of {units:,} units silent" if silent and units else ""
    kill_ratio = evidence.get("kill_ratio")
    if not has_shrunk and kill_ratio is not None and kill_ratio >= 0.01:
        return _joined(prefix, f"one update takes {_percent(kill_ratio)} of what the weakest tenth has left.")
    if now is None or usual is None:
        return f"{prefix}." if prefix else ""
    return _joined(prefix, f"the weakest tenth reaches {now:+.1f} σ at most (usually {usual:+.1f} σ).")


def _joined(prefix: str, sentence: str) -> str:
    """Return the sentence after a prefix and a semicolon, or by itself with a capital."""
    if prefix:
        return f"{prefix}; {sentence}"
    return sentence[0].upper() + sentence[1:]


def _forecast_sentence(forecast: Forecast | None) -> str:
    if forecast is None:
        return ""
    time = "" if forecast.eta_s is None else f", about {_duration(forecast.eta_s)}"
    interval = f"{forecast.low:,}\N{EN DASH}{forecast.high:,}"
    return f"Half dead near step {forecast.step:,} ({_percent(forecast.confidence)}: {interval}){time}."


def _cause_sentence(finding: Finding) -> str:
    if finding.kind in {"no_data", "stalled"}:
        return ""
    if finding.cause == "unknown":
        return "Cause unknown."
    certainty = "Likely cause" if finding.confidence >= LIKELY_CONFIDENCE else "Possible cause"
    return f"{certainty}: {_cause_text(finding)}{_largest_shift(finding)}."


def _cause_text(finding: Finding) -> str:
    rate = finding.evidence["learning_rate"]
    if finding.cause != "high_learning_rate" or rate["now"] is None:
        return _CAUSES[finding.cause]
    if rate["changed_at_step"] is None or rate["before"] is None:
        return f"lr {_number(rate['now'])}"
    return f"lr {_number(rate['before'])} → {_number(rate['now'])} at step {rate['changed_at_step']:,}"


def _largest_shift(finding: Finding) -> str:
    """Return the largest part of the shift, where the split is exact."""
    shares = {part: share for part, share in finding.evidence["shift"].items() if share is not None}
    if not shares:
        return ""
    largest = max(shares, key=lambda part: shares[part])
    return f" ({_SHIFT_PARTS[largest]} {_percent(shares[largest])} of the shift)"


def _remedy_sentence(finding: Finding) -> str:
    return f"Do: {_remedy_text(finding.remedies[0])}." if finding.remedies else ""


def _remedy_text(remedy: Remedy) -> str:
    value = remedy.value
    match remedy.action:
        case "lower_learning_rate":
            text = "lower the learning rate" if value is None else f"lr ≤ {_number(value)}"
        case "reset_bias":
            text = f"reset the biases of the silent units to {_number(value or 0.0)}"
        case "lower_weight_decay":
            text = f"weight decay ≤ {_number(value or 0.0)}"
        case "treat_upstream":
            text = "treat the layer before it first" if value is None else f"treat layer {value:g} first"
        case "clip_gradient":
            text = f"clip the gradient norm at {_number(value or 1.0)}"
        case "replace_relu":
            slope = "" if value is None else f" (slope {_number(value)})"
            text = f"replace ReLU by LeakyReLU{slope}"
        case _:
            text = _ACTIONS[remedy.action]
    return text


def _loss_sentence(finding: Finding) -> str:
    """State the effect on the loss; nothing where no loss was logged."""
    effect = finding.evidence.get("loss_effect")
    if effect is None:
        return ""
    if effect > 1:
        return f"Loss {_number(1 + effect)} times as high since."
    if effect > MIN_LOSS_CHANGE:
        return f"Loss up {_percent(effect)} since."
    return "Loss unaffected so far."


def _percent(share: float) -> str:
    return f"{100 * share:,.0f} %"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
