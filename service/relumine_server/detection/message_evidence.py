"""The clause of a message that says what happened, to how many units, since when. It holds only what was measured."""

from __future__ import annotations

from typing import Any

from relumine_server.detection.findings import Finding
from relumine_server.detection.number_words import count, duration, measured, percent

FEW_UNITS_SHARE = 0.1
"""Share of inactive units below which the clause names the other evidence of a warning."""
MIN_STEP_SHARE = 0.01
"""Share of the way to never firing again, in one step, that is worth a clause."""
MIN_PEAK_CHANGE = 0.05
"""Change of a peak, in standard deviations, that its two numbers show."""
FRAGILE = "the most fragile 10% of its units"


def evidence_clause(finding: Finding, *, is_short: bool = False) -> str:
    """Return the clause without its capital and its period; empty where nothing was measured.

    Where few units are inactive, the short form counts them and says no more.
    """
    match finding.kind:
        case "no_data":
            return _no_data_clause(finding)
        case "stalled":
            return _stall_clause(finding.evidence)
        case "diverged":
            return "activations are no longer finite numbers"
        case "constant_output":
            return _constant_output_clause(finding.evidence)
        case "dying":
            return _dying_clause(finding.evidence, is_short=is_short)
        case _:
            return _units_clause(finding.kind, finding.evidence)


def has_lost_half(evidence: dict[str, Any]) -> bool:
    """Return True if at least half of the layer is inactive by now, those of the baseline included."""
    units = evidence.get("units") or 0
    inactive = (evidence.get("units_silent") or 0) + units * (measured(evidence, "baseline_fraction") or 0.0)
    return units > 0 and 2 * inactive >= units


def _no_data_clause(finding: Finding) -> str:
    watching = finding.evidence.get("watching")
    if finding.layer is not None or watching is None:
        return "its module still runs, but its activation is no longer seen, so nothing is known about its units"
    last_step = watching["last_step"]
    since = "nothing was ever recorded" if last_step is None else f"nothing was recorded since step {last_step:,}"
    return f"{since}, because {watching['explanation']}"


def _stall_clause(evidence: dict[str, Any]) -> str:
    """Say how long no upload arrived, and the longest pause that the run made before."""
    longest_gap_s = evidence.get("longest_gap_s") or 0.0
    usual = f" (longest pause so far: {duration(longest_gap_s)})" if longest_gap_s >= 1 else ""
    return f"no upload arrived for {duration(evidence.get('silent_s') or 0.0)}{usual}; it may report again"


def _constant_output_clause(evidence: dict[str, Any]) -> str:
    n = evidence.get("n")
    which = f"each of {_examples(n, evidence)}" if n else "every input"
    return f"the model gives nearly the same output for {which}"


def _dying_clause(evidence: dict[str, Any], *, is_short: bool) -> str:
    units = evidence.get("units") or 0
    silent = evidence.get("units_silent") or 0
    if units and silent >= FEW_UNITS_SHARE * units:
        return _units_clause("dying", evidence)
    fragile = _fragile_clause(evidence)
    if not silent:
        return fragile
    few = _units_clause("dying", evidence)
    return few if is_short or not fragile else f"{few}, and {fragile}"


def _units_clause(kind: str, evidence: dict[str, Any]) -> str:
    units = evidence.get("units") or 0
    silent = evidence.get("units_silent") or 0
    if not units or not silent:
        return ""
    n = evidence.get("n")
    examples = _examples(n, evidence) if n else ""
    if kind == "born_dead":
        verb = "was" if silent == 1 else "were"
        since = f"on any of the first {examples}" if examples else "yet"
        return f"{_share(silent, units, None)} {verb} not active {since}"
    verb = "has" if silent == 1 else "have"
    since = f" for the last {examples}" if examples else ""
    return f"{_share(silent, units, measured(evidence, 'baseline_fraction'))} {verb} been inactive{since}"


def _examples(n: int, evidence: dict[str, Any]) -> str:
    n_unit = evidence.get("n_unit") or "examples"
    return f"{count(n)} {n_unit.removesuffix('s') if n == 1 else n_unit}"


def _share(silent: int, units: int, baseline: float | None) -> str:
    """Return *61 of 256 units (24%, plus 2% from the start)*: units of the baseline are not counted as silent.

    Unless they were revived and lost again, which shows where both add up to more than the layer.
    """
    note = percent(silent / units)
    if baseline and silent + baseline * units <= units:
        note += f", plus {percent(baseline)} from the start"
    return f"{count(silent)} of {count(units)} units ({note})"


def _fragile_clause(evidence: dict[str, Any]) -> str:
    """Say what a warning rests on before many units are inactive."""
    peak = measured(evidence, "headroom", "now")
    usual = measured(evidence, "headroom", "usual")
    step_share = measured(evidence, "kill_ratio") or 0.0
    if step_share >= 1:
        return f"one optimizer step is now large enough to silence {FRAGILE} for good"
    if peak is not None and usual is not None and peak < usual - MIN_PEAK_CHANGE:
        return _peak_clause(peak, usual)
    if step_share >= MIN_STEP_SHARE:
        return f"each optimizer step pushes {FRAGILE} {percent(step_share)} of the way to never firing again"
    return ""


def _peak_clause(peak: float, usual: float) -> str:
    """Compare the highest pre-activation of the weakest units with its usual value."""
    if peak <= 0:
        return f"on an average batch {FRAGILE} no longer reach zero"
    return f"{FRAGILE} fire less and less: their peak fell to {percent(peak / usual)} of its usual height"
