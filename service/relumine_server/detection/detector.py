"""The detector: ``advance`` folds records into a state, in series order, and returns readings and findings.

Any split of a series into uploads gives the same result. The units of consecutive records are evaluated in one array;
decisions are made one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from relumine.schemas.alert import Kind, Severity, severity_rank
from relumine.schemas.record_table import Row
from relumine.schemas.run import LayerState
from relumine_server.detection import decisions as detection_decisions
from relumine_server.detection import report, run_signals
from relumine_server.detection import state as detection_state
from relumine_server.detection.evidence import RecordStatistics, fold_rounds
from relumine_server.detection.findings import Finding, Reading, Transition
from relumine_server.detection.memory_update import update_memory
from relumine_server.detection.policy import Policy
from relumine_server.detection.rounds import stretches

MIN_HEALTHY_RECORDS = 3
"""Records before a layer without a problem is called healthy."""


def _go_on() -> None:
    """Do nothing."""


def advance(
    state: detection_state.DetectorState, records: Sequence[Row], policy: Policy, pause: Callable[[], None] = _go_on
) -> tuple[detection_state.DetectorState, list[Reading], list[Finding]]:
    """Fold ``records`` into ``state``, which is not changed. Records of undescribed layers are ignored.

    ``pause`` is called every now and then: the work may be interrupted there.
    """
    draft = state.draft()
    readings: list[Reading] = []
    findings: list[Finding] = []
    for stretch in stretches(draft, records, policy):
        folded = fold_rounds(draft.units, stretch.rounds, policy)
        for number, group in enumerate(stretch.groups):
            pause()
            folded.write_units(draft.units, number)
            _advance_group(draft, group, folded.statistics[number], policy, readings, findings)
    return draft, readings, findings


def _advance_group(
    draft: detection_state.DetectorState,
    group: Sequence[Row],
    statistics: Mapping[int, RecordStatistics],
    policy: Policy,
    readings: list[Reading],
    findings: list[Finding],
) -> None:
    """Decide about records whose units are folded in already, one by one; add their readings and findings."""
    for record in group:
        findings += _advance_run(draft, record, policy)
        if record.layer_id in draft.layers:
            stats = statistics.get(record.layer_id)
            findings += _advance_layer(draft, record, stats, policy)
            if record.n_examples or record.nonfinite:
                readings.append(_reading(draft, record, stats))


def _advance_run(draft: detection_state.DetectorState, record: Row, policy: Policy) -> list[Finding]:
    """Fold a record of any layer into what is known about the run, and decide about the run."""
    run = draft.run
    run.step = max(run.step, record.step)
    run_signals.update_finiteness(run, record)
    if record.layer_id == 0:
        run_signals.update_run(run, record, policy)
    findings = _reset_baselines(draft, record, policy) if record.marks else []
    has_diverged = (0, "diverged") in draft.open_problems
    if record.nonfinite and not has_diverged:
        findings.append(_raise_run_problem(draft, record, "diverged", policy))
    elif has_diverged and run.clean_steps >= policy.clean_steps:
        findings.append(_resolve_run_problem(draft, record, "diverged", "values are finite again", policy))
    if record.layer_id == 0 and (0, "diverged") not in draft.open_problems:
        findings += _check_constant_output(draft, record, policy)
    return findings


def _reset_baselines(draft: detection_state.DetectorState, record: Row, policy: Policy) -> list[Finding]:
    """Resolve the problems of all layers and let every layer start from a new baseline, as a mark asks for."""
    findings = []
    for (layer_id, kind), problem in draft.open_problems.items():
        if layer_id:
            decision = detection_decisions.Decision(kind, "resolved", problem.severity, "a new baseline was marked")
            layer_record = record._replace(layer_id=layer_id)
            findings.append(report.layer_finding(draft, layer_record, decision, policy))
    for finding in findings:
        del draft.open_problems[finding.layer_id, finding.kind]
    draft.units[:] = 0
    for layer_id, memory in draft.layers.items():
        draft.layers[layer_id] = detection_state.LayerMemory(memory.info, memory.offset)
    return findings


def _check_constant_output(draft: detection_state.DetectorState, record: Row, policy: Policy) -> list[Finding]:
    run = draft.run
    problem = draft.open_problems.get((0, "constant_output"))
    if problem is not None:
        reason = _end_of_constant_output(run, problem, record, policy)
        if reason is not None:
            return [_resolve_run_problem(draft, record, "constant_output", reason, policy)]
    severity = run_signals.constant_output_severity(run, policy)
    if severity is None or (problem is not None and severity_rank(severity) <= severity_rank(problem.severity)):
        return []
    return [_raise_run_problem(draft, record, "constant_output", policy, severity)]


def _end_of_constant_output(
    run: detection_state.RunMemory, problem: detection_state.OpenProblem, record: Row, policy: Policy
) -> str | None:
    """Return why the output is no longer constant. One that an input made so is over with that input."""
    if problem.cause == "input_shift" and run.familiar_records == policy.confirm_records:
        return "the input is as it was before"
    if record.output_spread is not None and run.constant_records == 0:
        return "the output depends on the input again"
    return None


def _raise_run_problem(
    draft: detection_state.DetectorState, record: Row, kind: Kind, policy: Policy, severity: Severity = "critical"
) -> Finding:
    """Raise a problem of the run, or its severity."""
    problem = draft.open_problems.get((0, kind))
    transition: Transition = "raised" if problem is None else "changed"
    finding = replace(report.run_finding(draft, record, kind, transition, None, policy), severity=severity)
    draft.open_problems[0, kind] = detection_state.OpenProblem(
        finding.severity, finding.cause, finding.confidence, record.step if problem is None else problem.step
    )
    return finding


def _resolve_run_problem(
    draft: detection_state.DetectorState, record: Row, kind: Kind, reason: str, policy: Policy
) -> Finding:
    severity = draft.open_problems[0, kind].severity
    finding = replace(report.run_finding(draft, record, kind, "resolved", reason, policy), severity=severity)
    del draft.open_problems[0, kind]
    if kind == "diverged":
        draft.run.diverged_step = None
        draft.run.clean_steps = 0
    return finding


def _advance_layer(
    draft: detection_state.DetectorState, record: Row, stats: RecordStatistics | None, policy: Policy
) -> list[Finding]:
    """Fold a record into its layer and decide about it. While the run diverges, nothing else is decided."""
    memory = draft.layers[record.layer_id]
    memory.diverged = float(record.nonfinite > 0)
    findings = _check_no_data(draft, record, policy)
    if stats is None:
        return findings
    update_memory(memory, stats, record.step, record.weight_norm, record.update_norm)
    if detection_decisions.takes_baseline(memory, stats, draft.open_problems, policy):
        _set_baseline(draft, memory)
    if (0, "diverged") in draft.open_problems:
        return findings
    decisions = detection_decisions.decide(memory, stats, draft.run, draft.open_problems, policy)
    return findings + [_apply_decision(draft, record, decision, policy) for decision in decisions]


def _check_no_data(draft: detection_state.DetectorState, record: Row, policy: Policy) -> list[Finding]:
    """Decide about ``no_data``: a record without examples means that the module runs without its activation."""
    has_no_data = not record.n_examples and not record.nonfinite
    is_open = (record.layer_id, "no_data") in draft.open_problems
    if has_no_data == is_open:
        return []
    if has_no_data:
        decision = detection_decisions.Decision("no_data", "raised", "warning")
    else:
        decision = detection_decisions.Decision("no_data", "resolved", "warning", "its activation is recorded again")
    return [_apply_decision(draft, record, decision, policy)]


def _set_baseline(draft: detection_state.DetectorState, memory: detection_state.LayerMemory) -> None:
    """Move the units that are lost by now into the baseline, so that their loss is not reported."""
    codes = draft.units[detection_state.CODE, memory.unit_slice]
    is_lost = (codes > detection_state.ALIVE) & (codes < detection_state.BASELINE_OFFSET)
    codes[is_lost] += detection_state.BASELINE_OFFSET
    memory.baseline_fraction = float(np.count_nonzero(codes)) / max(memory.tracked_units, 1)


def _apply_decision(
    draft: detection_state.DetectorState, record: Row, decision: detection_decisions.Decision, policy: Policy
) -> Finding:
    """Return the finding of a decision, and open, change or close the problem in the draft.

    The problem of a layer that was dying and is dead goes on as that of a dead layer.
    """
    finding = report.layer_finding(draft, record, decision, policy)
    key = (record.layer_id, decision.kind)
    if decision.transition == "resolved":
        del draft.open_problems[key]
        return finding
    raised_step = draft.open_problems[key].step if key in draft.open_problems else record.step
    if decision.kind == "dead":
        draft.open_problems.pop((record.layer_id, "dying"), None)
    draft.open_problems[key] = detection_state.OpenProblem(
        decision.severity, finding.cause, finding.confidence, raised_step
    )
    return finding


def _reading(draft: detection_state.DetectorState, record: Row, stats: RecordStatistics | None) -> Reading:
    """Return the measurements of a record."""
    state = _layer_state(draft, draft.layers[record.layer_id])
    if stats is None:
        return _reading_without_statistics(record, state)
    dying = stats.all_dying / stats.units
    dead = stats.all_dead / stats.units
    born_dead = stats.born_dead / stats.units
    excess = stats.excess_silence
    # It ranks layers; unlike the risk in a layer's memory it is no probability.
    risk = dead + 0.7 * dying + 0.5 * born_dead + 0.2 * max(excess, 0.0) + 0.1 * min(stats.kill_ratio, 1.0)
    return Reading(
        layer_id=record.layer_id,
        step=record.step,
        state=state,
        active_rate=stats.active_rate,
        dying_fraction=dying,
        dead_fraction=dead,
        born_dead_fraction=born_dead,
        excess_silence=excess,
        kill_ratio=stats.kill_ratio,
        risk=min(1.0, risk),
    )


def _reading_without_statistics(record: Row, state: LayerState) -> Reading:
    """Return the reading of a layer that cannot die or is not finite: its state and its active rate."""
    return Reading(
        layer_id=record.layer_id,
        step=record.step,
        state=state,
        active_rate=None if record.nonfinite else _active_rate(record),
        dying_fraction=0.0,
        dead_fraction=0.0,
        born_dead_fraction=0.0,
        excess_silence=0.0,
        kill_ratio=0.0,
        risk=1.0 if record.nonfinite else 0.0,
    )


def _active_rate(record: Row) -> float | None:
    active = record.arrays().get("active")
    if active is None or not record.n_examples:
        return None
    rate = float(active.astype(np.float64).mean()) / record.n_examples
    return rate if math.isfinite(rate) else None


def _layer_state(draft: detection_state.DetectorState, memory: detection_state.LayerMemory) -> LayerState:
    if memory.diverged:
        return "diverged"
    if not memory.info.can_die:
        return "cannot_die"
    layer_id = memory.info.layer_id
    states: tuple[LayerState, ...] = ("dead", "dying", "born_dead")
    for state in states:
        if (layer_id, state) in draft.open_problems:
            return state
    return "healthy" if memory.records >= MIN_HEALTHY_RECORDS else "waiting"
