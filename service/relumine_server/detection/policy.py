"""The detector's thresholds: the default of each, the range a project may set it to, and the reason for its default.

Numbers whose reason ends in *set on real trainings* were chosen on the corpus of ``research``; the others follow from
counting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from relumine.schemas import zero_failure
from relumine_server.errors import InvalidPolicy

_METADATA_KEY = "threshold"
_SMALLEST = 1e-6
_LARGEST = 10**6


@dataclass(frozen=True, slots=True)
class Threshold:
    """The default of a threshold, its range (both ends allowed), and the reason for its default.

    The range keeps the detector sound, not wise: no number in it makes ``advance`` fail. The effect of a number on real
    runs is for a backtest to tell.
    """

    default: float
    minimum: float
    maximum: float
    is_integer: bool
    reason: str

    def allows(self, value: float) -> bool:
        """Return whether the threshold may be set to ``value``."""
        return self.minimum <= value <= self.maximum and not (self.is_integer and value != int(value))


def _count(default: int, reason: str) -> int:
    """Declare a threshold that is a whole number from 1 on."""
    threshold = Threshold(default, 1, _LARGEST, is_integer=True, reason=reason)
    return field(default=default, metadata={_METADATA_KEY: threshold})


def _number(default: float, reason: str) -> float:
    """Declare a threshold that is a positive number."""
    threshold = Threshold(default, _SMALLEST, float(_LARGEST), is_integer=False, reason=reason)
    return field(default=default, metadata={_METADATA_KEY: threshold})


def _fraction(default: float, reason: str) -> float:
    """Declare a threshold that is a share, a probability, or small against one: a positive number up to 1."""
    threshold = Threshold(default, _SMALLEST, 1.0, is_integer=False, reason=reason)
    return field(default=default, metadata={_METADATA_KEY: threshold})


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds at which evidence becomes a decision. Shares are of the units that could still be lost."""

    # Evidence about a unit, in nats: how unlikely its present silence would be at its own active rate.
    nats: float = _number(
        zero_failure.SILENCE_NATS,
        "ln(J·T/alpha) for 64 units, 20 independent sampled steps and alpha = 0.05 is 10.1: the early tier.",
    )
    nats_strict: float = _number(
        17.0, "ln(1,000 units · 1,000 sampled steps / 0.05) = 16.8: no unit of a whole run by chance."
    )
    nats_joint: float = _number(
        5.0,
        "By chance 0.7 % of the units have this much evidence. If a large share of a layer has, its units are being"
        " lost, although each is too rare to be called dying by itself.",
    )
    dense_factor: float = _number(
        2.0,
        "Dense sampling sees one regime again and again: unless the learning rate jumped, it needs twice the evidence.",
    )
    dense_gap_steps: int = _count(2, "Sampled steps at most this far apart are dense.")
    silence_factor: float = _number(
        zero_failure.SILENCE_FACTOR,
        "A silence must exceed the longest earlier one by a quarter, or it is the unit's habit.",
    )
    rate_cap: float = _fraction(
        zero_failure.RATE_CAP,
        "A unit that is nearly always active is no better known than one active on every other example.",
    )
    memory_records: float = _number(
        30.0, "A unit's rate remembers this many records, so that ordinary specialization is not read as a fall."
    )
    memory_examples: float = _number(
        1000.0, "A unit's rate remembers at least this many examples, so that small batches still measure small rates."
    )
    memory_part: float = _fraction(
        1 / 3, "A young layer changes fast: a rate remembers the latest third of its records; set on real trainings."
    )
    memory_least_examples: float = _number(
        300.0, "A rate never remembers fewer examples than it takes to measure a rate of one in a hundred."
    )
    positions_design_effect: float = _number(
        zero_failure.POSITIONS_DESIGN_EFFECT,
        "Positions of one example are alike: ten of them count as one where examples cannot be told apart.",
    )

    # Confirmed death of a unit: the zero-failure test (1 - p0)^n <= alpha / J.
    alpha: float = _fraction(zero_failure.ALPHA, "Chance of one wrongly confirmed unit in a layer.")
    dead_rate: float = _fraction(
        zero_failure.DEAD_RATE, "In an ordinary layer a unit that is active less often than this is as good as dead."
    )
    dead_rate_divisor: float = _number(
        zero_failure.DEAD_RATE_DIVISOR,
        "In a sparse layer a unit is as good as dead when it is active 20 times less often than the median unit.",
    )

    # Born dead.
    born_dead_records: int = _count(
        3, "One batch is too few to call a unit born dead; three sampled steps are three batches."
    )
    born_dead_examples: int = _count(
        zero_failure.BORN_DEAD_EXAMPLES, "Rule of three: never active on 200 examples bounds the rate by 1.5 %."
    )
    born_dead_sigma: float = _number(
        4.0,
        "Standard deviations below zero at which a mean shows a unit born dead: of a Gaussian 3 in 100,000 lie above.",
    )
    born_dead_whole: int = _count(
        30, "Examples that show a layer born dead where they activated none of its units: nothing has passed it yet."
    )
    born_dead_layer: float = _fraction(
        0.5, "Share of a layer that makes it mostly born dead: worth knowing, but sound released models have it too."
    )
    born_dead_warning: float = _fraction(
        0.6, "Share from which a layer is alarmed: below it many nets train as well as without; set on real trainings."
    )
    born_dead_critical: float = _fraction(0.9, "Share at which a fresh layer cannot work.")

    # Decisions about a layer.
    warmup_records: int = _count(
        10, "Units settle during the first sampled steps, which build the baseline; set on real trainings."
    )
    risk: float = _fraction(
        0.6,
        "Risk that makes a warning: 0.5 warns a little earlier and alarms more sound runs; set on real trainings.",
    )
    risk_early: float = _fraction(
        0.7,
        "Risk that makes a warning before there is a baseline: layers change much at first; set on real trainings.",
    )
    risk_sure: float = _fraction(
        0.75,
        "Risk that makes a warning at a single sampled step: a kill is over before the next; set on real trainings.",
    )
    risk_records: int = _count(3, "Sampled steps of a layer before it has a risk: trends need a past.")
    info_share: float = _fraction(
        0.2, "Share of units in unexplained silence that is worth showing where nothing else indicates danger."
    )
    critical_share: float = _fraction(
        0.35, "Share at the strict tier that makes it critical: no healthy layer came there; set on real trainings."
    )
    joint_share: float = _fraction(
        0.5, "Share of units with `nats_joint` that makes a warning: half of a layer, as for a dead one."
    )
    warmup_share: float = _fraction(
        0.5, "Share at the strict tier that is believed even before a baseline exists: a sudden kill."
    )
    harmless_records: int = _count(
        10, "A death during which the loss kept falling for this many sampled steps is reported as info."
    )
    least_units: int = _count(4, "Fewer units than this never decide about a layer that has more.")
    confirm_records: int = _count(
        2,
        "Sampled steps for which a warning must hold, unless its risk is sure or the input is new. A lower risk"
        " counts in part, a calm one takes some back; of dense ones two in a row count as one.",
    )
    dead_share: float = _fraction(
        0.5, "Share of the units alive at the start at which, confirmed dead, the layer is called dead."
    )
    resolve_factor: float = _fraction(
        0.5, "A decision is withdrawn below half of what raised it, so that it cannot flap."
    )
    resolve_records: int = _count(
        8, "Sampled steps in a row that withdraw a decision: a danger that pauses comes back; set on real trainings."
    )

    # Signals of the run.
    rate_jump: float = _number(
        2.0, "A learning rate at twice its own median has jumped; the SDK samples densely from the same factor on."
    )
    rate_step: float = _number(
        1.5, "A jump comes in one stride of at least this factor: a warm-up ramp climbs by small parts of itself."
    )
    armed_steps: int = _count(
        100,
        "Deaths by a high learning rate take 1 to 18 steps; dense sampling lasts 50, and confirmation as long again.",
    )
    novelty: float = _number(
        10.0, "Deviations from the input's own median, in robust standard deviations, that make it novel."
    )
    novelty_floor: float = _fraction(
        0.05, "A robust standard deviation of an input counts as no less than this part of the input's own spread."
    )
    novelty_records: int = _count(30, "Sampling intervals after which an input that stays different is the new normal.")
    constant_output: float = _fraction(
        0.02, "Part of its usual spread at which the output no longer depends on the input."
    )
    constant_records: int = _count(3, "Sampled steps in a row that make an output constant, or end it.")
    clean_steps: int = _count(3, "Sampled steps without a non-finite number after which a divergence is over.")

    # Causes.
    fast_sigma: float = _fraction(
        0.05, "Half a standard deviation in ten steps: how far high learning rates move a unit; set on real trainings."
    )
    early_records: int = _count(12, "Sampled steps after which the start of a training no longer explains a loss.")
    tiny_weights: float = _fraction(
        0.25,
        "Norm of the first weights over that of He's below which only the bias is left; PyTorch's default has 0.41.",
    )
    huge_weights: float = _number(
        1.8, "Norm of the first weights over that of He's above which no initialization in use lies."
    )
    large_sigma: float = _number(
        1.5, "He's weights on a normalized input spread first pre-activations by 1.4; no usual start spreads them more."
    )
    push_coherence: float = _fraction(
        0.65, "Part of its largest step that a steady push keeps up; most rates that are too high stay below 0.45."
    )
    pushed_sigma: float = _fraction(
        0.5, "Standard deviations that a unit fell by a steady push before it is named: less than this is noise."
    )
    rate_trend: float = _fraction(
        0.35, "A learning rate 40 % above its usual value, 0.35 in log, is on its way to another one."
    )
    bias_fall: float = _fraction(
        0.3, "Standard deviations by which a falling bias lies below its own past; set on real trainings."
    )
    bias_lead: float = _fraction(
        0.5, "Part of the weights' downward shift that a falling bias adds at least where it is the cause."
    )
    weights_shrink: float = _fraction(0.3, "Log by which weights under weight decay fall below their usual norm.")
    drift_sigma: float = _fraction(
        0.1,
        "Standard deviations in ten sampled steps by which a unit sinks that is pushed down; set on real trainings.",
    )
    upstream_share: float = _fraction(0.8, "A layer that has lost this share passes almost nothing on.")

    # Forecast.
    forecast_chance: float = _fraction(
        0.8, "A collapse less likely than this is not forecast: the interval could not hold four times in five."
    )


DEFAULT = Policy()

THRESHOLDS: Mapping[str, Threshold] = {f.name: f.metadata[_METADATA_KEY] for f in fields(Policy)}


def in_force(policy: Policy) -> dict[str, float]:
    """Return every threshold by name."""
    return {name: getattr(policy, name) for name in THRESHOLDS}


def changed(policy: Policy) -> dict[str, float]:
    """Return the thresholds that differ from their defaults."""
    return {name: value for name, value in in_force(policy).items() if value != THRESHOLDS[name].default}


def build(values: Mapping[str, float]) -> Policy:
    """Return the default policy with these thresholds replaced.

    Raises InvalidPolicy for an unknown name or a number out of range, without repeating what was sent.
    """
    if values.keys() - THRESHOLDS.keys():
        raise InvalidPolicy("unknown threshold; GET /v1/projects/{project}/policy lists all of them")
    for name, value in values.items():
        threshold = THRESHOLDS[name]
        if not threshold.allows(value):
            kind = "a whole number" if threshold.is_integer else "a number"
            raise InvalidPolicy(f"{name} is {kind} from {threshold.minimum:g} to {threshold.maximum:g}")
    return _with_thresholds(values)


def restore(stored: Mapping[str, float]) -> Policy:
    """Return a stored policy. Thresholds that another version stored and ``build`` would refuse keep their defaults."""
    valid = {name: value for name, value in stored.items() if name in THRESHOLDS and THRESHOLDS[name].allows(value)}
    return _with_thresholds(valid)


def _with_thresholds(values: Mapping[str, float]) -> Policy:
    typed = {name: int(value) if THRESHOLDS[name].is_integer else float(value) for name, value in values.items()}
    return replace(DEFAULT, **typed)  # type: ignore[arg-type]  # the type of each is that of its threshold
