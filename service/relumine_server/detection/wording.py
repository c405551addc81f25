"""Findings in words: one title, one sentence after another, each only where the evidence holds it."""

from __future__ import annotations

from typing import Any

from relumine_server.detection.findings import Finding, Forecast, Remedy

FEW = 0.1  # of the units: with fewer silent, the message says what else it rests on
_KINDS = {
    "dying": "is dying",
    "dead": "is dead",
    "born_dead": "was born dead",
    "constant_output": "output no longer depends on the input",
    "diverged": "values are not finite",
    "no_data": "fell silent to the hooks",
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
    "check_loss": "see which loss term or target pushes the units down",
    "replace_relu": "replace ReLU by LeakyReLU",
    "reinitialize": "reinitialize the layer",
    "normalize_input": "normalize the input as before",
    "clip_gradient": "clip the gradient norm at",
    "check_job": "see whether the job runs, waits or is paused, and reaches the server",
    "check_coverage": "see what changed in the model, and the run's coverage",
}


def title(finding: Finding) -> str:
    """What happened, in a few words: *fc2 is dying*."""
    return f"{finding.layer or 'The run'}{':' if finding.layer is None else ''} {_KINDS[finding.kind]}"


def message(finding: Finding, run_label: str) -> str:
    """The whole story in a line, for a person who was not watching."""
    if finding.transition == "resolved":
        return f"{run_label} · {title(finding)}: over since step {finding.step:,} ({finding.reason or 'resolved'})."
    parts = [f"{run_label} · {title(finding)} (step {finding.step:,})."]
    parts += [_silence(finding), _forecast(finding.forecast), _cause(finding), _do(finding), _harm(finding)]
    return " ".join(part for part in parts if part)


def _silence(finding: Finding) -> str:
    if finding.kind == "no_data":
        return "Its module runs, but its activation is not heard: nothing is known of its units from here on."
    evidence = finding.evidence
    if finding.kind == "stalled":
        return _unheard(evidence)
    silent, units, kill = evidence.get("units_silent"), evidence.get("units"), evidence.get("kill_ratio")
    if finding.kind == "dying" and units and kill is not None and kill >= 1 and (silent or 0) < 0.1 * units:
        return f"One update took {kill:,.1f} times what a tenth of the units had left."
    if not units or (silent or 0) < FEW * units:
        return _headroom(evidence)
    if not silent:
        return ""
    baseline = evidence.get("baseline_fraction")
    note = "" if baseline is None else f"; baseline {_percent(baseline)}"
    n = evidence.get("n")
    seen = f" on {n:,} {evidence['n_unit']}" if n else ""
    return f"{silent:,} of {units:,} units ({_percent(silent / units)}{note}) silent{seen}."


def _unheard(evidence: dict[str, Any]) -> str:
    """How long nothing came, and what is usual of the run."""
    pause_s = evidence.get("pause_s") or 0.0
    usual = f"; its longest pause was {_duration(pause_s)}" if pause_s >= 1 else ""
    return f"Nothing was heard for {_duration(evidence.get('silent_s') or 0.0)}{usual}. It may report again."


def _headroom(evidence: dict[str, Any]) -> str:
    """What a warning rests on before many units are silent."""
    now, usual = (evidence.get("headroom") or {}).get("now"), (evidence.get("headroom") or {}).get("usual")
    silent, units = evidence.get("units_silent") or 0, evidence.get("units") or 0
    seen = f"{silent:,} of {units:,} units silent; " if silent and units else ""
    kill = evidence.get("kill_ratio")
    if (now is None or usual is None or now >= usual) and kill is not None and kill >= 0.01:
        return f"{seen}{'one' if seen else 'One'} update takes {_percent(kill)} of what the weakest tenth has left."
    if now is None or usual is None:
        return seen.rstrip("; ") + "." if seen else ""
    return f"{seen}{'the' if seen else 'The'} weakest tenth reaches {now:+.1f} σ at most (usually {usual:+.1f} σ)."


def _forecast(forecast: Forecast | None) -> str:
    if forecast is None:
        return ""
    time = "" if forecast.eta_s is None else f", about {_duration(forecast.eta_s)}"
    return (
        f"Half dead near step {forecast.step:,} ({_percent(forecast.confidence)}: "
        f"{forecast.low:,}\N{EN DASH}{forecast.high:,}){time}."
    )


def _cause(finding: Finding) -> str:
    if finding.kind in {"no_data", "stalled"}:
        return ""
    if finding.cause == "unknown":
        return "Cause unknown."
    certainty = "Likely cause" if finding.confidence >= 0.7 else "Possible cause"
    rate = finding.evidence["learning_rate"]
    text = _CAUSES[finding.cause]
    if finding.cause == "high_learning_rate" and rate["now"] is not None:
        jumped = rate["changed_at_step"] is not None and rate["before"] is not None
        text = f"lr {_number(rate['now'])}"
        if jumped:
            text = f"lr {_number(rate['before'])} → {_number(rate['now'])} at step {rate['changed_at_step']:,}"
    return f"{certainty}: {text}{_shares(finding)}."


def _shares(finding: Finding) -> str:
    """The largest part of the shift, where the split is exact."""
    shift = {name: share for name, share in finding.evidence["shift"].items() if share is not None}
    if not shift:
        return ""
    names = {"weight": "weights", "input": "input", "bias": "bias"}
    largest = max(shift, key=lambda name: shift[name])
    return f" ({names[largest]} {_percent(shift[largest])} of the shift)"


def _do(finding: Finding) -> str:
    return f"Do: {_action(finding.remedies[0])}." if finding.remedies else ""


def _action(remedy: Remedy) -> str:
    if remedy.action == "lower_learning_rate":
        return "lower the learning rate" if remedy.value is None else f"lr ≤ {_number(remedy.value)}"
    if remedy.action == "reset_bias":
        return f"reset the biases of the silent units to {_number(remedy.value or 0.0)}"
    if remedy.action == "lower_weight_decay":
        return f"weight decay ≤ {_number(remedy.value or 0.0)}"
    if remedy.action == "treat_upstream":
        return "mend the layer before it first" if remedy.value is None else f"mend layer {remedy.value:g} first"
    if remedy.action == "clip_gradient":
        return f"{_ACTIONS[remedy.action]} {_number(remedy.value or 1.0)}"
    slope = f" (slope {_number(remedy.value)})" if remedy.action == "replace_relu" and remedy.value is not None else ""
    return _ACTIONS[remedy.action] + slope


def _harm(finding: Finding) -> str:
    """What the loss says, and nothing where no loss was logged."""
    effect = finding.evidence.get("loss_effect")
    if effect is None:
        return ""
    if effect > 1:
        return f"Loss {_number(1 + effect)} times as high since."
    return f"Loss up {_percent(effect)} since." if effect > 0.05 else "Loss unaffected so far."


def _percent(share: float) -> str:
    return f"{100 * share:,.0f} %"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
