"""The run's own numbers: learning rate, input, output spread, loss, non-finite values. Each against its own history.

Everything here writes to a draft of the run's memory and decides nothing about layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from relumine.table import Row
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import WINDOW, RunMemory
from relumine_server.detection.trends import LONG, faded, passed

INPUTS = ("input_mean", "input_std", "input_min", "input_max")
LEAST_HISTORY = 8


def see_run(run: RunMemory, record: Row, policy: Policy) -> None:
    """Take in a record of layer 0."""
    rates = [rate for rate in record.learning_rates or [] if rate >= 0]
    rate = max(rates, default=record.learning_rate)
    if rate is not None:
        _see_rate(run, record.step, rate, policy)
    _see_input(run, record, policy)
    if record.output_spread is not None:
        _see_spread(run, record.output_spread, policy)
    if record.loss is not None:
        _push(run, "loss", record.loss)
        _push(run, "loss_step", record.step)


def see_finiteness(run: RunMemory, record: Row) -> None:
    """Count the sampled steps since a number was last not finite."""
    if record.nonfinite:
        run.diverged_step, run.clean_steps = record.step, 0
    elif run.diverged_step is not None and record.step not in (run.diverged_step, run.clean_step):
        run.clean_step = record.step
        run.clean_steps += 1


def is_armed(run: RunMemory, step: int, policy: Policy) -> bool:
    """Whether the learning rate jumped so lately that the next looks are to be believed sooner."""
    return run.jump_step is not None and 0 <= step - run.jump_step <= policy.armed_steps


def slope(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Least-squares slope; None where the points lie at fewer than two places."""
    if len(xs) < 2:
        return None
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread > 0 else None


def loss_effect(run: RunMemory, since_step: float) -> float | None:
    """Relative change of the median loss from before ``since_step`` to now; None without three of either."""
    pairs = list(zip(run.windows.get("loss_step", ()), run.windows.get("loss", ()), strict=True))
    before = [loss for step, loss in pairs if step < since_step][-8:]
    after = [loss for step, loss in pairs if step >= since_step][-8:]
    if len(before) < 3 or len(after) < 3:
        return None
    usual = median(before)
    return (median(after) - usual) / max(abs(usual), 1e-12)


def _see_rate(run: RunMemory, step: int, rate: float, policy: Policy) -> None:
    history = run.windows.get("rate", ())
    usual = median(history) if len(history) >= 3 else 0.0
    if usual > 0 and rate >= policy.rate_jump * usual and rate >= policy.rate_step * history[-1]:
        run.jump_step, run.jump_before = step, usual
    run.rate = rate
    if rate > 0:
        steps = run.windows.get("rate_step", ())
        looks = passed(step - steps[-1] if steps else math.nan)
        run.age += looks
        before = math.nan if run.usual_log_rate is None else run.usual_log_rate
        run.usual_log_rate = faded(before, math.log(rate), looks, LONG, run.age)
    _push(run, "rate", rate)
    _push(run, "rate_step", step)


def _see_input(run: RunMemory, record: Row, policy: Policy) -> None:
    values = {name: value for name in INPUTS if (value := getattr(record, name)) is not None}
    run.novelty = max((_novelty(run, name, value, policy) for name, value in values.items()), default=0.0)
    if run.novelty >= policy.novelty:
        run.novel_step = record.step if not run.novel_records else run.novel_step
        run.novel_records += 1
        if run.novel_records < policy.novelty_records:
            return
        for name in values:
            run.windows.pop(name, None)
    run.novel_records = 0
    for name, value in values.items():
        _push(run, name, value)


def _novelty(run: RunMemory, name: str, value: float, policy: Policy) -> float:
    """Robust standard deviations from the sentinel's own median; 0 while its history is short."""
    history = run.windows.get(name, ())
    if len(history) < LEAST_HISTORY:
        return 0.0
    usual = median(history)
    scatter = 1.4826 * median(abs(past - usual) for past in history)
    floor = policy.novelty_floor * median(run.windows.get("input_std") or (0.0,))
    return abs(value - usual) / max(scatter + floor, 1e-12)


def _see_spread(run: RunMemory, spread: float, policy: Policy) -> None:
    """A collapsed spread does not enter its own history, or it would become the usual one."""
    history = run.windows.get("spread", ())
    if len(history) >= LEAST_HISTORY and spread <= policy.constant_output * median(history):
        run.constant_records += 1
        run.varied_records = 0
        return
    run.varied_records += 1
    if run.varied_records >= policy.constant_records:
        run.constant_records = 0
    if not run.constant_records:
        _push(run, "spread", spread)


def _push(run: RunMemory, name: str, value: float) -> None:
    run.windows[name] = (*run.windows.get(name, ())[-(WINDOW - 1) :], value)
