"""No server: the detector runs in the sender's thread, alerts are made here, uploads are kept on disk.

The only module of the SDK that imports from the server's package, and only its pure detector.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from relumine._spool import SUFFIX, Spool
from relumine._transport import TransportError
from relumine.errors import SettingsError
from relumine.views import Accepted, Alert, AlertRun, AlertState
from relumine.views import Forecast as ForecastView
from relumine.views import Remedy as RemedyView
from relumine.wire import RunInfo, Upload

try:
    from relumine_server.detection import onset, state, wording
    from relumine_server.detection.findings import Finding
    from relumine_server.detection.policy import Policy
except ImportError as error:  # pragma: no cover - the extra is installed wherever this is tested
    raise SettingsError("mode='local' needs the detector: pip install 'relumine[server]'") from error


class LocalTransport:
    """Answers uploads as a server would, within the process."""

    def __init__(self, directory: Path, run: RunInfo) -> None:
        self._run = run
        self._state = state.empty()
        self._policy = Policy()
        self._alerts: dict[tuple[int, str], Alert] = {}
        self._folder = directory / run.id
        self._spool: Spool | None = None

    def post(self, body: bytes) -> Accepted:
        """Keep the upload on disk and fold its records. Raises TransportError where the disk refuses."""
        checked = Upload.model_validate_json(body)
        try:
            self._spool = self._spool or Spool(self._folder / f"{checked.session}{SUFFIX}")
            self._spool.append(body)
        except OSError as error:
            raise TransportError(str(error), retryable=True) from error
        self._state = state.describe(self._state, checked.layers)
        self._state, _readings, findings = onset.advance(self._state, checked.records, self._policy)
        changed = [self._record(finding) for finding in findings]
        still = [alert for alert in self._alerts.values() if alert.state != "resolved" and alert not in changed]
        return Accepted(accepted=len(checked.records), duplicate=False, every=None, alerts=[*still, *changed])

    def close(self) -> None:
        """Close the file."""
        if self._spool is not None:
            self._spool.close()

    def _record(self, finding: Finding) -> Alert:
        key = (finding.layer_id, finding.kind)
        before = self._alerts.get(key)
        alert = self._alerts[key] = self._alert(finding, before)
        return alert

    def _alert(self, finding: Finding, before: Alert | None) -> Alert:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        resolved = finding.transition == "resolved"
        run, label = self._run, f"{self._run.project}/{self._run.name or self._run.id[:13]}"
        return Alert(
            id=f"{run.id}.{finding.layer_id}.{finding.kind}",
            run_id=run.id,
            project=run.project,
            run=AlertRun(name=run.name, group=run.group, url=str(self._folder)),
            layer=finding.layer,
            layer_id=finding.layer_id,
            kind=finding.kind,
            state=_next_state(finding, before),
            severity=finding.severity,
            cause=finding.cause,
            confidence=finding.confidence,
            opened_step=before.opened_step if before else finding.step,
            resolved_step=finding.step if resolved else None,
            opened_at=before.opened_at if before else now,
            updated_at=now,
            resolved_at=now if resolved else None,
            resolved_reason=finding.reason if resolved else None,
            title=wording.title(finding),
            message=wording.message(finding, label),
            url=str(self._folder),
            evidence=finding.evidence,
            forecast=ForecastView.model_validate(finding.forecast, from_attributes=True) if finding.forecast else None,
            remedies=[RemedyView.model_validate(remedy, from_attributes=True) for remedy in finding.remedies],
            acknowledged=None,
            muted_by=None,
            silenced_by=None,
        )


def _next_state(finding: Finding, before: Alert | None) -> AlertState:
    if finding.transition == "resolved":
        return "resolved"
    if before is None:
        return "firing"
    return "regressed" if before.state == "resolved" else before.state
