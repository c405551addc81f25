"""Why a layer is being lost. Trigger and mechanism are kept apart: the earliest alarming event decides the cause.

Shares of the shift are read only where the client could split it exactly. ``unknown`` is an answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from relumine.table import Array
from relumine.views import Cause, Kind
from relumine_server.detection import state as st
from relumine_server.detection.policy import Policy


@dataclass(frozen=True, slots=True)
class Shares:
    """What took the mean of the lost units down: parts of the downward shift, each in [0, 1], together 1."""

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


def judge(scene: Scene, policy: Policy) -> Verdict:
    """The cause of a dying, dead or born dead layer."""
    if scene.kind == "born_dead":
        return _of_birth(scene)
    for look in (_drift, _event, _upstream, _ramp, _start, _speed, _mechanism):
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


def _of_birth(scene: Scene) -> Verdict:
    """A bias far below what the rest of the pre-activation spreads over kills by itself."""
    arrays = scene.arrays
    if "bias" in arrays and "mean" in arrays and "var" in arrays:
        bias = float(np.median(arrays["bias"].astype(np.float64)))
        rest = float(np.median(arrays["mean"].astype(np.float64) - arrays["bias"]))
        sigma = float(np.sqrt(np.median(arrays["var"].astype(np.float64))))
        if bias < -2 * sigma and abs(bias) > 2 * abs(min(rest, 0.0)):
            return Verdict("negative_bias", 0.8)
    return Verdict("bad_initialization", 0.85)


def _is_slow(scene: Scene, limit: float) -> bool:
    peak = scene.memory.peak_displacement
    return not math.isnan(peak) and peak < limit


def _drift(scene: Scene, policy: Policy) -> Verdict | None:
    """The bias took most of the way, without an event just before, or in steps too small for one."""
    shares, run = scene.shares, scene.run
    if shares is None or shares.bias <= policy.share_majority:
        return None
    events = [step for step in (run.jump_step, run.novel_step) if step is not None]
    recent = any(scene.onset - step <= _window(scene, policy) for step in events)
    if _is_slow(scene, policy.slow_sigma):
        return Verdict("negative_bias", 0.85)
    return None if recent else Verdict("negative_bias", 0.65)


def _event(scene: Scene, policy: Policy) -> Verdict | None:
    """A rate that jumped, or an input that changed, shortly before the onset: the earlier of the two."""
    run, window = scene.run, _window(scene, policy)
    jumped = run.jump_step is not None and scene.onset - run.jump_step <= window
    lasting = run.jump_step is not None and (run.rate or 0.0) >= policy.rate_step * (run.jump_before or math.inf)
    novel = run.novel_step is not None and scene.onset - run.novel_step <= window
    if novel and not (jumped and (run.jump_step or 0) < (run.novel_step or 0)):
        return Verdict("input_shift", 0.85)
    if jumped:
        return Verdict("high_learning_rate", 0.9)
    return Verdict("high_learning_rate", 0.6) if lasting and not _is_slow(scene, policy.slow_sigma) else None


def _window(scene: Scene, policy: Policy) -> float:
    gap = 0.0 if math.isnan(scene.memory.gap) else scene.memory.gap
    return max(policy.armed_steps, 12 * gap)


def _upstream(scene: Scene, policy: Policy) -> Verdict | None:
    """A layer before this one was nearly gone when this one began to go."""
    before = [share for _id, share, onset in scene.upstream if onset < scene.onset and share >= policy.upstream_share]
    return Verdict("upstream_collapse", 0.7) if before else None


def _ramp(scene: Scene, policy: Policy) -> Verdict | None:
    """A rate that climbed without a jump: a warm-up that overshoots."""
    run = scene.run
    low = min(run.windows.get("rate", ()), default=math.inf)
    risen = run.rate is not None and run.rate >= policy.rate_jump * max(low, 1e-12)
    return Verdict("high_learning_rate", 0.7) if risen and not _is_slow(scene, policy.slow_sigma) else None


def _start(scene: Scene, policy: Policy) -> Verdict | None:
    """Most of the layer was silent on the very first record."""
    early = scene.memory.records <= 2 * policy.warmup_records
    mostly = scene.memory.first_silent >= policy.share_majority
    return Verdict("bad_initialization", 0.6) if early and mostly else None


def _speed(scene: Scene, policy: Policy) -> Verdict | None:
    """Large steps without any event. With Adam all steps are large, so this is never sure."""
    fast = not _is_slow(scene, policy.fast_sigma) and not math.isnan(scene.memory.peak_displacement)
    return Verdict("high_learning_rate", 0.55) if fast else None


def _mechanism(scene: Scene, policy: Policy) -> Verdict | None:
    """No event, no haste: the largest part, or a mean bias (BatchNorm's β) that fell by itself."""
    shares, memory = scene.shares, scene.memory
    if shares is not None and shares.bias > policy.share_majority:
        return Verdict("negative_bias", 0.5)
    if shares is not None and memory.info.layer_id == 1 and shares.input > policy.share_majority:
        return Verdict("input_shift", 0.45)
    fallen = bool(memory.trail) and memory.trail[-1][2] < memory.first_bias - 0.5
    return Verdict("negative_bias", 0.5) if memory.info.split != "linear" and fallen else None
