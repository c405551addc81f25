"""The alerts of a finished run, the alarms among them, and why they may differ from the alarms of its findings.

There is one alert per layer and problem: it keeps the step at which it was opened and states what was found last.
Findings state each time what was found then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from relumine.schemas.alert import SEVERITIES, Alert, Kind, Severity, problem_of, severity_rank
from relumine_server.detection.findings import Finding
from research.scoring.alarms import Alarm


@dataclass(frozen=True)
class FinalAlert:
    """The final content of an alert, as far as it is scored."""

    layer_id: int
    kind: Kind
    opened: int
    severity: Severity
    cause: str
    confidence: float
    resolved: int | None = None
    reason: str | None = None


def from_api(alerts: Iterable[Alert]) -> list[FinalAlert]:
    """Return alerts as the API answered them."""
    return _sorted(
        FinalAlert(
            layer_id=alert.layer_id,
            kind=alert.kind,
            opened=alert.opened_step,
            severity=alert.severity,
            cause=alert.cause,
            confidence=alert.confidence,
            resolved=alert.resolved_step,
            reason=alert.resolved_reason,
        )
        for alert in alerts
    )


def from_findings(findings: Sequence[Finding]) -> list[FinalAlert]:
    """Return the alerts that the server must have after these findings; written without the server, to check it."""
    alerts: dict[tuple[int, Kind], FinalAlert] = {}
    for finding in findings:
        key = (finding.layer_id, problem_of(finding.kind))
        previous = alerts.get(key)
        if finding.transition == "resolved":
            if previous is not None:
                alerts[key] = replace(previous, resolved=finding.step, reason=finding.reason)
            continue
        opened = finding.step
        if previous is not None and not (previous.severity == "info" and _is_worse(finding, previous)):
            opened = previous.opened
        alerts[key] = FinalAlert(
            layer_id=finding.layer_id,
            kind=finding.kind,
            opened=opened,
            severity=_severity(finding, previous),
            cause=finding.cause,
            confidence=finding.confidence,
        )
    return _sorted(alerts.values())


def _severity(finding: Finding, previous: FinalAlert | None) -> Severity:
    """Return the severity after a finding: a layer that was dying and is dead is no less severe than before."""
    if previous is None or previous.resolved is not None or (previous.kind, finding.kind) != ("dying", "dead"):
        return finding.severity
    return max(finding.severity, previous.severity, key=severity_rank)


def alarms_of_alerts(alerts: Sequence[FinalAlert]) -> list[Alarm]:
    """Return the alarms in the order they were opened."""
    return [
        Alarm(
            step=alert.opened,
            layer_id=alert.layer_id,
            kind=alert.kind,
            is_info=alert.severity == "info",
            cause=alert.cause,
            confidence=alert.confidence,
            resolved=alert.resolved,
        )
        for alert in alerts
    ]


def describe_differences(actual: Sequence[FinalAlert], expected: Sequence[FinalAlert]) -> list[str]:
    """Return a line for each alert that is unexpected or missing."""
    lines = [f"unexpected {alert}" for alert in actual if alert not in expected]
    return lines + [f"missing {alert}" for alert in expected if alert not in actual]


def describe_lost_findings(findings: Sequence[Finding], alerts: Sequence[FinalAlert]) -> list[str]:
    """Return a line for each statement of the findings that the final alerts no longer make."""
    raised = Counter((finding.layer_id, finding.kind) for finding in findings if finding.transition == "raised")
    lines = []
    for alert in alerts:
        key = (alert.layer_id, problem_of(alert.kind))
        name = f"{alert.kind} of layer {alert.layer_id}"
        of_alert = [f for f in findings if (f.layer_id, problem_of(f.kind)) == key and f.transition != "resolved"]
        alarming = [finding for finding in of_alert if finding.severity != "info"]
        first = alarming[0] if alarming else of_alert[0]
        raised_times = raised[alert.layer_id, alert.kind]
        if raised_times > 1:
            lines.append(f"{name} was raised {raised_times} times")
        if alarming and alert.severity == "info":
            lines.append(f"{name} was an alarm at step {first.step} and was raised again as info")
        if first.cause != alert.cause:
            lines.append(f"{name} was first attributed to {first.cause}, last to {alert.cause}")
    return lines


def _is_worse(finding: Finding, alert: FinalAlert) -> bool:
    return SEVERITIES.index(finding.severity) > SEVERITIES.index(alert.severity)


def _sorted(alerts: Iterable[FinalAlert]) -> list[FinalAlert]:
    return sorted(alerts, key=lambda alert: (alert.opened, alert.layer_id, alert.kind))
