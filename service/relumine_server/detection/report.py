"""From a decision to a finding: gathers the evidence that an alert promises, always with the same keys.

Values are finite or null, and plain Python numbers, so that a finding is JSON as it stands.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np

from relumine.table import Array, Row
from relumine.views import Kind, Severity
from relumine_server.detection import state as st
from relumine_server.detection.causes import Scene, Shares, Verdict, drift_of, judge, judge_run, shares_of
from relumine_server.detection.findings import Finding, Forecast, Transition
from relumine_server.detection.forecast import course, forecast
from relumine_server.detection.layers import Decision
from relumine_server.detection.policy import Policy
from relumine_server.detection.remedies import remedies
from relumine_server.detection.risk import signs
from relumine_server.detection.sentinels import loss_effect, slope

RULE_OF_THREE = 3.0
LARGEST_LOG = 700.0
"""Of what a float holds about the largest logarithm."""
UPSTREAM = 16
"""Layers lost before that evidence names, the first of them: of ten thousand that go at once each would name all."""


def layer_finding(state: st.DetectorState, record: Row, decision: Decision, policy: Policy) -> Finding:
    """The finding that a decision about a layer makes."""
    memory = state.layers[record.layer_id]
    units = state.units[:, memory.span]
    scene = _scene(state, record, decision.kind, units)
    verdict = _verdict(state, scene, decision, policy)
    lost = _lost(units, decision.kind)
    evidence = _layer_evidence(scene, record, lost, _silence(units, lost))
    open_ended = decision.kind == "dying" and decision.transition != "resolved"
    return Finding(
        layer_id=record.layer_id,
        layer=memory.info.name,
        kind=decision.kind,
        transition=decision.transition,
        severity=decision.severity,
        cause=verdict.cause,
        confidence=verdict.confidence,
        step=record.step,
        evidence=evidence,
        forecast=_forecast(memory, state.run, record.step, policy) if open_ended else None,
        remedies=remedies(decision.kind, verdict.cause, evidence, scene.arrays, lost),
        reason=decision.reason,
    )


def _forecast(memory: st.LayerMemory, run: st.RunMemory, step: int, policy: Policy) -> Forecast | None:
    seen = course(memory.risk, signs(memory, run).kill, memory.headroom, memory.records)
    return forecast(step, memory.lost, seen, policy)


def run_finding(
    state: st.DetectorState, record: Row, kind: Kind, transition: Transition, reason: str | None, policy: Policy
) -> Finding:
    """The finding of a problem of the run as a whole: divergence, or an output that no longer depends on its input."""
    problem = state.open.get((0, kind))
    verdict = Verdict(problem.cause, problem.confidence) if problem else judge_run(state, record.step, policy)
    evidence = run_evidence(state.run, record.step) | {"n": record.n_examples or None}
    lost = (i for i, k in state.open if i and k in {"dying", "dead", "born_dead"})
    evidence["upstream"] = list(islice(lost, UPSTREAM))
    severity: Severity = "critical"
    return Finding(
        0, None, kind, transition, severity, verdict.cause, verdict.confidence, record.step, evidence,
        None, remedies(kind, verdict.cause, evidence, {}, None), reason,
    )  # fmt: skip


def _scene(state: st.DetectorState, record: Row, kind: Kind, units: st.Units) -> Scene:
    memory = state.layers[record.layer_id]
    lost = (
        (layer_id, state.layers[layer_id].lost if k != "born_dead" else 1.0, float(problem.step))
        for (layer_id, k), problem in state.open.items()
        if 0 < layer_id < record.layer_id and k in {"dying", "dead", "born_dead"} and layer_id in state.layers
    )
    upstream = tuple(sorted(islice(lost, UPSTREAM)))
    onset = memory.onset if memory.onset >= 0 else float(record.step)
    arrays = record.arrays()
    shares, drift = shares_of(memory, units), drift_of(memory, units, arrays)
    return Scene(kind, memory, state.run, record.step, onset, shares, drift, arrays, upstream)


def _verdict(state: st.DetectorState, scene: Scene, decision: Decision, policy: Policy) -> Verdict:
    """A cause that was named stays, unless it was unknown; the death inherits that of the dying."""
    if decision.kind == "no_data":
        return Verdict("unknown", 0.0)
    layer_id = scene.memory.info.layer_id
    known = state.open.get((layer_id, decision.kind)) or (
        state.open.get((layer_id, "dying")) if decision.kind == "dead" else None
    )
    if known is not None and known.cause != "unknown":
        return Verdict(known.cause, known.confidence)
    return judge(scene, policy)


def _lost(units: st.Units, kind: Kind) -> Array:
    """The units a problem speaks of; those of the baseline are none of its news."""
    wanted: dict[str, tuple[int, ...]] = {"born_dead": (st.BORN_DEAD,), "dead": (st.DEAD,)}
    lost: Array = np.isin(units[st.CODE], wanted.get(kind, (st.DYING, st.DEAD)))
    return lost


def _silence(units: st.Units, lost: Array) -> int | None:
    """The silence that all lost units share, in examples or positions."""
    return int(units[st.SILENT, lost].min()) if lost.any() else None


def _layer_evidence(scene: Scene, record: Row, lost: Array, n: int | None) -> dict[str, Any]:
    """Numbers of the layer; ``n`` is the silence that all lost units share, and 3/n bounds their rate."""
    memory = scene.memory
    norms = (record.update_norm, record.weight_norm)
    evidence = run_evidence(scene.run, record.step, scene.onset, record.learning_rate)
    return evidence | {
        "units": memory.info.units,
        "units_silent": int(lost.sum()),
        "baseline_fraction": _finite(memory.baseline),
        "n": record.n_examples if n is None else n,
        "n_unit": memory.info.n_unit,
        "p_bound": min(RULE_OF_THREE / n, 1.0) if n else None,
        "bias": _bias(scene, lost),
        "shift": _shift(scene.shares),
        "weights": {"change": _weights_change(memory)},
        "update_to_weight": norms[0] / norms[1] if norms[0] is not None and norms[1] else None,
        "kill_ratio": _finite(memory.kill_ratio),
        "risk": memory.risk,
        "headroom": {"now": _finite(memory.headroom), "usual": _finite(memory.usual_headroom)},
        "upstream": sorted({layer_id for layer_id, _share, _onset in scene.upstream}),
    }


def run_evidence(
    run: st.RunMemory, step: int, onset: float | None = None, layer_rate: float | None = None
) -> dict[str, Any]:
    """Every key that an alert promises, filled with what the run itself knows."""
    rates, steps = run.windows.get("rate", ()), run.windows.get("rate_step", ())
    rate = {
        "now": run.rate if run.rate is not None else layer_rate,
        "before": run.jump_before if run.jump_before is not None else (rates[0] if rates else None),
        "changed_at_step": run.jump_step,
        "slope": slope(steps[-24:], rates[-24:]),
    }
    return {
        "units": None,
        "units_silent": None,
        "baseline_fraction": None,
        "n": None,
        "n_unit": "examples",
        "p_bound": None,
        "learning_rate": rate,
        "input": {"changed_at_step": run.novel_step},
        "bias": {"mean": None, "slope_per_step": None, "share": None},
        "shift": {"weight": None, "input": None, "bias": None},
        "weights": {"change": None},
        "update_to_weight": None,
        "kill_ratio": None,
        "risk": None,
        "headroom": {"now": None, "usual": None},
        "upstream": [],
        "loss_effect": loss_effect(run, _first_cause(run, float(step) if onset is None else onset)),
    }


def _first_cause(run: st.RunMemory, onset: float) -> float:
    """The step from which harm is counted: the event that led to the onset, where there was one."""
    events = [step for step in (run.jump_step, run.novel_step) if step is not None and 0 <= onset - step <= 200]
    return float(min(events, default=onset))


def _weights_change(memory: st.LayerMemory) -> float | None:
    """Of the size of the weights, as a part of what it usually is."""
    return _finite(math.expm1(min(memory.log_weight - memory.usual_log_weight, LARGEST_LOG)))


def _bias(scene: Scene, lost: Array) -> dict[str, float | None]:
    bias = scene.arrays.get("bias")
    points = [(step, value) for step, _lost, value in scene.memory.trail if not math.isnan(value)]
    chosen = None if bias is None else bias[lost] if lost.any() else bias
    return {
        "mean": None if chosen is None else float(chosen.astype(np.float64).mean()),
        "slope_per_step": slope([step for step, _ in points], [value for _, value in points]),
        "share": None if scene.shares is None else scene.shares.bias,
    }


def _shift(shares: Shares | None) -> dict[str, float | None]:
    if shares is None:
        return {"weight": None, "input": None, "bias": None}
    return {"weight": shares.weight, "input": shares.input, "bias": shares.bias}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
