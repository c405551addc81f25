"""The fold: ``advance`` takes records in series order and says what changed. Any split gives the same result.

Records of distinct layers that follow each other are judged in one array; decisions are taken one by one.
It must not read a clock, a file or a database.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from relumine.table import Row
from relumine.views import Kind, LayerState
from relumine_server.detection import layers, report, sentinels
from relumine_server.detection import state as st
from relumine_server.detection.batch import Look
from relumine_server.detection.evidence import Observation, observe
from relumine_server.detection.findings import Finding, Reading, Transition
from relumine_server.detection.policy import Policy


def advance(
    state: st.DetectorState, records: Sequence[Row], policy: Policy
) -> tuple[st.DetectorState, list[Reading], list[Finding]]:
    """Fold ``records`` into ``state``, which stays as it is. Records of layers never described are passed over."""
    draft = state.draft()
    readings: list[Reading] = []
    findings: list[Finding] = []
    for group in _groups(records):
        looks = {record.layer_id: look for record in group if (look := _look(draft, record)) is not None}
        seen = dict(zip(looks, observe(draft.units, list(looks.values()), policy), strict=True))
        for record in group:
            findings += _run_level(draft, record, policy)
            if record.layer_id in draft.layers:
                findings += _layer_level(draft, record, seen.get(record.layer_id), policy)
                if record.n_examples or record.nonfinite:
                    readings.append(_reading(draft, record, seen.get(record.layer_id)))
    return draft, readings, findings


def _groups(records: Sequence[Row]) -> Iterator[list[Row]]:
    """Runs of records whose layers are distinct: what one record does to its units touches no other of them.

    A mark stands alone, as it changes them all.
    """
    group: list[Row] = []
    known: set[int] = set()
    for record in records:
        if group and (record.layer_id in known or record.marks):
            yield group
            group, known = [], set()
        group.append(record)
        known.add(record.layer_id)
        if record.marks:
            yield group
            group, known = [], set()
    if group:
        yield group


def _look(state: st.DetectorState, record: Row) -> Look | None:
    """The record as something to judge; None where it holds NaN, cannot die, or does not fit its layer."""
    memory = state.layers.get(record.layer_id)
    if memory is None or record.nonfinite or not memory.info.can_die or not record.n_examples:
        return None
    fits = record.has("active") and record.units == memory.info.units
    return Look(memory, record) if fits else None


def _run_level(draft: st.DetectorState, record: Row, policy: Policy) -> list[Finding]:
    run = draft.run
    run.step = max(run.step, record.step)
    sentinels.see_finiteness(run, record)
    if record.layer_id == 0:
        sentinels.see_run(run, record, policy)
    findings = _begin_anew(draft, record, policy) if record.marks else []
    if record.nonfinite and (0, "diverged") not in draft.open:
        findings.append(_raise(draft, record, "diverged", policy))
    elif (0, "diverged") in draft.open and run.clean_steps >= policy.clean_steps:
        findings.append(_resolve(draft, record, "diverged", "values are finite again", policy))
    if record.layer_id == 0 and (0, "diverged") not in draft.open:
        findings += _constant_output(draft, record, policy)
    return findings


def _begin_anew(draft: st.DetectorState, record: Row, policy: Policy) -> list[Finding]:
    """A deliberate reset: what was found of layers is over, and every layer starts from a new baseline."""
    findings = [
        report.layer_finding(
            draft,
            record._replace(layer_id=layer_id),
            layers.Decision(kind, "resolved", problem.severity, "a new baseline was marked"),
            policy,
        )
        for (layer_id, kind), problem in draft.open.items()
        if layer_id
    ]
    for finding in findings:
        del draft.open[finding.layer_id, finding.kind]
    draft.units[:] = 0
    for layer_id, memory in draft.layers.items():
        draft.layers[layer_id] = st.LayerMemory(memory.info, memory.offset)
    return findings


def _constant_output(draft: st.DetectorState, record: Row, policy: Policy) -> list[Finding]:
    is_open = (0, "constant_output") in draft.open
    if not is_open and draft.run.constant_records >= policy.constant_records:
        return [_raise(draft, record, "constant_output", policy)]
    if is_open and record.output_spread is not None and draft.run.constant_records == 0:
        return [_resolve(draft, record, "constant_output", "the output depends on the input again", policy)]
    return []


def _raise(draft: st.DetectorState, record: Row, kind: Kind, policy: Policy) -> Finding:
    finding = report.run_finding(draft, record, kind, "raised", None, policy)
    draft.open[0, kind] = st.Open(finding.severity, finding.cause, finding.confidence, record.step)
    return finding


def _resolve(draft: st.DetectorState, record: Row, kind: Kind, reason: str, policy: Policy) -> Finding:
    finding = report.run_finding(draft, record, kind, "resolved", reason, policy)
    del draft.open[0, kind]
    if kind == "diverged":
        draft.run.diverged_step, draft.run.clean_steps = None, 0
    return finding


def _layer_level(draft: st.DetectorState, record: Row, seen: Observation | None, policy: Policy) -> list[Finding]:
    """Decide about one layer. While the run diverges nothing else is said of it."""
    memory = draft.layers[record.layer_id]
    memory.diverged = float(record.nonfinite > 0)
    findings = _no_data(draft, record, policy)
    if seen is None:
        return findings
    layers.remember(memory, seen, record.step, (record.weight_norm, record.update_norm))
    if layers.ends_warmup(memory, seen, draft.open, policy):
        _take_baseline(draft, memory)
    if (0, "diverged") in draft.open:
        return findings
    decisions = layers.decide(memory, seen, draft.run, draft.open, policy)
    return findings + [_found(draft, record, decision, policy) for decision in decisions]


def _no_data(draft: st.DetectorState, record: Row, policy: Policy) -> list[Finding]:
    """A record without examples says that the layer's module runs and its activation is not heard any more."""
    silent = not record.n_examples and not record.nonfinite
    if silent == ((record.layer_id, "no_data") in draft.open):
        return []
    transition: Transition = "raised" if silent else "resolved"
    decision = layers.Decision("no_data", transition, "warning", None if silent else "seen again")
    return [_found(draft, record, decision, policy)]


def _take_baseline(draft: st.DetectorState, memory: st.LayerMemory) -> None:
    """Units lost by now are no news from now on."""
    codes = draft.units[st.CODE, memory.span]
    lost = (codes > st.ALIVE) & (codes < st.EXCLUDED)
    codes[lost] += st.EXCLUDED
    memory.baseline = float(np.count_nonzero(codes)) / max(memory.judged_units, 1)


def _found(draft: st.DetectorState, record: Row, decision: layers.Decision, policy: Policy) -> Finding:
    finding = report.layer_finding(draft, record, decision, policy)
    key = (record.layer_id, decision.kind)
    if decision.transition == "resolved":
        del draft.open[key]
    else:
        step = draft.open[key].step if key in draft.open else record.step
        draft.open[key] = st.Open(decision.severity, finding.cause, finding.confidence, step)
    return finding


def _reading(draft: st.DetectorState, record: Row, seen: Observation | None) -> Reading:
    """What was measured; of a layer that cannot die or holds NaN only its state."""
    memory = draft.layers[record.layer_id]
    if seen is None:
        rate = None if record.nonfinite else _active_rate(record)
        state = _layer_state(draft, memory)
        return Reading(
            record.layer_id, record.step, state, rate, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0 if record.nonfinite else 0.0
        )
    dying, dead, born = (count / seen.units for count in (seen.all_dying, seen.all_dead, seen.born_dead))
    excess = seen.excess_silence
    risk = min(1.0, dead + 0.7 * dying + 0.5 * born + 0.2 * max(excess, 0.0) + 0.1 * min(seen.kill_ratio, 1.0))
    state = _layer_state(draft, memory)
    return Reading(
        record.layer_id, record.step, state, seen.active_rate, dying, dead, born, excess, seen.kill_ratio, risk
    )


def _active_rate(record: Row) -> float | None:
    active = record.arrays().get("active")
    if active is None or not record.n_examples:
        return None
    rate = float(active.astype(np.float64).mean()) / record.n_examples
    return rate if math.isfinite(rate) else None


def _layer_state(draft: st.DetectorState, memory: st.LayerMemory) -> LayerState:
    layer_id = memory.info.layer_id
    if memory.diverged:
        return "diverged"
    if not memory.info.can_die:
        return "cannot_die"
    open_states: tuple[LayerState, ...] = tuple(
        kind for kind in ("dead", "dying", "born_dead") if (layer_id, kind) in draft.open
    )
    if open_states:
        return open_states[0]
    return "healthy" if memory.records >= 3 else "waiting"
