"""Classification of units: alive, dying, dead or born dead, by tests on how long each has been silent.

All tests divide counts of positions by a design effect where examples cannot be told apart.
"""

from __future__ import annotations

import numpy as np

from relumine.schemas import zero_failure
from relumine_server.detection import state
from relumine_server.detection.batch import Flags, Floats, LayerBatch, LayerRecord
from relumine_server.detection.policy import Policy


def silence_nats(batch: LayerBatch, policy: Policy) -> Floats:
    """Return how unlikely each unit's present silence is at its own rate, in nats.

    The rate is only known from m examples, of which a were active; after them s silent ones weigh a · ln(1 + s / m).
    """
    units = batch.units
    examples = np.maximum(units[state.EXAMPLES], np.float32(1))
    active = np.minimum(units[state.ACTIVE], examples * np.float32(policy.rate_cap))
    independent_share = batch.per_unit([1 / design_effect(layer, policy) for layer in batch.layers])
    nats: Floats = active * independent_share * np.log1p(units[state.SILENT] / examples)
    return nats


def design_effect(layer: LayerRecord, policy: Policy) -> float:
    """Return how many of the counted examples or positions are worth one independent example."""
    return policy.positions_design_effect if layer.memory.info.n_unit == "positions" else 1.0


def classify_units(batch: LayerBatch, nats: Floats, median_rates: list[float], policy: Policy) -> list[Flags]:
    """Write each unit's code and return its flags, in the order in which ``RecordStatistics`` counts them."""
    units = batch.units
    in_baseline = units[state.CODE] >= state.BASELINE_OFFSET
    silence = units[state.SILENT]
    ever_active = units[state.ACTIVE] > 0
    is_unusual = silence > np.float32(policy.silence_factor) * units[state.LONGEST_SILENCE]
    dying = ever_active & is_unusual & (nats > np.float32(policy.nats))
    dead_after = batch.per_unit(
        [_dead_after_examples(layer, rate, policy) for layer, rate in zip(batch.layers, median_rates, strict=True)]
    )
    dead = dying & (silence >= dead_after)
    born_dead = _born_dead_units(batch, ever_active, policy)
    code = np.select([born_dead, dead, dying], [state.BORN_DEAD, state.DEAD, state.DYING], state.ALIVE)
    # A unit of the baseline that is active again leaves the baseline: from now on its loss is reported.
    in_baseline &= ~((silence == 0) & ever_active)
    units[state.CODE] = code + state.BASELINE_OFFSET * in_baseline
    eligible = ~in_baseline & ~born_dead
    reported = dying & ~in_baseline
    dense = reported & (nats > np.float32(policy.nats * policy.dense_factor))
    strict = reported & (nats > np.float32(policy.nats_strict))
    return [eligible, reported, dense, strict, dead & ~in_baseline, born_dead, dying & ~dead, dead]


def _born_dead_units(batch: LayerBatch, ever_active: Flags, policy: Policy) -> Flags:
    """Return the units that were never active although chance does not explain it.

    A silence counts only once the units that were active have been active often enough to compare with: a unit of their
    rate would have been active by then.
    """
    layers = batch.layers
    silence = batch.units[state.SILENT]
    is_settled = batch.per_unit([float(layer.memory.records + 1 >= policy.born_dead_records) for layer in layers]) > 0
    min_examples = batch.per_unit([policy.born_dead_examples * design_effect(layer, policy) for layer in layers])
    is_far_below_zero = batch.column("mean") < np.float32(-policy.born_dead_sigma) * batch.sigma()

    active_units = batch.count_units([ever_active])[0]
    active_examples = batch.sum_units([batch.units[state.ACTIVE]])[0]
    needed = [
        design_effect(layer, policy)
        * zero_failure.activations_until_comparable(layer.memory.tracked_units, policy.alpha)
        for layer in layers
    ]
    rate_is_measured = (active_units == 0) | (active_examples >= active_units * np.array(needed))
    is_comparable = batch.per_unit(rate_is_measured.astype(np.float32).tolist()) > 0

    # Where no unit of the layer was ever active, fewer examples are enough.
    layer_min_examples = batch.per_unit([policy.born_dead_whole * design_effect(layer, policy) for layer in layers])
    whole_layer = batch.per_unit((active_units == 0).astype(np.float32).tolist()) > 0

    is_unexplained = (
        ((silence >= min_examples) & is_comparable)
        | is_far_below_zero
        | ((silence >= layer_min_examples) & whole_layer)
    )
    born_dead: Flags = ~ever_active & is_settled & is_unexplained
    return born_dead


def _dead_after_examples(layer: LayerRecord, median_rate: float, policy: Policy) -> float:
    """Return the examples in silence that confirm a unit of this layer dead."""
    return zero_failure.examples_until_dead(
        layer.memory.tracked_units,
        median_rate,
        design_effect=design_effect(layer, policy),
        alpha=policy.alpha,
        dead_rate=policy.dead_rate,
        dead_rate_divisor=policy.dead_rate_divisor,
    )
