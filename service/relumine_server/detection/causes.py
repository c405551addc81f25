"""Why a layer is being lost. Trigger and mechanism are kept apart: the earliest alarming event decides the cause.

Questions are asked in the order in which an answer explains the next: an input that changed makes gradients explode, a
rate that changed moves weights and biases alike; what drifts down without either is pushed. Shares of the shift are
read only where the client could split it exactly. ``unknown`` is an answer. Confidences lie at or below
the shares of right answers on the tune half, where a claim was made there at all (``benchmarks/detection/score.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from relumine.table import Array
from relumine.views import Cause, Kind
from relumine_server.detection import state as st
from relumine_server.detection.policy import Policy
from relumine_server.detection.risk import rate_trend


@dataclass(frozen=True, slots=True)
class Shares:
    """What took the mean of the lost units down: parts of the downward shift, each in [0, 1], together 1."""

    weight: float
    input: float
    bias: float


@dataclass(frozen=True, slots=True)
class Drift:
    """Where the typical unit that could be lost went over about ten looks, in its standard deviations, part by part."""

    weight: float
    input: float
    bias: float


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a cause is judged on. ``upstream`` holds the layers lost before, with their lost share and onset."""

    kind: Kind
    memory: st.LayerMemory
    run: st.RunMemory
    step: int
    onset: float
    shares: Shares | None
    drift: Drift | None
    arrays: dict[str, Array]
    upstream: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cause and how sure it is, in [0, 1]."""

    cause: Cause
    confidence: float


def shares_of(memory: st.LayerMemory, units: st.Units) -> Shares | None:
    """Shares over the lost units of a layer; None where its split is not exact or nothing moved down.

    ``units`` is the layer's part of the state, of shape (8, units). Every unit has one vote.
    """
    if memory.info.split != "linear":
        return None
    lost = np.isin(units[st.CODE], (st.DYING, st.DEAD))
    parts = np.maximum(-units[st.SHIFT_WEIGHT : st.SHIFT_BIAS + 1, lost].astype(np.float64), 0)
    total = parts.sum(0)
    if not (total > 0).any():
        return None
    weight, read, bias = (float(v) for v in (parts[:, total > 0] / total[total > 0]).mean(1))
    return Shares(weight, read, bias)


def drift_of(memory: st.LayerMemory, units: st.Units, arrays: dict[str, Array]) -> Drift | None:
    """Median drift over the units that could be lost; None where the split is not exact. ``units``: (8, units)."""
    if memory.info.split != "linear" or "var" not in arrays:
        return None
    eligible = (units[st.CODE] < st.EXCLUDED) & (units[st.CODE] != st.BORN_DEAD)
    if not eligible.any():
        return None
    sigma = np.sqrt(arrays["var"][eligible].astype(np.float64)) + 1e-12
    parts = units[st.SHIFT_WEIGHT : st.SHIFT_BIAS + 1, eligible] / sigma
    return Drift(*(float(v) for v in np.median(np.clip(parts, -10, 10), axis=1)))


def judge(scene: Scene, policy: Policy) -> Verdict:
    """The cause of a dying, dead or born dead layer."""
    if scene.kind == "born_dead":
        return _of_birth(scene, policy)
    for look in (_input, _scale, _upstream, _early_bias, _rate, _shrinkage, _early_speed, _downward, _speed):
        verdict = look(scene, policy)
        if verdict is not None:
            return verdict
    return Verdict("unknown", 0.3)


def judge_run(state: st.DetectorState, step: int, policy: Policy) -> Verdict:
    """The cause of what befalls the run as a whole: that of the layer that was lost first, or an event."""
    run = state.run
    lost = [problem for (layer_id, _kind), problem in state.open.items() if layer_id and problem.severity != "info"]
    if lost:
        first = min(lost, key=lambda problem: problem.step)
        return Verdict(first.cause, first.confidence)
    if run.jump_step is not None and step - run.jump_step <= 2 * policy.armed_steps:
        return Verdict("high_learning_rate", 0.8)
    if run.novel_step is not None and step - run.novel_step <= policy.armed_steps:
        return Verdict("input_shift", 0.7)
    return Verdict("unknown", 0.3)


def _of_birth(scene: Scene, policy: Policy) -> Verdict:
    """Weights of a usual size under a bias far below what they spread over: the bias. Else the initialization."""
    arrays = scene.arrays
    if scene.memory.first_weight < policy.tiny_weights:
        return Verdict("bad_initialization", 0.9)
    if "bias" in arrays and "mean" in arrays and "var" in arrays:
        bias = float(np.median(arrays["bias"].astype(np.float64)))
        rest = float(np.median(arrays["mean"].astype(np.float64) - arrays["bias"]))
        sigma = float(np.sqrt(np.median(arrays["var"].astype(np.float64))))
        if bias < -2 * sigma and abs(bias) > 2 * abs(min(rest, 0.0)):
            return Verdict("negative_bias", 0.9)
    return Verdict("bad_initialization", 0.9)


def _input(scene: Scene, policy: Policy) -> Verdict | None:
    """An input far outside of its own past before the onset, unless a rate that jumped came first."""
    run = scene.run
    novel = run.novel_step is not None and scene.onset - run.novel_step <= _window(scene, policy)
    jumped = run.jump_step is not None and scene.onset - run.jump_step <= _window(scene, policy)
    if not novel or (jumped and (run.jump_step or 0) < (run.novel_step or 0)):
        return None
    return Verdict("input_shift", 0.95)


def _scale(scene: Scene, policy: Policy) -> Verdict | None:
    """Weights that began far larger than any usual initialization makes them, and a layer that is lost at once."""
    huge = scene.memory.first_weight > policy.huge_weights
    return Verdict("bad_initialization", 0.9) if huge and _is_early(scene, policy) else None


def _upstream(scene: Scene, policy: Policy) -> Verdict | None:
    """A layer before this one was nearly gone when this one began to go."""
    before = [share for _id, share, onset in scene.upstream if onset < scene.onset and share >= policy.upstream_share]
    return Verdict("upstream_collapse", 0.7) if before else None


def _early_bias(scene: Scene, policy: Policy) -> Verdict | None:
    """A bias that runs away from the very start, and takes most of the way with it."""
    fallen = scene.memory.bias_sigma - scene.memory.usual_bias_sigma < -policy.bias_fall
    drift = scene.drift
    led = drift is None or drift.bias < min(drift.weight, 0.0) * policy.bias_lead
    return Verdict("negative_bias", 0.85) if fallen and led and not _has_new_rate(scene, policy) else None


def _rate(scene: Scene, policy: Policy) -> Verdict | None:
    """A rate that left its own history, at once or by creeping."""
    return Verdict("high_learning_rate", 0.95) if _has_new_rate(scene, policy) else None


def _shrinkage(scene: Scene, policy: Policy) -> Verdict | None:
    """Weights that shrink while the bias is left: a decay of weights only."""
    memory = scene.memory
    shrunk = memory.log_weight - memory.usual_log_weight < -policy.weights_shrink
    return Verdict("negative_bias", 0.85) if shrunk and memory.bias_sigma < 0 else None


def _early_speed(scene: Scene, policy: Policy) -> Verdict | None:
    """Large steps at the start of a training: a rate too high from the first. With Adam all steps are large."""
    peak = scene.memory.peak_displacement
    fast = not math.isnan(peak) and peak >= policy.fast_sigma
    return Verdict("high_learning_rate", 0.8) if fast and _is_early(scene, policy) else None


def _downward(scene: Scene, policy: Policy) -> Verdict | None:
    """Under an input and a rate as ever the typical unit sinks: something pushes pre-activations down.

    Weights on inputs that are never negative act as a bias does, so weights and bias count together.
    """
    drift, memory = scene.drift, scene.memory
    if drift is not None:
        sinks = drift.weight + drift.bias < -policy.drift_sigma
        fed = drift.input < drift.weight + drift.bias
        if sinks:
            return Verdict("negative_bias", 0.7 if fed else 0.85)
    fallen = memory.bias_sigma - memory.usual_bias_sigma < -0.5 * policy.drift_sigma
    return Verdict("negative_bias", 0.8) if fallen else None


def _speed(scene: Scene, policy: Policy) -> Verdict | None:
    """Large steps and nothing else that explains them, as when momentum is raised under a rate that stays."""
    fast = scene.memory.peak_displacement >= policy.fast_sigma  # False where it is not known
    return Verdict("high_learning_rate", 0.55) if fast else None


def _has_new_rate(scene: Scene, policy: Policy) -> bool:
    run = scene.run
    jumped = run.jump_step is not None and 0 <= scene.onset - run.jump_step <= _window(scene, policy)
    lasting = jumped and (run.rate or 0.0) >= policy.rate_step * (run.jump_before or math.inf)
    spiked = jumped and scene.step - (run.jump_step or 0) <= policy.armed_steps
    if lasting or spiked:
        return True
    return rate_trend(run) >= policy.rate_trend


def _is_early(scene: Scene, policy: Policy) -> bool:
    return scene.memory.records <= policy.early_records


def _window(scene: Scene, policy: Policy) -> float:
    gap = 0.0 if math.isnan(scene.memory.gap) else scene.memory.gap
    return max(policy.armed_steps, 12 * gap)
