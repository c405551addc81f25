"""The sentences of a message that say what to do, with its value, and what it does to the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relumine_server.detection.findings import Finding, Remedy
from relumine_server.detection.message_cause import event_step, raised_rate
from relumine_server.detection.number_words import factor, measured, percent, rate

MIN_LOSS_CHANGE = 0.05
"""Relative change of the loss that is worth a number."""
RATE_ROSE = ("Likely cause: the learning rate rose", "Possible cause: the learning rate rose")
"""Sentences after which the learning rate is *it*."""
CAUSE_REMOVERS = frozenset({"lower_learning_rate", "lower_weight_decay", "normalize_input", "check_loss"})
"""Actions that keep further units alive, and leave lost ones as they are."""
LOSS_UNAFFECTED = "Loss is unaffected so far."


def fix_sentence(finding: Finding, cause: str, *, is_short: bool = False) -> str:
    """Return the first remedy as a sentence; empty without one.

    ``cause`` is the sentence before it. The short form leaves out what to do besides.
    """
    if not finding.remedies or "watching" in finding.evidence:
        return ""  # the explanation of a training that is not watched says what to do
    first, *others = finding.remedies
    text = _fix(first, finding)
    if finding.kind == "diverged":
        step = event_step(finding, "learning_rate") or f"step {finding.step:,}"
        text = f"load a checkpoint from before {step}, and {text}"
    elif cause.startswith(RATE_ROSE):
        text = text.replace("lower the learning rate", "lower it")
    elif first.action == "normalize_input" and event_step(finding, "input") in cause:
        text = text.replace(f"from {event_step(finding, 'input')} on", "since then")
    if is_short:
        return f"Fix: {text}."
    return f"Fix: {text}{_second_fix(finding, first, others)}."


def _second_fix(finding: Finding, first: Remedy, others: list[Remedy]) -> str:
    """Return what to do besides: where units are lost, a cause that is gone brings none of them back."""
    if finding.kind in {"dead", "constant_output"}:
        return ", then call revive_" if first.action in CAUSE_REMOVERS and _has(others, "revive_") else ""
    lower = next((remedy for remedy in others if remedy.action == "lower_learning_rate"), None)
    if first.action == "check_loss" and lower is not None and lower.value is not None:
        return f", or lower the learning rate to {rate(lower.value)}"
    return ""


def loss_sentence(finding: Finding) -> str:
    """Return the effect on the loss; empty where it is not known, or where the values are not finite."""
    effect = measured(finding.evidence, "loss_effect")
    if finding.kind in {"diverged", "stalled", "no_data"} or effect is None:
        return ""
    if effect >= 1:
        return f"Loss is up {factor(1 + effect)}."
    if effect > MIN_LOSS_CHANGE:
        return f"Loss is up {percent(effect)}."
    return LOSS_UNAFFECTED


def _has(remedies: list[Remedy], action: str) -> bool:
    return any(remedy.action == action for remedy in remedies)


def _fix(remedy: Remedy, finding: Finding) -> str:
    render = _RENDERERS.get(remedy.action)
    return _FIXES[remedy.action] if render is None else render(remedy, finding)


def _lower_rate(remedy: Remedy, finding: Finding) -> str:
    if remedy.value is None:
        return "lower the learning rate tenfold"
    healthy = measured(finding.evidence, "learning_rate", "before")
    if remedy.value == healthy and raised_rate(finding.evidence) is not None:
        return f"lower the learning rate to {rate(remedy.value)}, its last healthy value"
    return f"lower the learning rate to {rate(remedy.value)}"


def _normalize_input(_: Remedy, finding: Finding) -> str:
    mean = measured(finding.evidence, "input", "mean")
    std = measured(finding.evidence, "input", "std")
    if finding.cause == "input_scale" and mean is not None and std:
        return f"normalize the input: subtract {rate(mean)} and divide by {rate(std)}"
    step = event_step(finding, "input")
    check = f"check the data from {step} on, and normalize it" if step else "normalize the input"
    return f"{check} with the mean and std of the training data"


def _lower_weight_decay(remedy: Remedy, _: Finding) -> str:
    return f"lower the weight decay to {rate(remedy.value or 0.0)}"


def _reset_bias(remedy: Remedy, _: Finding) -> str:
    target = f" to about {rate(remedy.value)}" if remedy.value else ""
    return f"reset the biases of the dead units{target} (reset_bias_)"


def _replace_relu(remedy: Remedy, finding: Finding) -> str:
    what = "the ReLUs by LeakyReLUs" if finding.layer is None else "this ReLU by a LeakyReLU"
    slope = "" if remedy.value is None else f" with slope {rate(remedy.value)}"
    return f"replace {what}{slope} (replace_relu_)"


def _treat_upstream(_: Remedy, finding: Finding) -> str:
    names = finding.evidence.get("upstream_names")
    return f"revive {names[0]} first (revive_)" if names else "revive the layer before it first (revive_)"


def _revive(_: Remedy, finding: Finding) -> str:
    units = "all dead units of the model" if finding.layer is None else "the dead units"
    return f"reinitialize {units} (revive_)"


_FIXES = {
    "check_coverage": "see what relumine.check(model, inputs) no longer finds",
    "check_loss": "check whether a loss term or the targets push these units down",
    "clip_gradient": "clip the gradient norm at 1",
    "check_job": "check whether the job still runs, and whether it reaches the server",
}
"""What to do, where the value of the remedy adds nothing."""
_RENDERERS: Mapping[str, Callable[[Remedy, Finding], str]] = {
    "lower_learning_rate": _lower_rate,
    "lower_weight_decay": _lower_weight_decay,
    "normalize_input": _normalize_input,
    "replace_relu_": _replace_relu,
    "reset_bias_": _reset_bias,
    "revive_": _revive,
    "treat_upstream": _treat_upstream,
}
ACTIONS = frozenset({*_FIXES, *_RENDERERS})
"""Every action that a remedy may have."""
