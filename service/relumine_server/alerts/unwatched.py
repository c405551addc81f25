"""The finding that a training goes on without being watched, as its SDK reports it. Pure."""

from __future__ import annotations

from relumine.schemas.alert import Severity
from relumine.schemas.watching import EXPLANATIONS, UnwatchedReason
from relumine_server.detection import remedy_code
from relumine_server.detection.findings import Finding
from relumine_server.detection.run_evidence import run_evidence
from relumine_server.detection.state import RunMemory

RECOVERED_REASON = "the training is being watched again"


def finding(reason: UnwatchedReason, last_step: int | None, step: int) -> Finding:
    """Return the finding at ``step``; ``last_step`` is the last at which a layer was recorded, None without any.

    A model without an activation that can die is no problem, so its severity is ``info``.
    """
    severity: Severity = "info" if reason == "nothing_can_die" else "warning"
    watching = {"reason": reason, "explanation": EXPLANATIONS[reason], "last_step": last_step}
    remedy = remedy_code.remedy("check_coverage", remedy_code.coverage_code(reason), EXPLANATIONS[reason])
    return Finding(
        layer_id=0,
        layer=None,
        kind="no_data",
        transition="raised",
        severity=severity,
        cause="unknown",
        confidence=0.0,
        step=step,
        evidence=run_evidence(RunMemory(), step) | {"watching": watching},
        remedies=(remedy,),
    )
