"""Evidence of the units: what a record says of each unit against its own past, for many layers in one array.

Only facts per layer leave this module; what they mean is decided in ``layers``. A layer's numbers do not
depend on which other layers are looked at together with it, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relumine_server.detection import state as st
from relumine_server.detection.batch import Batch, Flags, Floats, Ints, Look
from relumine_server.detection.policy import Policy

HEADROOM = 6.0  # standard deviations; beyond, a unit is just alive or just dead
WEAKEST, LEAST_WEAK = 0.1, 2  # the tenth that is watched, and how many units are below it at least


@dataclass(frozen=True, slots=True)
class Observation:
    """One record of one layer in numbers. Counts are of units; ``eligible`` are those that could still be lost.

    ``dying`` (three tiers) includes ``dead``; both count eligible units. ``all_dying`` and ``all_dead`` are the
    present codes of all units, those of the baseline included.
    """

    units: int
    eligible: int
    silent_now: int
    dying: int
    dying_dense: int
    dying_strict: int
    dead: int
    born_dead: int
    all_dying: int
    all_dead: int
    active_rate: float
    expected_silent: float
    median_rate: float
    kill_ratio: float
    displacement: float
    mean_bias: float
    headroom: float
    bias_sigma: float

    @property
    def excess_silence(self) -> float:
        """Observed minus expected silent share."""
        return self.silent_now / self.units - self.expected_silent / self.units


def observe(units: st.Units, looks: Sequence[Look], policy: Policy) -> list[Observation]:
    """Fold one record each of distinct layers into ``units``, which is written to, and say what was seen."""
    if not looks:
        return []
    batch = Batch(units, looks)
    active, fired = batch.column("active"), batch.column("active") > 0
    expected = _expected_silence(batch, policy)
    _account(batch)
    _count(batch, active, fired, policy)
    nats = _nats(batch, policy)
    rate = _rate(batch.block)
    median = batch.quantile(rate, rate > 0, 0.5)
    flags = _judge(batch, nats, median, policy)
    if not isinstance(batch.index, slice):
        units[:, batch.index] = batch.block
    counts = batch.count([~fired, *flags])
    totals = batch.sums([active, expected, batch.column("bias")])
    typical = zip(
        median, _kill_ratio(batch, fired), _displacement(batch, fired), *_headroom(batch, flags[0]), strict=True
    )
    return [
        _observation(look, counts[:, i], totals[:, i], numbers)
        for i, (look, numbers) in enumerate(zip(looks, typical, strict=True))
    ]


def _observation(
    look: Look, counts: Ints, totals: npt.NDArray[np.float64], typical: tuple[float, float, float, float, float]
) -> Observation:
    n = max(look.record.n_examples, 1)
    units = look.memory.judged_units
    bias = float(totals[2]) / units if look.record.has("bias") else math.nan
    silent, eligible, dying, dense, strict, dead, born, all_dying, all_dead = (int(c) for c in counts)
    median, kill, moved, headroom, sigma = typical
    kill = 0.0 if math.isnan(kill) else kill
    return Observation(
        units, eligible, silent, dying, dense, strict, dead, born, all_dying, all_dead,
        float(totals[0]) / (n * units), float(totals[1]), median, kill, moved, bias,
        headroom, _in_sigma(bias, sigma),
    )  # fmt: skip


def _in_sigma(value: float, sigma: float) -> float:
    """In standard deviations, within the bounds of the headroom; NaN where either is not known."""
    if math.isnan(value) or math.isnan(sigma):
        return math.nan
    return max(-HEADROOM, min(HEADROOM, value / max(sigma, 1e-6)))


def _rate(block: st.Units) -> Floats:
    """Own rate of each unit, frozen at its last activation; 0 where it never fired."""
    rate: Floats = block[st.ACTIVE] / np.maximum(block[st.SEEN], np.float32(1))
    return rate


def _expected_silence(batch: Batch, policy: Policy) -> Floats:
    """Chance of each unit to be silent on this record by its own past rate; 1 where it never fired."""
    rate = np.minimum(_rate(batch.block), np.float32(0.999))
    n = batch.spread([min(look.record.n_examples, 10**6) / _effect(look, policy) for look in batch.looks])
    chance: Floats = np.exp(n * np.log1p(-rate))
    return chance


def _account(batch: Batch) -> None:
    """Add up what moved the mean of units that are not lost yet: a fading sum over about ten records."""
    alive = np.mod(batch.block[st.CODE], st.EXCLUDED) == st.ALIVE
    parts = ((st.SHIFT_WEIGHT, "shift_weight"), (st.SHIFT_INPUT, "shift_input"), (st.SHIFT_BIAS, "shift_bias"))
    for row, name in parts:
        before = batch.block[row]
        batch.block[row] = np.where(alive, before * np.float32(0.9) + batch.column(name), before)


def _count(batch: Batch, active: Floats, fired: Flags, policy: Policy) -> None:
    """Silences and rates. A rate moves only when the unit fires, so that silence never lowers it."""
    block = batch.block
    n = batch.spread([float(look.record.n_examples) for look in batch.looks])
    fade = batch.spread([1 - 1 / _memory(look, policy) for look in batch.looks])
    reported, past, ever = batch.column("silent"), block[st.SILENT].copy(), block[st.ACTIVE] > 0
    silent = np.where(fired, np.minimum(reported, n), np.maximum(past + n, reported))
    ended = np.maximum(batch.column("longest_silence"), np.where(fired, past, np.float32(0)))
    block[st.LONGEST] = np.where(ever, np.maximum(block[st.LONGEST], ended), np.float32(0))
    since = np.where(ever, past, np.float32(0)) + n - silent
    block[st.SEEN] = np.where(fired, block[st.SEEN] * fade + since, block[st.SEEN])
    block[st.SEEN] = np.maximum(block[st.SEEN], np.where(fired, active, block[st.SEEN]))
    block[st.ACTIVE] = np.where(fired, block[st.ACTIVE] * fade + active, block[st.ACTIVE])
    block[st.SILENT] = silent


def _memory(look: Look, policy: Policy) -> float:
    """How many records a rate remembers: few at first, while the layer still finds its way."""
    n = look.record.n_examples
    most = max(policy.memory_records, policy.memory_examples / n)
    return max(1.0, policy.memory_least_examples / n, min(most, look.memory.records * policy.memory_part))


def _nats(batch: Batch, policy: Policy) -> Floats:
    """How unlikely the present silence is at the unit's own rate, which is itself only known from so many examples."""
    block = batch.block
    seen = np.maximum(block[st.SEEN], np.float32(1))
    known = np.minimum(block[st.ACTIVE], seen * np.float32(policy.rate_cap))
    effect = batch.spread([1 / _effect(look, policy) for look in batch.looks])
    nats: Floats = known * effect * np.log1p(block[st.SILENT] / seen)
    return nats


def _effect(look: Look, policy: Policy) -> float:
    return policy.positions_design_effect if look.memory.info.n_unit == "positions" else 1.0


def _judge(batch: Batch, nats: Floats, median: list[float], policy: Policy) -> list[Flags]:
    """Write each unit's code; flags in the order of the counts of ``Observation``."""
    block = batch.block
    excluded = block[st.CODE] >= st.EXCLUDED
    silent, ever = block[st.SILENT], block[st.ACTIVE] > 0
    odd = silent > np.float32(policy.silence_factor) * block[st.LONGEST]
    dying = ever & odd & (nats > np.float32(policy.nats))
    dead = dying & (
        silent >= batch.spread([dead_after(look, m, policy) for look, m in zip(batch.looks, median, strict=True)])
    )
    born = _born_dead(batch, ever, policy)
    code = np.select([born, dead, dying], [st.BORN_DEAD, st.DEAD, st.DYING], st.ALIVE)
    excluded &= ~((block[st.SILENT] == 0) & ever)  # it lives again: from now on its loss would be news
    block[st.CODE] = code + st.EXCLUDED * excluded
    eligible = ~excluded & ~born
    news = dying & ~excluded
    dense = news & (nats > np.float32(policy.nats * policy.dense_factor))
    strict = news & (nats > np.float32(policy.nats_strict))
    return [eligible, news, dense, strict, dead & ~excluded, born, dying & ~dead, dead]


def _born_dead(batch: Batch, ever: Flags, policy: Policy) -> Flags:
    """Units that never fired, where chance does not explain it.

    Not while those that did fire have done so too seldom to say: a unit that fires at their rate p is silent on n
    examples with chance (1 - p)^n, which is α / J where p n, what they were counted to fire, is ln(J / α).
    """
    silent = batch.block[st.SILENT]
    settled = batch.spread([float(look.memory.records + 1 >= policy.born_dead_records) for look in batch.looks]) > 0
    enough = batch.spread([policy.born_dead_examples * _effect(look, policy) for look in batch.looks])
    deep = batch.column("mean") < np.float32(-policy.born_dead_sigma) * np.sqrt(batch.column("var"))
    living, fired = batch.count([ever])[0], batch.sums([batch.block[st.ACTIVE]])[0]
    least = [_effect(look, policy) * math.log(look.memory.judged_units / policy.alpha) for look in batch.looks]
    known = batch.spread(((living == 0) | (fired >= living * np.array(least))).astype(np.float32).tolist()) > 0
    few = silent >= batch.spread([policy.born_dead_whole * _effect(look, policy) for look in batch.looks])
    whole = batch.spread((living == 0).astype(np.float32).tolist()) > 0
    born: Flags = ~ever & settled & (((silent >= enough) & known) | deep | (few & whole))
    return born


def dead_after(look: Look, median_rate: float, policy: Policy) -> float:
    """Examples in silence after which a unit of this layer is confirmed dead: (1 - p0)^n <= α / J."""
    typical = 1.0 if math.isnan(median_rate) else median_rate
    least = min(policy.dead_rate, typical / policy.dead_rate_divisor)
    effect = _effect(look, policy)
    return effect * math.log(look.memory.judged_units / policy.alpha) / max(least, 1e-9)


def _has_peak(batch: Batch) -> Flags:
    """Which units' records carry the batch maximum and its scale; what was not sent is not zero."""
    known = [float(look.record.has("max") and look.record.has("var")) for look in batch.looks]
    return batch.spread(known) > 0


def _kill_ratio(batch: Batch, fired: Flags) -> list[float]:
    """Upper decile over living units of what one update took from the mean, over the batch maximum."""
    top = np.maximum(batch.column("max"), np.float32(0.01) * np.sqrt(batch.column("var")))
    lost = np.maximum(-batch.column("update_shift"), np.float32(0))
    ratio = np.minimum(lost / np.maximum(top, np.float32(1e-12)), np.float32(100))
    return batch.quantile(ratio, fired & _has_peak(batch), 0.9)


def _headroom(batch: Batch, eligible: Flags) -> tuple[list[float], list[float]]:
    """Batch maximum in standard deviations, of the weakest tenth of each layer's units; and the median deviation."""
    sigma = np.sqrt(batch.column("var"))
    top = batch.column("max") / np.maximum(sigma, np.float32(1e-6))
    lifted: Floats = np.clip(top, -HEADROOM, HEADROOM).astype(np.float32) + np.float32(HEADROOM)
    weakest = batch.quantile(lifted, eligible & _has_peak(batch), WEAKEST, LEAST_WEAK)
    return [value - HEADROOM for value in weakest], batch.quantile(sigma, eligible, 0.5)


def _displacement(batch: Batch, fired: Flags) -> list[float]:
    """Median over living units of what one update moved the mean, in standard deviations of the unit."""
    sigma = np.sqrt(batch.column("var"))
    moved = np.abs(batch.column("update_shift"))
    known = fired & (sigma > 0) & (moved > 0)
    ratio = (moved / np.maximum(sigma, np.float32(1e-12))).astype(np.float32)
    return batch.quantile(ratio, known, 0.5)
