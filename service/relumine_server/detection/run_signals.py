"""Signals of the run: learning rate, input, output spread, loss and non-finite values, each against its own history.

The functions write to a draft of the run's memory; decisions about layers are made elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from relumine.schemas.record_table import Row
from relumine_server.detection.averages import LONG_INTERVALS, elapsed_intervals, moving_average
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import WINDOW_LENGTH, RunMemory

INPUT_SIGNALS = ("input_mean", "input_std", "input_min", "input_max")
MIN_HISTORY = 8
"""Values of an input or an output spread before a new one can be unusual."""
MIN_RATES = 3
"""Learning rates before a new one can be a jump."""
MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation, of a Gaussian."""
LOSSES_COMPARED = 8
MIN_LOSSES = 3


def update_run(run: RunMemory, record: Row, policy: Policy) -> None:
    """Fold a record of layer 0 into the run's memory."""
    rates = [rate for rate in record.learning_rates or [] if rate >= 0]
    highest_rate = max(rates, default=record.learning_rate)
    if highest_rate is not None:
        _update_learning_rate(run, record.step, highest_rate, policy)
    _update_input(run, record, policy)
    if record.output_spread is not None:
        _update_output_spread(run, record.output_spread, policy)
    if record.loss is not None:
        _append(run, "loss", record.loss)
        _append(run, "loss_step", record.step)


def update_finiteness(run: RunMemory, record: Row) -> None:
    """Count the sampled steps since the latest value that was not finite."""
    if record.nonfinite:
        run.diverged_step = record.step
        run.clean_steps = 0
    elif run.diverged_step is not None and record.step not in (run.diverged_step, run.clean_step):
        run.clean_step = record.step
        run.clean_steps += 1


def is_armed(run: RunMemory, step: int, policy: Policy) -> bool:
    """Return whether the learning rate jumped so recently that less evidence is needed."""
    return run.jump_step is not None and 0 <= step - run.jump_step <= policy.armed_steps


def slope(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Return the least-squares slope; None where fewer than two values of x differ."""
    if len(xs) < 2:
        return None
    mean_x = sum(xs) / len(xs)
    mean_y = sum(ys) / len(ys)
    scatter_x = sum((x - mean_x) ** 2 for x in xs)
    if scatter_x > 0:
        return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / scatter_x
    return None


def loss_effect(run: RunMemory, since_step: float) -> float | None:
    """Return the relative change of the median loss since a step; None without three losses before and after it."""
    steps = run.windows.get("loss_step", ())
    losses = run.windows.get("loss", ())
    earlier = [loss for step, loss in zip(steps, losses, strict=True) if step < since_step][-LOSSES_COMPARED:]
    later = [loss for step, loss in zip(steps, losses, strict=True) if step >= since_step][-LOSSES_COMPARED:]
    if len(earlier) < MIN_LOSSES or len(later) < MIN_LOSSES:
        return None
    usual = median(earlier)
    return (median(later) - usual) / max(abs(usual), 1e-12)


def _update_learning_rate(run: RunMemory, step: int, rate: float, policy: Policy) -> None:
    history = run.windows.get("rate", ())
    usual = median(history) if len(history) >= MIN_RATES else 0.0
    if usual > 0 and rate >= policy.rate_jump * usual and rate >= policy.rate_step * history[-1]:
        run.jump_step = step
        run.jump_before = usual
    run.rate = rate
    if rate > 0:
        _update_usual_rate(run, step, rate)
    _append(run, "rate", rate)
    _append(run, "rate_step", step)


def _update_usual_rate(run: RunMemory, step: int, rate: float) -> None:
    steps = run.windows.get("rate_step", ())
    intervals = elapsed_intervals(step - steps[-1] if steps else math.nan)
    run.age += intervals
    usual = math.nan if run.usual_log_rate is None else run.usual_log_rate
    run.usual_log_rate = moving_average(usual, math.log(rate), intervals, LONG_INTERVALS, run.age)


def _update_input(run: RunMemory, record: Row, policy: Policy) -> None:
    """Compare the input with its history, which an unusual input enters only once it has become the usual one."""
    values = _input_values(record)
    if run.first_input_rms is None and "input_mean" in values and "input_std" in values:
        run.first_input_rms = math.hypot(values["input_mean"], values["input_std"])
    run.novelty = max((_novelty(run, name, value, policy) for name, value in values.items()), default=0.0)
    if run.novelty >= policy.novelty:
        if not run.novel_records:
            run.novel_step = record.step
        run.novel_records += 1
        if run.novel_records < policy.novelty_records:
            return
        for name in values:
            run.windows.pop(name, None)
    run.novel_records = 0
    for name, value in values.items():
        _append(run, name, value)


def _input_values(record: Row) -> dict[str, float]:
    values = {}
    for name in INPUT_SIGNALS:
        value = getattr(record, name)
        if value is not None:
            values[name] = value
    return values


def _novelty(run: RunMemory, name: str, value: float, policy: Policy) -> float:
    """Return the distance from the signal's own median in robust standard deviations; 0 while its history is short."""
    history = run.windows.get(name, ())
    if len(history) < MIN_HISTORY:
        return 0.0
    usual = median(history)
    sigma = MAD_TO_SIGMA * median(abs(past - usual) for past in history)
    floor = policy.novelty_floor * median(run.windows.get("input_std") or (0.0,))
    return abs(value - usual) / max(sigma + floor, 1e-12)


def _update_output_spread(run: RunMemory, spread: float, policy: Policy) -> None:
    """Count records with a collapsed spread, which does not enter its own history, or it would become the usual one."""
    history = run.windows.get("spread", ())
    if len(history) >= MIN_HISTORY and spread <= policy.constant_output * median(history):
        run.constant_records += 1
        run.varied_records = 0
        return
    run.varied_records += 1
    if run.varied_records >= policy.constant_records:
        run.constant_records = 0
    if not run.constant_records:
        _append(run, "spread", spread)


def _append(run: RunMemory, name: str, value: float) -> None:
    run.windows[name] = (*run.windows.get(name, ())[-(WINDOW_LENGTH - 1) :], value)
