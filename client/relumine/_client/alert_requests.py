"""Requests about alerts and silences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from relumine._client.requests import MAX_PAGE, Requests
from relumine.schemas.alert import Alert, AlertDetail, AlertEvent, Silence
from relumine.schemas.incident import Incident


class AlertRequests(Requests):
    """Alerts, what people do to them, and silences."""

    def alerts(  # noqa: PLR0913 - the filters of the API, each by name
        self,
        *,
        run_id: str | None = None,
        project: str | None = None,
        state: str | None = None,
        severity: str | None = None,
        kind: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Alert]:
        """Return alerts, newest first, at most ``limit``; ``since`` keeps those that changed at or after a time.

        ``state="open"`` selects alerts whose problem holds while their run goes on.
        """
        page = None if limit is None else max(1, min(limit, MAX_PAGE))
        changed_since = None if since is None else since.isoformat()
        filters = {
            "run_id": run_id,
            "project": project,
            "state": state,
            "severity": severity,
            "kind": kind,
            "since": changed_since,
        }
        return itertools.islice(self._items("/v1/alerts", Alert, **filters, limit=page), limit)

    def incidents(  # noqa: PLR0913 - the filters of the API, each by name
        self,
        *,
        run_id: str | None = None,
        project: str | None = None,
        state: str | None = None,
        severity: str | None = None,
        cause: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Incident]:
        """Return incidents, newest first, at most ``limit``: the alerts of a run that have one cause, as one."""
        page = None if limit is None else max(1, min(limit, MAX_PAGE))
        filters = {
            "run_id": run_id,
            "project": project,
            "state": state,
            "severity": severity,
            "cause": cause,
            "since": None if since is None else since.isoformat(),
        }
        return itertools.islice(self._items("/v1/incidents", Incident, **filters, limit=page), limit)

    def incident(self, incident_id: str) -> Incident:
        """Return one incident with its alerts."""
        return self._get(f"/v1/incidents/{incident_id}", Incident)

    def acknowledge_incident(self, incident_id: str, *, author: str, note: str = "") -> Incident:
        """Acknowledge all open alerts of an incident; those that another author has acknowledged stay that author's."""
        return self._post(f"/v1/incidents/{incident_id}/acknowledge", Incident, {"author": author, "note": note})

    def resolve_incident(self, incident_id: str, *, author: str, note: str = "") -> Incident:
        """Resolve all alerts of an incident by hand; each fires again if the detector raises it again."""
        return self._post(f"/v1/incidents/{incident_id}/resolve", Incident, {"author": author, "note": note})

    def alert(self, alert_id: str) -> AlertDetail:
        """Return one alert, with the remedies applied to it and their outcomes."""
        return self._get(f"/v1/alerts/{alert_id}", AlertDetail)

    def acknowledge(self, alert_id: str, *, author: str, note: str = "") -> AlertDetail:
        """Acknowledge an alert. Refused (409 ``alert_acknowledged``) if another author has acknowledged it."""
        return self._act(alert_id, "acknowledge", author, note)

    def resolve(self, alert_id: str, *, author: str, note: str = "") -> AlertDetail:
        """Resolve an alert by hand; it fires again if the detector raises it again or finds it worse."""
        return self._act(alert_id, "resolve", author, note)

    def events(self, alert_id: str) -> Iterator[AlertEvent]:
        """Return the events of an alert, oldest first: every transition of its state."""
        return self._items(f"/v1/alerts/{alert_id}/events", AlertEvent)

    def silences(self) -> Iterator[Silence]:
        """Return silences, newest first."""
        return self._items("/v1/silences", Silence)

    def silence(
        self,
        matchers: Mapping[str, str],
        *,
        ends_at: datetime,
        author: str,
        comment: str = "",
        starts_at: datetime | None = None,
    ) -> Silence:
        """Create a silence: no notifications of matching alerts, for a time.

        Args:
            matchers: values or globs such as ``encoder.*`` that an alert must match in all of these: ``project``,
                ``run_id``, ``incident_id``, ``group``, ``name``, ``layer``, ``kind``, ``severity``, ``cause``.
            ends_at: the end, with a time zone.
            author: the person who creates it.
            comment: the reason.
            starts_at: the start; now by default.
        """
        body: dict[str, Any] = {"matchers": dict(matchers), "ends_at": ends_at.isoformat(), "author": author}
        body["comment"] = comment
        if starts_at is not None:
            body["starts_at"] = starts_at.isoformat()
        return self._post("/v1/silences", Silence, body)

    def unsilence(self, silence_id: str) -> None:
        """End a silence now. Notifications that it held back are sent if their alerts still fire."""
        self._send("DELETE", f"/v1/silences/{silence_id}")

    def _act(self, alert_id: str, action: str, author: str, note: str) -> AlertDetail:
        return self._post(f"/v1/alerts/{alert_id}/{action}", AlertDetail, {"author": author, "note": note})
