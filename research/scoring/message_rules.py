"""Rules that every message of an alert keeps: its length, its words, and that no part contradicts another.

The rules read the text as a person does, and compare it with the numbers of its finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from relumine_server.detection import messages
from relumine_server.detection.findings import Finding
from relumine_server.detection.message_fix import MIN_LOSS_CHANGE

INTERNAL_WORDS = re.compile(
    r"headroom|kill.ratio|\btenth\b|σ|sigma|layer_id|\bover\b|\blooked\b|-0%|−0%|\bnan\b|\binf\b|\bnone\b|\bunknown\b|"
    r"\b0% sure\b|\bsilent\b|\bweakest\b|baseline_fraction|\blr\b",
    re.IGNORECASE,
)
SHARE = re.compile(r"(\d[\d,.]*) of (\d[\d,.]*) units \(([<>]?\d+)%(?:, plus ([<>]?\d+)% from the start)?")
ROSE = re.compile(r"rose from (\S+) to (\S+?)(?: at |\. |\.$)")
FORECAST = re.compile(r"dead by step ([\d,]+)")
CAUSE_STEP = re.compile(r"cause: [^.]* at step ([\d,]+)")
UNCHANGED = "Loss is unaffected"

Rule = Callable[[Finding, str], bool]


def violations(finding: Finding, text: str) -> list[str]:
    """Return the names of the rules that a message breaks."""
    return [name for name, breaks in _RULES.items() if breaks(finding, text)]


def template(finding: Finding, text: str) -> str:
    """Return a message without its names and numbers."""
    label = finding.layer_label or finding.layer
    for name in (label, *finding.evidence.get("upstream_names", ())):
        text = text.replace(name, "LAYER") if name else text
    return re.sub(r"[<>]?[+-]?\d[\d,.]*(e[+-]?\d+)?(?<![.,])", "#", text)


def own_words(finding: Finding, text: str) -> str:
    """Return the text without the names of layers, which may contain anything."""
    names = [finding.layer_label or finding.layer, *finding.evidence.get("upstream_names", ())]
    for name in names:
        text = text.replace(name, "LAYER") if name else text
    return text


def _is_too_long(_: Finding, text: str) -> bool:
    return len(text) > messages.MAX_MESSAGE_CHARS or text.endswith("…")


def _does_not_begin_with_severity(finding: Finding, text: str) -> bool:
    return not text.startswith(f"{finding.severity.upper()} ") or f" · {messages.title(finding)}" not in text


def _uses_internal_words(finding: Finding, text: str) -> bool:
    return INTERNAL_WORDS.search(own_words(finding, text)) is not None


def _loses_more_than_all_with_its_baseline(_: Finding, text: str) -> bool:
    match = SHARE.search(text)
    if match is None or match[4] is None:
        return False
    return _number(match[4]) + _number(match[3]) > 101  # each share is rounded


def _lost_more_than_all(_: Finding, text: str) -> bool:
    match = SHARE.search(text)
    return match is not None and _number(match[1]) > _number(match[2])


def _rises_to_less(_: Finding, text: str) -> bool:
    match = ROSE.search(text)
    return match is not None and float(match[1].replace(",", "")) >= float(match[2].replace(",", ""))


def _lowers_to_more(finding: Finding, text: str) -> bool:
    now = (finding.evidence.get("learning_rate") or {}).get("now")
    match = re.search(r"Fix: lower (?:it|the learning rate) to (\d[\d.,e-]*\d|\d)", text)
    return match is not None and now is not None and float(match[1].replace(",", "")) > now * 1.01


def _blames_the_bias_against_its_shares(finding: Finding, text: str) -> bool:
    shares = {part: share for part, share in finding.evidence["shift"].items() if share is not None}
    names_bias = "biases are falling" in text or "biases are negative" in text
    return names_bias and bool(shares) and shares.get("bias", 0.0) < max(shares.values())


def _blames_a_drift_from_birth(finding: Finding, text: str) -> bool:
    return finding.kind == "born_dead" and re.search(r"falling|shrank|drift", text) is not None


def _blames_a_positive_bias(finding: Finding, text: str) -> bool:
    mean = finding.evidence["bias"]["mean"]
    blames = re.search(r"biases begin too low \(|biases are negative", text) is not None
    return blames and mean is not None and mean >= 0


def _calls_the_loss_unaffected(finding: Finding, text: str) -> bool:
    effect = finding.evidence.get("loss_effect")
    if UNCHANGED not in text:
        return False
    return finding.kind == "diverged" or effect is None or not effect <= MIN_LOSS_CHANGE


def _forecasts_the_past(finding: Finding, text: str) -> bool:
    match = FORECAST.search(text)
    units = finding.evidence.get("units") or 0
    inactive = (finding.evidence.get("units_silent") or 0) + units * (finding.evidence.get("baseline_fraction") or 0)
    is_half_lost = units > 0 and 2 * inactive >= units
    return match is not None and (is_half_lost or _number(match[1]) <= finding.step)


def _is_caused_by_the_future(finding: Finding, text: str) -> bool:
    match = CAUSE_STEP.search(text)
    return match is not None and _number(match[1]) > finding.step


def _has_no_fix(finding: Finding, text: str) -> bool:
    return "Fix: " not in text and "watching" not in finding.evidence


def _number(text: str) -> float:
    return float(text.strip("<>").replace(",", ""))


def rules() -> Iterator[str]:
    """Yield the names of the rules."""
    yield from _RULES


_RULES: dict[str, Rule] = {
    "too long": _is_too_long,
    "does not begin with its severity": _does_not_begin_with_severity,
    "internal words": _uses_internal_words,
    "more units than the layer has, with those of the baseline": _loses_more_than_all_with_its_baseline,
    "more units than the layer has": _lost_more_than_all,
    "a rate that rises to less": _rises_to_less,
    "a fix that raises the rate": _lowers_to_more,
    "a bias against its shares": _blames_the_bias_against_its_shares,
    "a drift from birth": _blames_a_drift_from_birth,
    "a positive bias is blamed": _blames_a_positive_bias,
    "an unaffected loss that is not": _calls_the_loss_unaffected,
    "a forecast of the past": _forecasts_the_past,
    "a cause in the future": _is_caused_by_the_future,
    "no fix": _has_no_fix,
}
