"""The detector's memory at the first record of a new session of a run: a training that was resumed or started again."""

from __future__ import annotations

from relumine.schemas.record_table import Row
from relumine_server.detection import decisions, report
from relumine_server.detection import state as detection_state
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import DetectorState, LayerMemory, RunMemory

RESTARTED = "the training started again"
SIGNALS_WITH_STEPS = ("rate", "loss")
"""Signals of the run whose steps are kept beside their values, under the name with ``_step``."""


def begin_session(
    state: DetectorState, first: Row, earliest_step: int | None, policy: Policy
) -> tuple[DetectorState, list[Finding]]:
    """Return the state with which a new session begins, and findings about what that ends.

    ``first`` is its first record, ``earliest_step`` the first step of the sessions before it, None without any. A
    session that begins there or earlier is a new training with fresh weights: it takes over nothing. A later one goes
    on from a checkpoint: it takes over everything up to that step.
    """
    if earliest_step is None:
        return state, []
    if first.step <= earliest_step:
        return _started_again(state, first, policy)
    return _rewound(state, first.step), []


def _started_again(state: DetectorState, first: Row, policy: Policy) -> tuple[DetectorState, list[Finding]]:
    """Return an empty state with the same layers, and a finding that resolves each open problem."""
    findings = []
    for (layer_id, kind), problem in state.open_problems.items():
        if layer_id == 0:
            findings.append(report.run_finding(state, first, kind, "resolved", RESTARTED, policy))
        elif layer_id in state.layers:
            decision = decisions.Decision(kind, "resolved", problem.severity, RESTARTED)
            findings.append(report.layer_finding(state, first._replace(layer_id=layer_id), decision, policy))
    layers = [memory.info for memory in state.layers.values()]
    return detection_state.describe(detection_state.empty(), layers), findings


def _rewound(state: DetectorState, step: int) -> DetectorState:
    """Return the state without what was recorded at ``step`` or later: the training makes these steps again."""
    if state.run.step < step:
        return state
    draft = state.draft()
    _rewind_run(draft.run, step)
    for memory in draft.layers.values():
        _rewind_layer(memory, step)
    return draft


def _rewind_run(run: RunMemory, step: int) -> None:
    run.step = step - 1
    for name in SIGNALS_WITH_STEPS:
        steps = run.windows.get(f"{name}_step", ())
        count = sum(recorded < step for recorded in steps)
        run.windows[name] = run.windows.get(name, ())[:count]
        run.windows[f"{name}_step"] = steps[:count]
    if run.jump_step is not None and run.jump_step >= step:
        run.jump_step = None
        run.jump_before = None
    if run.novel_step is not None and run.novel_step >= step:
        run.novel_step = None
        run.novel_records = 0


def _rewind_layer(memory: LayerMemory, step: int) -> None:
    memory.step = min(memory.step, step - 1.0)
    memory.history = tuple(entry for entry in memory.history if entry[0] < step)
    if memory.onset_step >= step:
        memory.onset_step = -1.0
