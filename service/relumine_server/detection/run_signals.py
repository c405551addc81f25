"""Signals of the run: learning rate, input, output spread, loss and non-finite values, each against its own history.

The functions write to a draft of the run's memory; decisions about layers are made elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from relumine.schemas.alert import Severity
from relumine.schemas.record_table import Row
from relumine_server.detection.averages import LONG_INTERVALS, elapsed_intervals, moving_average
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import WINDOW_LENGTH, RunMemory

INPUT_SIGNALS = ("input_mean", "input_std", "input_min", "input_max")
MIN_HISTORY = 8
"""Values of an output spread before a new one can be unusual; of fewer values of an input, a new one must differ more.
"""
LEAST_HISTORY = 4
"""Values of an input before a new one can be unusual."""
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
    if not values:
        return
    intervals = elapsed_intervals(record.step - run.input_step if run.input_step >= 0 else math.nan)
    run.input_step = record.step
    usual_std = median(run.windows.get("input_std") or (0.0,))
    run.is_input_constant = values.get("input_std", math.inf) <= policy.constant_output * usual_std and usual_std > 0
    run.novelty = max(_novelty(run, name, value, policy) for name, value in values.items())
    if run.novelty < policy.novelty:
        run.novel_records = 0
        if run.familiar_records is not None:
            _count_familiar_input(run, policy)
    elif not _becomes_usual(run, record.step, intervals, policy):
        return
    for name, value in values.items():
        _append(run, name, value)


def _becomes_usual(run: RunMemory, step: int, intervals: float, policy: Policy) -> bool:
    """Count an unusual input, and forget the history of the input once it has lasted long enough to be the usual one.

    Sampled steps that lie close count for less than one: a burst of them says nothing about how long it will last.
    """
    if not run.novel_records:
        run.novel_step = step
        run.novel_intervals = 0.0
    run.novel_records += 1
    run.novel_intervals += intervals
    run.familiar_records = 0
    if run.novel_intervals < policy.novelty_records:
        return False
    for name in INPUT_SIGNALS:
        run.windows.pop(name, None)
    run.novel_records = 0
    run.familiar_records = None
    return True


def _count_familiar_input(run: RunMemory, policy: Policy) -> None:
    """Count a record after an unusual input. Once that is over for sure, the output has to learn its spread again."""
    run.familiar_records = (run.familiar_records or 0) + 1
    if run.familiar_records == policy.confirm_records:
        run.windows.pop("spread", None)
        run.constant_records = 0


def _input_values(record: Row) -> dict[str, float]:
    values = {}
    for name in INPUT_SIGNALS:
        value = getattr(record, name)
        if value is not None:
            values[name] = value
    return values


def _novelty(run: RunMemory, name: str, value: float, policy: Policy) -> float:
    """Return the distance from the signal's own median in robust standard deviations, less in a short history.

    It is 0 without ``LEAST_HISTORY`` values. Below ``MIN_HISTORY`` a median deviation may be small by chance.
    """
    history = run.windows.get(name, ())
    if len(history) < LEAST_HISTORY:
        return 0.0
    part = min(len(history) / MIN_HISTORY, 1.0)
    usual = median(history)
    sigma = MAD_TO_SIGMA * median(abs(past - usual) for past in history)
    floor = policy.novelty_floor * median(run.windows.get("input_std") or (0.0,))
    return part**2 * abs(value - usual) / max(sigma + floor, 1e-12)


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


def constant_output_severity(run: RunMemory, policy: Policy) -> Severity | None:
    """Return the severity of a constant output; None where there is none.

    While the input is constant too, and until it is back for sure, the output only follows it: ``info``.
    """
    if run.constant_records < policy.constant_records:
        return None
    return "info" if is_input_blank(run, policy) else "critical"


def is_input_blank(run: RunMemory, policy: Policy) -> bool:
    """Return whether the input has lost its spread, until it is back for sure or has become the usual one.

    The same input again and again says nothing about what a unit does on others.
    """
    is_unsettled = run.familiar_records is not None and run.familiar_records < policy.confirm_records
    return is_unsettled and (run.is_input_constant or bool(run.familiar_records))


def _append(run: RunMemory, name: str, value: float) -> None:
    run.windows[name] = (*run.windows.get(name, ())[-(WINDOW_LENGTH - 1) :], value)
