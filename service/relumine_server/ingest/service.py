"""Ingest of one upload in one transaction: idempotency key, layers, detector, series, progress of the run, alerts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas.alert import Alert
from relumine.schemas.upload import Upload, UploadResponse
from relumine_server.alerts import queries as alert_queries
from relumine_server.alerts.service import AlertService
from relumine_server.clock import Uptime
from relumine_server.db.dialect import pipelined
from relumine_server.detection import detector
from relumine_server.detection.findings import Finding
from relumine_server.detection.state import DetectorState
from relumine_server.ingest import record_parts
from relumine_server.ingest.analysis import (
    CACHE_BYTES,
    Advance,
    Analysis,
    Analyzer,
    PreparedAnalysis,
    check_records,
)
from relumine_server.ingest.precedence import Pause, go_on
from relumine_server.ingest.quotas import Quotas
from relumine_server.ingest.run_progress import Arrival, RunProgress, progress
from relumine_server.metrics import Metrics
from relumine_server.runs import repository as run_repository
from relumine_server.runs import session_order
from relumine_server.runs.rows import LockedRun
from relumine_server.runs.session_order import RunSession
from relumine_server.timeseries import run_trace, segments, sessions
from relumine_server.timeseries.append import append_upload, encode

MAX_COMPUTING = 2
"""Uploads that one process works on at once. More would take turns at the interpreter, which costs up to half as much
again. Uploads that wait for a run locked by another upload are not counted."""


class IngestResult(NamedTuple):
    """The response to an upload; whether it changed any alert; what the client dropped since its previous upload."""

    response: UploadResponse
    has_changed_alerts: bool
    newly_dropped: Mapping[str, int] = {}


class IngestService:
    """Ingests uploads, each call within the transaction of its ``connection``.

    ``advance`` is the detector; tests may pass another one.
    """

    def __init__(  # noqa: PLR0913 - the services it uses, each by name
        self,
        base_url: str,
        *,
        quotas: Quotas | None = None,
        alerts: AlertService | None = None,
        metrics: Metrics | None = None,
        advance: Advance = detector.advance,
        cache_bytes: int = CACHE_BYTES,
        uptime: Uptime | None = None,
    ) -> None:
        self._base_url = base_url
        self._quotas = quotas or Quotas.default()
        self._alerts = alerts or AlertService()
        self._metrics = metrics or Metrics()
        self._analyzer = Analyzer(advance, cache_bytes, self._metrics)
        self._uptime = uptime
        self._computing = threading.Semaphore(MAX_COMPUTING)

    def decode_and_ingest(
        self, connection: sa.Connection, decode: Callable[[], Upload], now: datetime, *, is_replayed: bool = False
    ) -> IngestResult:
        """Decode an upload when it is its turn to compute, and ingest it. Raises what either raises."""
        with self._computing:
            upload = decode()
        self._quotas.check_upload(upload)
        return self.ingest(connection, upload, now, is_replayed=is_replayed)

    def prepare(
        self,
        connection: sa.Connection,
        upload: Upload,
        now: datetime,
        *,
        is_replayed: bool = False,
        pause: Pause = go_on,
    ) -> PreparedAnalysis | None:
        """Analyze an upload ahead of its transaction, with pauses. Only reads.

        Returns None where the analysis has to wait for the transaction, or there is none. Raises as ``ingest``.
        """
        self._quotas.check_upload(upload)
        run = run_repository.peek(connection, upload.run)
        if run.project != upload.run.project or not self._quotas.has_room_for(upload.layers):
            return None
        session = session_order.locate(connection, run, upload, is_replayed=is_replayed)
        if not _is_analyzed(upload, session):
            return None
        assembled = record_parts.joined(connection, upload.model_copy(update={"session": session.key}))
        return self._analyzer.prepare(connection, run, assembled, session, now, pause)

    def ingest(
        self,
        connection: sa.Connection,
        upload: Upload,
        now: datetime,
        *,
        is_replayed: bool = False,
        prepared: PreparedAnalysis | None = None,
    ) -> IngestResult:
        """Store an upload, analyze its records and apply the findings to the alerts of its run.

        ``is_replayed``: it comes from a disk, after its training, so what it shows of an older session is no news.
        ``prepared`` is its analysis where that was made ahead; OutdatedAnalysisError is raised if it no longer holds.

        Raises UnknownLayer, UnitCountMismatch, InvalidUpload, DetectorStateLost and the problems of quotas; the
        transaction must then be rolled back.
        """
        run = run_repository.lock_or_create(connection, upload.run, now, self._quotas.admit_run)
        with self._computing:
            session = session_order.locate(connection, run, upload, is_replayed=is_replayed)
            stored_run = upload.run.model_copy(update={"id": run.run_id})
            stored = upload.model_copy(update={"run": stored_run, "session": session.key})
            dropped_before = run_repository.dropped_before(connection, stored) if upload.dropped else {}
            has_run_records = _follows_run_records(connection, stored)
            arrival = Arrival(session, _is_analyzed(upload, session), is_replayed, dropped_before, has_run_records)
            return self._ingest_into(connection, run, stored, arrival, now, prepared)

    def detector_state(self, connection: sa.Connection, run_id: str, now: datetime) -> DetectorState | None:
        """Return the present detector state of a run; None where it is not at hand, or there is no such run."""
        run = run_repository.unlocked(connection, run_id)
        return None if run is None else self._analyzer.current_state(connection, run, now)

    def _observed(self, run: LockedRun) -> LockedRun:
        """Return the run with its last heartbeat moved to the time since which this server could have received one."""
        if self._uptime is None or run.last_heartbeat_at is None:
            return run
        observed_since = self._uptime.since()
        return run if run.last_heartbeat_at >= observed_since else replace(run, last_heartbeat_at=observed_since)

    def _ingest_into(
        self,
        connection: sa.Connection,
        run: LockedRun,
        sent: Upload,
        arrival: Arrival,
        now: datetime,
        prepared: PreparedAnalysis | None,
    ) -> IngestResult:
        """Ingest an upload whose run and session are named as they are stored."""
        upload = record_parts.joined(connection, sent)
        is_late = upload.rank == 0 and not arrival.is_latest
        if not run_repository.claim_upload(connection, upload, late=is_late, processed=arrival.is_analyzed, now=now):
            duplicate = UploadResponse(accepted=0, analyzed=True, duplicate=True)
            return IngestResult(self._respond(connection, run, duplicate), has_changed_alerts=False)
        if upload.layers:
            run_repository.save_layers(connection, run.run_id, upload.layers, replace=upload.rank == 0)
            self._quotas.check_layers(connection, run, now)
        if arrival.is_analyzed:
            analysis = self._analyzer.apply(connection, run, upload, arrival.session, now, prepared)
        else:
            analysis = _not_analyzed(connection, upload)
        _keep_part(connection, sent, now, is_complete=len(upload.records) > 0)
        change = _store(connection, self._observed(run), upload, arrival, analysis, now)
        news = self._news(run, analysis.findings, arrival)
        changed_ids = self._alerts.apply_upload(connection, run, news, change.effect, now)
        is_shared = change.row_values.get("is_shared", run.is_shared)
        answer = _answer(upload, arrival, analysis, is_shared=is_shared)
        return IngestResult(
            self._respond(connection, run, answer, changed_ids), bool(changed_ids), change.newly_dropped
        )

    def _news(self, run: LockedRun, findings: Sequence[Finding], arrival: Arrival) -> Sequence[Finding]:
        """Return the findings that change alerts.

        Those of a training that uploads in an older session do, as it goes on beside the newest one; but it ends no
        problem that the newest one has. What is replayed of an older session is over.
        """
        if arrival.is_latest:
            return findings
        if arrival.is_replayed or run.detector_session is None:
            return []
        newest = run.detector_session
        news = []
        for finding in findings:
            is_end = finding.transition == "resolved"
            if is_end and self._analyzer.has_open_problem(run.run_id, newest, finding.layer_id, finding.kind):
                continue
            news.append(finding)
        return news

    def _respond(
        self, connection: sa.Connection, run: LockedRun, answer: UploadResponse, changed_ids: Sequence[str] = ()
    ) -> UploadResponse:
        """Return the answer with the run's id, its open alerts and those that the upload changed."""
        alerts: list[Alert] = []
        if changed_ids or run.has_open_alerts:
            alerts = alert_queries.current(connection, run.run_id, changed_ids, self._base_url)
        return answer.model_copy(update={"run_id": run.run_id, "alerts": alerts})


def _is_analyzed(upload: Upload, session: RunSession) -> bool:
    """Return whether the detector processes an upload: in the order of ``seq``, and of rank 0 alone."""
    return upload.rank == 0 and upload.seq > session.last_seq and session.has_state


def _follows_run_records(connection: sa.Connection, upload: Upload) -> bool:
    """Return whether an upload has records of layers alone, in a session that has sent records of the run itself."""
    layer_ids = upload.records.scalars["layer_id"]
    return bool(layer_ids.size and layer_ids.min()) and segments.has_layer(connection, upload.run.id, upload.session, 0)


def _answer(upload: Upload, arrival: Arrival, analysis: Analysis, *, is_shared: bool) -> UploadResponse:
    return UploadResponse(
        accepted=len(upload.records),
        analyzed=arrival.is_analyzed,
        duplicate=False,
        known_layers=analysis.layer_count,
        is_shared=is_shared,
    )


def _not_analyzed(connection: sa.Connection, upload: Upload) -> Analysis:
    """Check the records of an upload that the detector does not process, and return them as they are stored."""
    layers = run_repository.load_layers(connection, upload.run.id)
    check_records(upload.records, {layer.layer_id: layer.units for layer in layers})
    return Analysis(encode(upload.records, []))


def _trace(run: LockedRun, upload: Upload, analysis: Analysis) -> bytes | None:
    begins_session = upload.session != run.detector_session or run.session_first_step is None
    return run_trace.extended(run.trace, upload, analysis.lost, begins_session=begins_session)


def _keep_part(connection: sa.Connection, sent: Upload, now: datetime, *, is_complete: bool) -> None:
    """Store the part of a record in an upload, if it is one.

    Where it completes the record, the stored ones are deleted instead.
    """
    if sent.first_unit is None:
        return
    if is_complete:
        record_parts.delete(connection, sent)
    else:
        record_parts.keep(connection, sent, now)


def _store(
    connection: sa.Connection,
    run: LockedRun,
    upload: Upload,
    arrival: Arrival,
    analysis: Analysis,
    now: datetime,
) -> RunProgress:
    """Store what an upload carries, and the progress of its run."""
    with pipelined(connection):
        written = append_upload(connection, upload, analysis.encoded, run.unit_stat_rows)
        change = progress(run, upload, arrival, written, now)
        if arrival.is_latest and analysis.lost:
            change.row_values["trace"] = _trace(run, upload, analysis)
            change.row_values["lost_fraction"] = round(analysis.lost[max(analysis.lost)], 6)
        if change.session_note is not None:
            sessions.save_note(connection, upload, change.session_note, now)
        run_repository.update(connection, run.run_id, change.row_values)
    return change
