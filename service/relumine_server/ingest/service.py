"""Ingest of one upload in one transaction: idempotency key, layers, detector, series, progress of the run, alerts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import Upload, UploadResponse
from relumine_server.alerts import queries as alert_queries
from relumine_server.alerts.service import AlertService
from relumine_server.clock import Uptime
from relumine_server.db.dialect import pipelined
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.findings import Finding, Reading
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import DetectorState
from relumine_server.errors import InvalidUpload, RunInOtherProject, UnitCountMismatch, UnknownLayer
from relumine_server.ingest import detector_states
from relumine_server.ingest.detector_states import DetectorCheckpoint
from relumine_server.ingest.quotas import Quotas
from relumine_server.ingest.run_progress import RunProgress, progress
from relumine_server.metrics import Metrics
from relumine_server.policies.repository import PolicyCache
from relumine_server.runs import repository as run_repository
from relumine_server.runs.rows import LockedRun
from relumine_server.timeseries import sessions
from relumine_server.timeseries.append import append_upload

SAVE_EVERY = 8
"""Uploads between two saved detector states. A state weighs as much as an upload; up to so many are processed again."""

CACHE_BYTES = 256 * 2**20

MAX_COMPUTING = 2
"""Uploads that one process works on at once. More would take turns at the interpreter, which costs up to half as much
again. Uploads that wait for a run locked by another upload are not counted."""

Advance: TypeAlias = Callable[[DetectorState, RecordTable, Policy], tuple[DetectorState, list[Reading], list[Finding]]]


class IngestResult(NamedTuple):
    """The response to an upload; whether it changed any alert; what the client dropped since its previous upload."""

    response: UploadResponse
    has_changed_alerts: bool
    newly_dropped: Mapping[str, int] = {}


class IngestService:
    """Ingests uploads, each call within the transaction of its ``connection``.

    It caches the detector states of the runs that upload most, and the policies of projects. ``advance`` is the
    detector; tests may pass another one.
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
        self._advance = advance
        self._policies = PolicyCache()
        self._states = detector_states.DetectorStates(cache_bytes)
        self._uptime = uptime
        self._computing = threading.Semaphore(MAX_COMPUTING)

    def decode_and_ingest(self, connection: sa.Connection, decode: Callable[[], Upload], now: datetime) -> IngestResult:
        """Decode an upload when it is its turn to compute, and ingest it. Raises what either raises."""
        with self._computing:
            upload = decode()
        self._quotas.check_upload(upload)
        return self.ingest(connection, upload, now)

    def ingest(self, connection: sa.Connection, upload: Upload, now: datetime) -> IngestResult:
        """Store an upload, analyze its records and apply the findings to the alerts of its run.

        Raises RunInOtherProject, UnknownLayer, UnitCountMismatch, InvalidUpload, DetectorStateLost and the problems of
        quotas; the transaction must then be rolled back.
        """
        run = run_repository.lock_or_create(connection, upload.run, now, self._quotas.admit_run)
        with self._computing:
            return self._ingest_into(connection, run, upload, now)

    def _ingest_into(self, connection: sa.Connection, run: LockedRun, upload: Upload, now: datetime) -> IngestResult:
        if run.project != upload.run.project:
            raise RunInOtherProject
        session, seq, _ = detector_states.version_of(run)
        is_latest = upload.rank == 0 and (upload.session, upload.seq) > (session, seq)
        is_late = upload.rank == 0 and not is_latest
        if not run_repository.claim_upload(connection, upload, late=is_late, processed=is_latest, now=now):
            response = self._respond(connection, run, accepted=0, duplicate=True)
            return IngestResult(response, has_changed_alerts=False)
        if upload.layers:
            run_repository.save_layers(connection, run.run_id, upload.layers)
            self._quotas.check_layers(connection, run, now)
        readings: Sequence[Reading] = []
        findings: Sequence[Finding] = []
        if is_latest:
            readings, findings = self._analyze(connection, run, upload, now)
        else:
            layers = run_repository.load_layers(connection, run.run_id)
            check_records(upload.records, {layer.layer_id: layer.units for layer in layers})
        change = _store(connection, self._observed(run), upload, readings, now=now, is_latest=is_latest)
        changed_ids = self._alerts.apply_upload(connection, run, findings, change.effect, now)
        response = self._respond(
            connection, run, accepted=len(upload.records), is_analyzed=is_latest, changed_ids=changed_ids
        )
        return IngestResult(response, bool(changed_ids), change.newly_dropped)

    def _observed(self, run: LockedRun) -> LockedRun:
        """Return the run with its last heartbeat moved to the time since which this server could have received one."""
        if self._uptime is None or run.last_heartbeat_at is None:
            return run
        observed_since = self._uptime.since()
        return run if run.last_heartbeat_at >= observed_since else replace(run, last_heartbeat_at=observed_since)

    def _analyze(
        self, connection: sa.Connection, run: LockedRun, upload: Upload, now: datetime
    ) -> tuple[list[Reading], list[Finding]]:
        """Advance the detector state of a run over the records of its latest upload, and cache it."""
        policy = self._policies.get(connection, run.project, now)
        checkpoint = self._states.get(run.run_id, detector_states.version_of(run))
        if checkpoint is None:
            checkpoint = detector_states.load(connection, run.run_id, policy)
        state, has_new_layers = _described(connection, checkpoint.state, upload)
        check_records(upload.records, {layer_id: memory.info.units for layer_id, memory in state.layers.items()})
        with self._metrics.detector_seconds.time():
            state, readings, findings = self._advance(state, upload.records, policy)
        unsaved_uploads = checkpoint.unsaved_uploads + 1
        if has_new_layers or upload.final_status is not None or unsaved_uploads >= SAVE_EVERY:
            detector_states.save(connection, run.run_id, (upload.session, upload.seq), state, now)
            unsaved_uploads = 0
        version = (upload.session, upload.seq, now)
        self._states.put(run.run_id, version, DetectorCheckpoint(state, unsaved_uploads))
        return readings, findings

    def _respond(
        self,
        connection: sa.Connection,
        run: LockedRun,
        *,
        accepted: int,
        is_analyzed: bool = True,
        duplicate: bool = False,
        changed_ids: Sequence[str] = (),
    ) -> UploadResponse:
        """Return the response, with the run's open alerts and those that the upload changed."""
        alerts = []
        if changed_ids or run.has_open_alerts:
            alerts = alert_queries.current(connection, run.run_id, changed_ids, self._base_url)
        return UploadResponse(
            accepted=accepted, analyzed=is_analyzed, duplicate=duplicate, sample_every=None, alerts=alerts
        )


def _store(
    connection: sa.Connection,
    run: LockedRun,
    upload: Upload,
    readings: Sequence[Reading],
    *,
    now: datetime,
    is_latest: bool,
) -> RunProgress:
    """Store what an upload carries, and the progress of its run."""
    with pipelined(connection):
        written = append_upload(connection, upload, readings, run.unit_stat_rows)
        change = progress(run, upload, written, now, is_latest=is_latest)
        if change.session_note is not None:
            sessions.save_note(connection, upload, change.session_note, now)
        run_repository.update(connection, run.run_id, change.row_values)
    return change


def _described(connection: sa.Connection, state: DetectorState, upload: Upload) -> tuple[DetectorState, bool]:
    """Return the state with the layers of an upload, and whether any was described to it.

    A layer that only a late upload or another rank has described is loaded from its row.
    """
    described = {layer.layer_id for layer in upload.layers}
    recorded = set(np.unique(upload.records.scalars["layer_id"]).tolist())
    unknown = recorded - {0, *described, *state.layers}
    if not described and not unknown:
        return state, False
    stored = run_repository.load_layers(connection, upload.run.id) if unknown else []
    new_layers = [layer for layer in stored if layer.layer_id in unknown]
    return detection_state.describe(state, [*new_layers, *upload.layers]), True


def check_records(records: RecordTable, units: Mapping[int, int]) -> None:
    """Check that every record is of a described layer and fits its units, and is the only one of its layer and step.

    ``records`` are ordered by step, then layer; ``units`` are by layer. Raises UnknownLayer, UnitCountMismatch,
    InvalidUpload.
    """
    layer_ids = records.scalars["layer_id"]
    steps = records.scalars["step"]
    repeated = np.flatnonzero((np.diff(steps) == 0) & (np.diff(layer_ids) == 0))
    if repeated.size:
        raise InvalidUpload(f"two records of layer {layer_ids[repeated[0]]} at step {steps[repeated[0]]}")
    recorded, index_of_layer = np.unique(layer_ids, return_inverse=True)
    for layer_id in recorded.tolist():
        if layer_id and layer_id not in units:
            raise UnknownLayer(f"layer {layer_id} was never described")
    expected = np.array([units.get(layer_id, 0) for layer_id in recorded.tolist()], np.int64)[index_of_layer]
    mismatched = np.flatnonzero((records.present > 0) & (layer_ids > 0) & (records.units != expected))
    if mismatched.size:
        index = mismatched[0]
        raise UnitCountMismatch(
            f"layer {layer_ids[index]} has {expected[index]} units, a record has {records.units[index]}"
        )
