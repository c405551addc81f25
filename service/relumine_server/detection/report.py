"""Findings from decisions: gathers the evidence that an alert promises, always with the same keys.

Values are finite or null, and plain Python numbers, so that a finding is ready for JSON.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np

from relumine.schemas.alert import Kind
from relumine.schemas.record_table import Array, Row
from relumine_server.detection import state as detection_state
from relumine_server.detection.cause_evidence import (
    CauseEvidence,
    LostLayer,
    ShiftShares,
    median_shift,
    shift_shares,
)
from relumine_server.detection.causes import Attribution, attribute_cause, attribute_run_cause
from relumine_server.detection.decisions import Decision
from relumine_server.detection.findings import Finding, Forecast, Transition
from relumine_server.detection.policy import Policy
from relumine_server.detection.remedies import Target, remedies
from relumine_server.detection.risk import forecast, forecast_features, risk_features
from relumine_server.detection.run_evidence import run_evidence
from relumine_server.detection.run_signals import slope

RULE_OF_THREE = 3.0
"""n examples without an activation bound the rate by 3/n, with 95 % confidence."""
MAX_EXPONENT = 700.0
"""About the largest number whose exponential a float holds."""
MAX_UPSTREAM_LAYERS = 16
"""Lost layers that evidence names, the first of them: of ten thousand that go at once each would name all."""
LOST_KINDS = ("dying", "dead", "born_dead")


def layer_finding(state: detection_state.DetectorState, record: Row, decision: Decision, policy: Policy) -> Finding:
    """Return the finding of a decision about a layer."""
    memory = state.layers[record.layer_id]
    units = state.units[:, memory.unit_slice]
    cause_evidence = _cause_evidence(state, record, decision.kind, units)
    attribution = _attribution(state, cause_evidence, decision, policy)
    is_lost = _lost_units(units, decision.kind)
    evidence = _layer_evidence(cause_evidence, record, is_lost, _shared_silence(units, is_lost))
    is_ongoing = decision.kind == "dying" and decision.transition != "resolved"
    target = _target(state, memory.info.name, evidence)
    proposed = remedies(decision.kind, attribution.cause, evidence, cause_evidence.arrays, is_lost, target)
    return Finding(
        layer_id=record.layer_id,
        layer=memory.info.name,
        kind=decision.kind,
        transition=decision.transition,
        severity=decision.severity,
        cause=attribution.cause,
        confidence=attribution.confidence,
        step=record.step,
        evidence=evidence,
        forecast=_forecast(memory, state.run, record.step, policy) if is_ongoing else None,
        remedies=proposed,
        reason=decision.reason,
        layer_label=memory.info.label,
    )


def _forecast(
    memory: detection_state.LayerMemory, run: detection_state.RunMemory, step: int, policy: Policy
) -> Forecast | None:
    log_kill_ratio = risk_features(memory, run).log_kill_ratio
    features = forecast_features(memory.risk, log_kill_ratio, memory.headroom, memory.records)
    return forecast(step, memory.lost_fraction, features, policy)


def run_finding(
    state: detection_state.DetectorState,
    record: Row,
    kind: Kind,
    transition: Transition,
    reason: str | None,
    policy: Policy,
) -> Finding:
    """Return the finding of a problem of the run: divergence, or an output that no longer depends on its input."""
    problem = state.open_problems.get((0, kind))
    if problem is not None:
        attribution = Attribution(problem.cause, problem.confidence)
    else:
        attribution = attribute_run_cause(state, record.step, policy)
    lost_layers = (layer_id for layer_id, open_kind in state.open_problems if layer_id and open_kind in LOST_KINDS)
    evidence = run_evidence(state.run, record.step)
    evidence["n"] = record.n_examples or None
    evidence["upstream"] = list(islice(lost_layers, MAX_UPSTREAM_LAYERS))
    return Finding(
        layer_id=0,
        layer=None,
        kind=kind,
        transition=transition,
        severity="critical",
        cause=attribution.cause,
        confidence=attribution.confidence,
        step=record.step,
        evidence=evidence,
        remedies=remedies(kind, attribution.cause, evidence, {}, None, _target(state, None, evidence)),
        reason=reason,
    )


def _target(state: detection_state.DetectorState, layer: str | None, evidence: dict[str, Any]) -> Target:
    """Return the layer that remedies are for, with the first of the lost layers before it; name it in the evidence."""
    upstream = [state.layers[layer_id].info for layer_id in evidence["upstream"] if layer_id in state.layers]
    evidence["upstream_names"] = [info.label for info in upstream]
    first = upstream[0] if upstream else None
    if first is None:
        return Target(layer)
    return Target(layer, first.name, first.label)


def _cause_evidence(
    state: detection_state.DetectorState, record: Row, kind: Kind, units: detection_state.Units
) -> CauseEvidence:
    memory = state.layers[record.layer_id]
    arrays = record.arrays()
    return CauseEvidence(
        kind=kind,
        memory=memory,
        run=state.run,
        step=record.step,
        onset_step=memory.onset_step if memory.onset_step >= 0 else float(record.step),
        shift_shares=shift_shares(memory, units),
        median_shift=median_shift(memory, units, arrays),
        arrays=arrays,
        upstream=_lost_upstream_layers(state, record.layer_id),
        earlier=tuple(layer for layer_id, layer in state.layers.items() if layer_id < record.layer_id),
    )


def _lost_upstream_layers(state: detection_state.DetectorState, before_layer_id: int) -> tuple[LostLayer, ...]:
    """Return the first lost layers before a layer, in order of their ids."""
    lost: list[LostLayer] = []
    for (layer_id, kind), problem in state.open_problems.items():
        if len(lost) == MAX_UPSTREAM_LAYERS:
            break
        if 0 < layer_id < before_layer_id and kind in LOST_KINDS and layer_id in state.layers:
            memory = state.layers[layer_id]
            share = _born_dead_share(state, memory) if kind == "born_dead" else memory.lost_fraction
            lost.append(LostLayer(layer_id, kind, share, float(problem.step), problem.cause))
    return tuple(sorted(lost))


def _born_dead_share(state: detection_state.DetectorState, memory: detection_state.LayerMemory) -> float:
    codes = state.units[detection_state.CODE, memory.unit_slice]
    return float((codes % detection_state.BASELINE_OFFSET == detection_state.BORN_DEAD).mean())


def _attribution(
    state: detection_state.DetectorState, evidence: CauseEvidence, decision: Decision, policy: Policy
) -> Attribution:
    """Return the cause. One that was named stays, unless it was unknown; a death inherits that of the dying."""
    if decision.kind == "no_data":
        return Attribution("unknown", 0.0)
    layer_id = evidence.memory.info.layer_id
    problem = state.open_problems.get((layer_id, decision.kind))
    if problem is None and decision.kind == "dead":
        problem = state.open_problems.get((layer_id, "dying"))
    if problem is not None and problem.cause != "unknown":
        return Attribution(problem.cause, problem.confidence)
    return attribute_cause(evidence, policy)


def _lost_units(units: detection_state.Units, kind: Kind) -> Array:
    """Return a flag per unit that a problem is about; units of the baseline are not."""
    codes: tuple[int, ...] = (detection_state.DYING, detection_state.DEAD)
    if kind == "born_dead":
        codes = (detection_state.BORN_DEAD,)
    elif kind == "dead":
        codes = (detection_state.DEAD,)
    is_lost: Array = np.isin(units[detection_state.CODE], codes)
    return is_lost


def _shared_silence(units: detection_state.Units, is_lost: Array) -> int | None:
    """Return the silence that all lost units share, in examples or positions; None where none is lost."""
    return int(units[detection_state.SILENT, is_lost].min()) if is_lost.any() else None


def _layer_evidence(cause_evidence: CauseEvidence, record: Row, is_lost: Array, silence: int | None) -> dict[str, Any]:
    """Return the evidence about a layer; ``silence`` is the one that all lost units share, which bounds their rate."""
    memory = cause_evidence.memory
    evidence = run_evidence(cause_evidence.run, record.step, cause_evidence.onset_step, record.learning_rate)
    return evidence | {
        "units": memory.info.units,
        "units_silent": int(is_lost.sum()),
        "baseline_fraction": _finite_or_none(memory.baseline_fraction),
        "n": record.n_examples if silence is None else silence,
        "n_unit": memory.info.n_unit,
        "p_bound": min(RULE_OF_THREE / silence, 1.0) if silence else None,
        "bias": _bias_evidence(cause_evidence, is_lost),
        "shift": _shift_evidence(cause_evidence.shift_shares),
        "weights": {"change": _weight_change(memory)},
        "update_to_weight": _update_to_weight(record),
        "kill_ratio": _finite_or_none(memory.kill_ratio),
        "displacement": _finite_or_none(memory.peak_displacement),
        "risk": memory.risk,
        "headroom": {"now": _finite_or_none(memory.headroom), "usual": _finite_or_none(memory.usual_headroom)},
        "onset_step": int(cause_evidence.onset_step),
        "upstream": sorted({lost.layer_id for lost in cause_evidence.upstream}),
    }


def _weight_change(memory: detection_state.LayerMemory) -> float | None:
    """Return the relative change of the weights' norm from its usual value."""
    log_change = memory.log_weight_norm - memory.usual_log_weight_norm
    return _finite_or_none(math.expm1(min(log_change, MAX_EXPONENT)))


def _update_to_weight(record: Row) -> float | None:
    if record.update_norm is None or not record.weight_norm:
        return None
    return record.update_norm / record.weight_norm


def _bias_evidence(cause_evidence: CauseEvidence, is_lost: Array) -> dict[str, float | None]:
    """Return the mean bias of the lost units, or of all where none is lost, and the slope of the layer's mean bias."""
    bias = cause_evidence.arrays.get("bias")
    mean = None
    if bias is not None:
        chosen = bias[is_lost] if is_lost.any() else bias
        mean = float(chosen.astype(np.float64).mean())
    points = [(step, value) for step, _lost_fraction, value in cause_evidence.memory.history if not math.isnan(value)]
    shares = cause_evidence.shift_shares
    return {
        "mean": mean,
        "slope_per_step": slope([step for step, _value in points], [value for _step, value in points]),
        "share": None if shares is None else shares.bias,
    }


def _shift_evidence(shares: ShiftShares | None) -> dict[str, float | None]:
    if shares is None:
        return {"weight": None, "input": None, "bias": None}
    return {"weight": shares.weight, "input": shares.input, "bias": shares.bias}


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
