"""Runs the detector over a stored run again and compares the findings with the stored alerts."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.alert import problem_of
from relumine.schemas.printable import printable
from relumine_server.alerts import queries as alert_queries
from relumine_server.cli.progress import progress
from relumine_server.detection.findings import Finding
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import RunReplay, first_raised_steps
from relumine_server.policies import repository as policy_repository
from relumine_server.runs import repository as run_repository
from relumine_server.timeseries.replay import stored_uploads


class ReplayResult(NamedTuple):
    """The findings of a replay as lines of text, and whether they match the stored alerts."""

    lines: list[str]
    matches: bool


def replay_stored_run(connection: sa.Connection, run_id: str) -> ReplayResult | None:
    """Replay a run with the policy of its project; None if there is no such run."""
    run = run_repository.find(connection, run_id)
    if run is None:
        return None
    policy = policy_repository.load(connection, run.project) or DEFAULT
    layers = run_repository.load_layers(connection, run_id)
    run_replay = RunReplay(layers, policy)
    record_count = 0
    findings: list[Finding] = []
    with progress(f"replaying {run_id}", lambda: f"{record_count:,} records"):
        for upload in stored_uploads(connection, run_id):
            _, new_findings = run_replay.advance(upload.session, upload.records)
            record_count += len(upload.records)
            findings += new_findings
    alerts = alert_queries.load_run(connection, run_id, "")
    # Alerts of kind "stalled" come from the clock, not from the detector.
    stored = {
        (alert.layer_id, problem_of(alert.kind)): alert.opened_step for alert in alerts if alert.kind != "stalled"
    }
    matches = first_raised_steps(findings) == stored
    summary = f"{record_count} records, {len(findings)} findings, {'as' if matches else 'NOT as'} stored"
    return ReplayResult([*map(_line, findings), summary], matches)


def _line(finding: Finding) -> str:
    layer = printable(finding.layer or "run")
    return (
        f"step {finding.step:>8,}  {finding.transition:<8}  {layer:<24} {finding.kind:<15} "
        f"{finding.severity:<8} {finding.cause}"
    )
