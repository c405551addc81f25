"""Classification of units: alive, dying, dead or born dead, by tests on how long each has been silent.

All tests divide counts of positions by a design effect where examples cannot be told apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relumine.schemas import zero_failure
from relumine_server.detection import state
from relumine_server.detection.batch import Flags, Floats, LayerBatch, accumulate
from relumine_server.detection.policy import Policy


def silence_nats(batch: LayerBatch, policy: Policy) -> Floats:
    """Return how unlikely each unit's present silence is at its own rate, in nats.

    The rate is only known from m examples, of which a were active; after them s silent ones weigh a · ln(1 + s / m).
    """
    units = batch.units
    examples = np.maximum(units[state.EXAMPLES], np.float32(1))
    active = np.minimum(units[state.ACTIVE], examples * np.float32(policy.rate_cap))
    independent_share = batch.per_unit(1 / batch.design_effects(policy.positions_design_effect))
    nats: Floats = active * independent_share * np.log1p(units[state.SILENT] / examples)
    return nats


def classify_units(batch: LayerBatch, nats: Floats, median_rates: list[float], policy: Policy) -> list[Flags]:
    """Write each unit's code and return its flags, in the order in which ``RecordStatistics`` counts them."""
    units = batch.units
    silence = units[state.SILENT]
    ever_active = units[state.ACTIVE] > 0
    is_unusual = silence > np.float32(policy.silence_factor) * units[state.LONGEST_SILENCE]
    is_silent_unusually = ever_active & is_unusual
    dying = is_silent_unusually & (nats > np.float32(policy.nats))
    dead_after = batch.per_unit(_dead_after_examples(batch, median_rates, policy))
    dead = dying & (silence >= dead_after)
    born_dead = _born_dead_units(batch, ever_active, policy)
    code = np.select([born_dead, dead, dying], [state.BORN_DEAD, state.DEAD, state.DYING], state.ALIVE)
    in_baseline = _units_in_baseline(batch, ever_active)
    units[state.CODE] = code + state.BASELINE_OFFSET * in_baseline
    eligible = ~in_baseline & ~born_dead
    reported = dying & ~in_baseline
    dense = reported & (nats > np.float32(policy.nats * policy.dense_factor))
    strict = reported & (nats > np.float32(policy.nats_strict))
    jointly = is_silent_unusually & (nats > np.float32(policy.nats_joint)) & ~in_baseline
    return [eligible, reported, dense, strict, jointly, dead & ~in_baseline, born_dead, dying & ~dead, dead]


def _units_in_baseline(batch: LayerBatch, ever_active: Flags) -> Flags:
    """Return the units of the baseline. One that is active again leaves it: from now on its loss is reported."""
    is_active_again = batch.by_round((batch.units[state.SILENT] == 0) & ever_active)
    was_in_baseline = batch.start_units[state.CODE] >= state.BASELINE_OFFSET
    in_baseline: Flags = was_in_baseline & ~accumulate(np.logical_or, is_active_again)
    return in_baseline.ravel()


def _born_dead_units(batch: LayerBatch, ever_active: Flags, policy: Policy) -> Flags:
    """Return the units that were never active although chance does not explain it.

    A silence counts only once the units that were active have been active often enough to compare with: a unit of their
    rate would have been active by then.
    """
    silence = batch.units[state.SILENT]
    records = np.array([layer.earlier_records + 1 for layer in batch.layers])
    is_settled = batch.per_unit(records >= policy.born_dead_records) > 0
    effects = batch.design_effects(policy.positions_design_effect)
    min_examples = batch.per_unit(policy.born_dead_examples * effects)
    is_far_below_zero = batch.column("mean") < np.float32(-policy.born_dead_sigma) * batch.sigma()

    active_units = batch.count_units([ever_active])[0]
    active_examples = batch.sum_units([batch.units[state.ACTIVE]])[0]
    needed = effects * _activations_until_comparable(batch, policy)
    rate_is_measured = (active_units == 0) | (active_examples >= active_units * needed)
    is_comparable = batch.per_unit(rate_is_measured) > 0

    # Where no unit of the layer was ever active, fewer examples are enough.
    layer_min_examples = batch.per_unit(policy.born_dead_whole * effects)
    whole_layer = batch.per_unit(active_units == 0) > 0

    is_unexplained = (
        ((silence >= min_examples) & is_comparable)
        | is_far_below_zero
        | ((silence >= layer_min_examples) & whole_layer)
    )
    born_dead: Flags = ~ever_active & is_settled & is_unexplained
    return born_dead


def _activations_until_comparable(batch: LayerBatch, policy: Policy) -> npt.NDArray[np.float64]:
    of_units = {
        units: zero_failure.activations_until_comparable(units, policy.alpha)
        for units in set(batch.unit_counts.tolist())
    }
    return np.array([of_units[units] for units in batch.unit_counts.tolist()])


def _dead_after_examples(batch: LayerBatch, median_rates: list[float], policy: Policy) -> list[float]:
    """Return, per record, the examples in silence that confirm a unit of its layer dead."""
    effects = batch.design_effects(policy.positions_design_effect)
    columns = (batch.unit_counts.tolist(), median_rates, effects.tolist())
    return [
        zero_failure.examples_until_dead(
            units,
            median_rate,
            design_effect=effect,
            alpha=policy.alpha,
            dead_rate=policy.dead_rate,
            dead_rate_divisor=policy.dead_rate_divisor,
        )
        for units, median_rate, effect in zip(*columns, strict=True)
    ]
