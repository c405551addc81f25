"""Local mode: a transport that runs the detector in the sender thread instead of sending, and keeps uploads on disk.

Besides ``relumine serve`` the only importer of the server's package, and only of its pure detector.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from relumine._export.spool import SUFFIX, Spool
from relumine._export.transport import TransportError
from relumine.errors import SettingsError
from relumine.schemas.alert import Alert, AlertRun, AlertState, Severity, problem_of, severity_rank
from relumine.schemas.alert import Forecast as ForecastView
from relumine.schemas.alert import Remedy as RemedyView
from relumine.schemas.base import rfc3339
from relumine.schemas.health import health_of
from relumine.schemas.upload import RunInfo, Upload, UploadResponse
from relumine.schemas.watching import Watching

try:
    from relumine_server.alerts.incidents import IncidentRow, Onset, find_incident, new_incident, with_alert
    from relumine_server.detection import detector as onset_detector
    from relumine_server.detection import messages as wording
    from relumine_server.detection import state
    from relumine_server.detection.findings import Finding
    from relumine_server.detection.policy import Policy
except ImportError as error:  # pragma: no cover - the extra is installed wherever this is tested
    raise SettingsError("mode='local' needs the detector: pip install 'relumine[server]'") from error


class LocalTransport:
    """A transport that responds to uploads as a server would, within the process."""

    def __init__(self, directory: Path, run: RunInfo) -> None:
        self._run = run
        self._state = state.empty()
        self._policy = Policy()
        self._alerts: dict[tuple[int, str], Alert] = {}
        self._incidents: dict[str, IncidentRow] = {}
        self._folder = directory / run.id
        self._spool: Spool | None = None

    def post(self, body: bytes) -> UploadResponse:
        """Write the upload to disk and run the detector on it. Raises TransportError where the disk refuses."""
        upload = Upload.model_validate_json(body)
        try:
            if self._spool is None:
                self._spool = Spool(self._folder / f"{upload.session}{SUFFIX}")
            self._spool.append(body)
        except OSError as error:
            raise TransportError(str(error), retryable=True) from error
        self._state = state.describe(self._state, upload.layers)
        self._state, _readings, findings = onset_detector.advance(self._state, upload.records, self._policy)
        changed = [self._record(finding) for finding in findings]
        if upload.final_status is not None:
            changed = self._end_all(upload)
        open_alerts = [alert for alert in self._alerts.values() if alert.is_open]
        unchanged = [alert for alert in open_alerts if alert not in changed]
        return UploadResponse(
            accepted=len(upload.records),
            analyzed=True,
            duplicate=False,
            sample_every=None,
            alerts=[*unchanged, *changed],
        )

    def _incident_id(self, finding: Finding, previous: Alert | None) -> str:
        """Return the incident of an alert: the one that it is in, or the one that it begins or joins."""
        if previous is not None and previous.is_open:
            return previous.incident_id
        upstream = finding.evidence.get("upstream") or ()
        lost = [self._alerts.get((layer_id, "dying")) for layer_id in upstream]
        onset = Onset(finding.kind, finding.cause, finding.step, [alert.incident_id for alert in lost if alert])
        open_ids = {alert.incident_id for alert in self._alerts.values() if alert.is_open}
        incident = find_incident(onset, [row for key, row in self._incidents.items() if key in open_ids])
        if incident is None:
            incident = new_incident(f"{self._run.id}.{len(self._incidents) + 1}", onset, finding.severity)
        self._incidents[incident.incident_id] = with_alert(incident, onset)
        return incident.incident_id

    def _run_view(self) -> AlertRun:
        return AlertRun(name=self._run.name, group=self._run.group, url=str(self._folder))

    def close(self) -> None:
        """Close the file."""
        if self._spool is not None:
            self._spool.close()

    def _end_all(self, upload: Upload) -> list[Alert]:
        """Return the alerts that were open when the run ended, as ended with its health."""
        held = [alert for alert in self._alerts.values() if alert.is_open]
        health = health_of(upload.watching or Watching(state="watching"), held, unknown=None).status
        step = max((metric.step for metric in upload.metrics), default=0)
        if len(upload.records):
            step = max(step, int(upload.records.scalars["step"].max()))
        for key, alert in self._alerts.items():
            if alert.is_open:
                ended = {
                    "state": "ended",
                    "ended_step": max(step, alert.opened_step),
                    "ended_at": rfc3339(datetime.now(UTC)),
                    "outcome": health,
                }
                self._alerts[key] = alert.model_copy(update=ended)
        return list(self._alerts.values())

    def _record(self, finding: Finding) -> Alert:
        key = (finding.layer_id, problem_of(finding.kind))
        alert = self._alert(finding, self._alerts.get(key), rfc3339(datetime.now(UTC)))
        self._alerts[key] = alert
        return alert

    def _alert(self, finding: Finding, previous: Alert | None, now: str) -> Alert:
        return Alert(
            **_lifecycle(finding, previous, now),
            incident_id=self._incident_id(finding, previous),
            id=f"{self._run.id}.{finding.layer_id}.{problem_of(finding.kind)}",
            run_id=self._run.id,
            project=self._run.project,
            run=self._run_view(),
            layer=finding.layer,
            layer_label=finding.layer_label or finding.layer,
            layer_id=finding.layer_id,
            kind=finding.kind,
            cause=finding.cause,
            confidence=finding.confidence,
            title=wording.title(finding),
            message=wording.message(finding, self._run.label),
            url=str(self._folder),
            evidence=finding.evidence,
            forecast=_forecast(finding),
            remedies=[RemedyView.model_validate(remedy, from_attributes=True) for remedy in finding.remedies],
            acknowledged=None,
            inhibited_by=None,
            silenced_by=None,
        )


def _lifecycle(finding: Finding, previous: Alert | None, now: str) -> dict[str, Any]:
    """Return the fields of an alert that depend on what it was before."""
    is_resolved = finding.transition == "resolved"
    return {
        "state": _next_state(finding, previous),
        "severity": _severity(finding, previous),
        "opened_step": previous.opened_step if previous else finding.step,
        "dead_step": _dead_step(finding, previous),
        "resolved_step": finding.step if is_resolved else None,
        "ended_step": None,
        "opened_at": previous.opened_at if previous else now,
        "updated_at": now,
        "resolved_at": now if is_resolved else None,
        "ended_at": None,
        "resolved_reason": finding.reason if is_resolved else None,
        "outcome": "recovered" if is_resolved else None,
    }


def _forecast(finding: Finding) -> ForecastView | None:
    if finding.forecast is None:
        return None
    return ForecastView.model_validate(finding.forecast, from_attributes=True)


def _severity(finding: Finding, previous: Alert | None) -> Severity:
    """Return the severity: a layer that was dying and is dead is no less severe than before."""
    if previous is None or not previous.is_open:
        return finding.severity
    return max(finding.severity, previous.severity, key=severity_rank)


def _dead_step(finding: Finding, previous: Alert | None) -> int | None:
    """Return the step at which the layer was dead, or None where it is not."""
    if finding.kind != "dead":
        return None
    if previous is not None and previous.dead_step is not None and previous.holds:
        return previous.dead_step
    return finding.step


def _next_state(finding: Finding, previous: Alert | None) -> AlertState:
    if finding.transition == "resolved":
        return "resolved"
    if previous is None:
        return "firing"
    return "regressed" if previous.state == "resolved" else previous.state
