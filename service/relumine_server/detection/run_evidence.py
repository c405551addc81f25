"""Evidence about the run itself: learning rate, input and loss. Values are finite or null, ready for JSON."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any

from relumine_server.detection.run_signals import LOSSES_COMPARED, loss_effect, slope
from relumine_server.detection.state import RunMemory

EVENT_WINDOW_STEPS = 200
"""Steps before an onset in which an event led to it."""
SLOPE_RECORDS = 24
"""Records over which the slope of the learning rate is taken."""
MAX_LOSS_GAPS = 1.5
"""Gaps between losses after which the next one is overdue."""


def run_evidence(
    run: RunMemory, step: int, onset_step: float | None = None, layer_rate: float | None = None
) -> dict[str, Any]:
    """Return every key that an alert promises, filled with what is known about the run itself."""
    return {
        "units": None,
        "units_silent": None,
        "baseline_fraction": None,
        "n": None,
        "n_unit": "examples",
        "p_bound": None,
        "learning_rate": _learning_rate_evidence(run, layer_rate),
        "input": {
            "changed_at_step": run.novel_step,
            "mean": _usual(run, "input_mean"),
            "std": _usual(run, "input_std"),
        },
        "bias": {"mean": None, "slope_per_step": None, "share": None},
        "shift": {"weight": None, "input": None, "bias": None},
        "weights": {"change": None},
        "update_to_weight": None,
        "kill_ratio": None,
        "displacement": None,
        "risk": None,
        "headroom": {"now": None, "usual": None},
        "onset_step": None,
        "upstream": [],
        "upstream_names": [],
        "loss_effect": _known_loss_effect(run, step, float(step) if onset_step is None else onset_step),
    }


def _usual(run: RunMemory, signal: str) -> float | None:
    """Return the median of a signal's latest usual values."""
    values = run.windows.get(signal)
    return median(values) if values else None


def _known_loss_effect(run: RunMemory, step: int, onset_step: float) -> float | None:
    """Return the effect on the loss; None where the latest values of the run, or of the loss itself, are not finite.

    A loss that is not finite is not recorded, so a loss that has not come for longer than usual is not known.
    """
    if run.diverged_step is not None:
        return None
    steps = run.windows.get("loss_step", ())[-LOSSES_COMPARED:]
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    if not gaps or step - steps[-1] > MAX_LOSS_GAPS * max(gaps):
        return None
    return loss_effect(run, _harm_start_step(run, onset_step))


def _learning_rate_evidence(run: RunMemory, layer_rate: float | None) -> dict[str, Any]:
    rates = run.windows.get("rate", ())
    steps = run.windows.get("rate_step", ())
    previous = run.jump_before
    if previous is None and rates:
        previous = rates[0]
    return {
        "now": layer_rate if run.rate is None else run.rate,
        "before": previous,
        "changed_at_step": run.jump_step,
        "slope": slope(steps[-SLOPE_RECORDS:], rates[-SLOPE_RECORDS:]),
    }


def _harm_start_step(run: RunMemory, onset_step: float) -> float:
    """Return the step from which harm is counted: the event that led to the onset, where there was one."""
    steps = [step for step in (run.jump_step, run.novel_step) if step is not None]
    events = [step for step in steps if 0 <= onset_step - step <= EVENT_WINDOW_STEPS]
    return float(min(events, default=onset_step))
