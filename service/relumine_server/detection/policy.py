"""The thresholds of the detector, each with its reason. Nothing else may hold one.

Values marked *runs* were set on real trainings (``benchmarks/detection``), the others follow from counting.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """When evidence becomes a decision. Shares are of the units that could still be lost."""

    # Evidence of a unit, in nats: how unlikely its present silence would be at its own rate.
    nats: float = 10.0
    """ln(J·T/alpha) for 64 units, 20 independent looks and alpha = 0.05 is 10.1: the early tier."""
    nats_strict: float = 17.0
    """ln(1,000 units · 1,000 looks / 0.05) = 16.8: no unit of a whole run by chance."""
    dense_factor: float = 2.0
    """Looks at every step see the same regime again and again: without a rate event they need twice the evidence."""
    dense_gap_steps: int = 2
    """Looks at most this far apart are dense."""
    silence_factor: float = 1.25
    """A silence must exceed the longest earlier one by a quarter, or it is the unit's habit."""
    rate_cap: float = 0.5
    """A unit that nearly always fires is no better known than one that fires on every other example."""
    memory_records: float = 30.0
    """A rate remembers this many records, so that ordinary specialisation is not read as a fall."""
    memory_examples: float = 1000.0
    """… and at least this many examples, so that small batches still measure small rates."""
    memory_part: float = 1 / 3
    """A young layer changes fast: a rate remembers the last third of its life (runs: sparse nets)."""
    memory_least_examples: float = 300.0
    """… but never fewer examples than tell a rate of one in a hundred."""
    positions_design_effect: float = 10.0
    """Positions of one example are alike: ten of them count as one where examples cannot be told apart."""

    # Confirmed death of a unit: the zero-failure test (1 - p0)^n <= alpha / J.
    alpha: float = 0.05
    """Chance of one wrongly confirmed unit in a layer."""
    dead_rate: float = 0.01
    """A unit that fires less often than this is as good as dead in an ordinary layer …"""
    dead_rate_divisor: float = 20.0
    """… and in a sparse layer one that fires 20 times less often than the layer's median unit."""

    # Born dead.
    born_dead_records: int = 3
    """The first step is one batch; three looks are three."""
    born_dead_examples: int = 200
    """Rule of three: never active on 200 examples bounds the rate by 1.5 %."""
    born_dead_sigma: float = 4.0
    """… or a mean so many standard deviations below zero: of a Gaussian 3 in 100,000 lie above."""
    born_dead_whole: int = 30
    """… or so many examples that fired no unit of the layer at all: nothing has passed it yet."""
    born_dead_layer: float = 0.5
    """Share of a layer that makes it mostly born dead: worth knowing, for sound released models have it too."""
    born_dead_critical: float = 0.9
    """Share at which a fresh layer cannot work."""

    # A layer's decision.
    warmup_records: int = 10
    """Units settle during the first looks: they build the baseline, and only the strict tier may speak (runs)."""
    risk: float = 0.6
    """Risk (``risk.py``) that makes a warning: it warned of 1 of 162 sound runs of the tune half (runs)."""
    risk_early: float = 0.7
    """Risk that makes one before there is a baseline: every layer changes much at first (runs)."""
    risk_sure: float = 0.8
    """Risk that needs no second look: a kill is over before there is one (runs)."""
    risk_records: int = 3
    """Looks at a layer before it has a risk: trends need a past."""
    info_share: float = 0.2
    """Share of units in unexplained silence that is worth showing where nothing else speaks of danger."""
    critical_share: float = 0.35
    """Share at the strict tier that makes it critical (runs: healthy layers were never seen there)."""
    warmup_share: float = 0.5
    """Share at the strict tier that is believed even before a baseline exists: a sudden kill."""
    harmless_records: int = 10
    """A death during which the loss went on falling for this many looks is told as ``info``."""
    least_units: int = 4
    """Fewer units than this never make a decision in a layer that has them."""
    confirm_records: int = 2
    """A warning stands for two looks before it is spoken; a kill after a rate event needs one."""
    dead_share: float = 0.5
    """Share of the units alive at the start, confirmed dead, at which the layer is called dead."""
    resolve_factor: float = 0.5
    """A decision is withdrawn below half of what raised it, so that it cannot flap."""
    resolve_records: int = 8
    """… and only when that has lasted for eight looks: a rate that comes back brings the danger back (runs)."""

    # Sentinels of the run.
    rate_jump: float = 2.0
    """A learning rate at twice its own median is an event; the SDK looks closer at the same factor."""
    rate_step: float = 1.5
    """… if it came in one stride; a warm-up ramp climbs by small parts of itself."""
    armed_steps: int = 100
    """Deaths by a high rate take 1 to 18 steps; the burst lasts 50, and confirmation as long again."""
    novelty: float = 10.0
    """Deviations from the input's own median, in robust standard deviations, that make it novel."""
    novelty_floor: float = 0.05
    """… of which one is never less than this part of the input's own spread."""
    novelty_records: int = 30
    """An input that stays different this long is the new normal."""
    constant_output: float = 0.02
    """Part of its usual spread at which the output no longer depends on the input."""
    constant_records: int = 3
    """… for this many looks."""
    clean_steps: int = 3
    """Sampled steps without a non-finite number after which a divergence is over."""

    # Causes.
    fast_sigma: float = 0.05
    """Displacement of half a standard deviation in ten steps: what high rates do to a layer (runs)."""
    early_records: int = 12
    """Looks after which a start is no explanation any more."""
    tiny_weights: float = 0.25
    """Norm of the first weights over that of He's; PyTorch's default has 0.41. Below, the bias is all there is."""
    huge_weights: float = 1.8
    """… and above this no initialization in use."""
    rate_trend: float = 0.35
    """A rate 40 % above what is usual of it, in log, is on its way somewhere else."""
    bias_fall: float = 0.3
    """Standard deviations by which a bias that runs away lies below its own past (runs)."""
    bias_lead: float = 0.5
    """Part of the way of the weights that such a bias takes at least."""
    weights_shrink: float = 0.3
    """Log by which weights under a decay of their own fall below what is usual of them."""
    drift_sigma: float = 0.1
    """Standard deviations in ten looks by which the typical unit sinks where it is pushed (runs)."""
    upstream_share: float = 0.8
    """A layer that has lost this share passes almost nothing on."""

    # Forecast.
    forecast_chance: float = 0.8
    """A collapse less likely than this is not foretold: the interval could not hold four times in five."""


DEFAULT = Policy()
