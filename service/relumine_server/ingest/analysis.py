"""The analysis of uploads: detector states, and what an upload adds to one.

It is prepared from what is stored and then applied in the transaction of the upload. That of a large upload is prepared
outside of the transaction, which would hold up all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

import numpy as np
import sqlalchemy as sa

from relumine.schemas.alert import Kind
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import Upload
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.findings import Finding, Reading
from relumine_server.detection.new_session import begin_session
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import DetectorState
from relumine_server.errors import InvalidUpload, UnitCountMismatch, UnknownLayer
from relumine_server.ingest import detector_states
from relumine_server.ingest.detector_states import DetectorCheckpoint, Version
from relumine_server.ingest.precedence import Pause, go_on
from relumine_server.metrics import Metrics
from relumine_server.policies.repository import PolicyCache
from relumine_server.runs import repository as run_repository
from relumine_server.runs import session_order
from relumine_server.runs.rows import LockedRun
from relumine_server.runs.session_order import RunSession
from relumine_server.timeseries import run_trace
from relumine_server.timeseries.append import EncodedRecords, encode

SAVE_EVERY = 8
"""Uploads between two saved detector states. A state weighs as much as an upload; up to so many are processed again."""

CACHE_BYTES = 256 * 2**20

SLICE_RECORDS = 1024
"""Records that are handed to the detector at once: one by one they take ten times the memory of the table."""

Advance: TypeAlias = Callable[
    [DetectorState, RecordTable, Policy, Pause], tuple[DetectorState, list[Reading], list[Finding]]
]


class Analysis(NamedTuple):
    """Results of the detector: its findings, and the records with its readings as they are stored.

    ``layer_count``: the layers described to it; None where it processed nothing. ``lost``: the largest lost share of
    any layer, by step.
    """

    encoded: EncodedRecords
    findings: Sequence[Finding] = ()
    layer_count: int | None = None
    lost: Mapping[int, float] = {}


class PreparedAnalysis(NamedTuple):
    """An analysis that is not stored yet.

    It holds as long as the run is at the same ``session`` and ``newest_version``, its project has the same ``policy``,
    and the upload has ``record_count`` records: a part of a record may have come to complete it. ``previous`` is
    the state that a new session takes over. ``is_due``: the new state is to be saved.
    """

    session: RunSession
    newest_version: Version
    policy: Policy
    record_count: int
    checkpoint: DetectorCheckpoint
    analysis: Analysis
    previous: DetectorCheckpoint | None
    is_due: bool


class OutdatedAnalysisError(Exception):
    """The run or its policy has changed since the analysis was prepared."""


class Analyzer:
    """Analyzes uploads. It caches the detector states of the runs that upload most, and the policies of projects."""

    def __init__(
        self, advance: Advance = detector.advance, cache_bytes: int = CACHE_BYTES, metrics: Metrics | None = None
    ) -> None:
        self._advance = advance
        self._metrics = metrics or Metrics()
        self._policies = PolicyCache()
        self.states = detector_states.DetectorStates(cache_bytes)

    def has_open_problem(self, run_id: str, session: str, layer_id: int, kind: Kind) -> bool:
        """Return whether a session has a problem open; True where its state is not at hand."""
        return self.states.has_open_problem(run_id, session, layer_id, kind)

    def current_state(self, connection: sa.Connection, run: LockedRun, now: datetime) -> DetectorState | None:
        """Return the detector state of the newest session of a run, for a reader; None where it is not at hand.

        It is cached, or the saved one is advanced over at most ``SAVE_EVERY`` uploads.
        """
        version = detector_states.newest_version(run)
        checkpoint = self.states.get(run.run_id, version)
        if checkpoint is not None:
            return checkpoint.state
        policy = self._policies.get(connection, run.project, now)
        return detector_states.load_saved(connection, run.run_id, version[0], policy)

    def prepare(
        self,
        connection: sa.Connection,
        run: LockedRun,
        upload: Upload,
        session: RunSession,
        now: datetime,
        pause: Pause = go_on,
    ) -> PreparedAnalysis:
        """Advance the detector state of a session over an upload's records, with pauses. Only reads.

        Raises UnknownLayer, UnitCountMismatch, InvalidUpload, DetectorStateLost.
        """
        policy = self._policies.get(connection, run.project, now)
        checkpoint, previous = self._load(connection, run, session, policy)
        state, has_new_layers = _described(connection, checkpoint.state, upload)
        check_records(upload.records, {layer_id: memory.info.units for layer_id, memory in state.layers.items()})
        state, findings = _begun(connection, run.run_id, state, upload.records, session, policy)
        with self._metrics.detector_seconds.time():
            state, readings, new_findings = self._advance_in_slices(state, upload.records, policy, pause)
        unsaved_uploads = checkpoint.unsaved_uploads + 1
        encoded = encode(upload.records, readings, pause)
        lost = run_trace.worst_by_step(readings)
        return PreparedAnalysis(
            session=session,
            newest_version=detector_states.newest_version(run),
            policy=policy,
            record_count=len(upload.records),
            checkpoint=DetectorCheckpoint(state, unsaved_uploads),
            analysis=Analysis(encoded, findings + new_findings, len(state.layers), lost),
            previous=previous,
            is_due=has_new_layers or upload.final_status is not None or unsaved_uploads >= SAVE_EVERY,
        )

    def apply(
        self,
        connection: sa.Connection,
        run: LockedRun,
        upload: Upload,
        session: RunSession,
        now: datetime,
        prepared: PreparedAnalysis | None = None,
    ) -> Analysis:
        """Save and cache the detector state after an upload, and return the results.

        Raises OutdatedAnalysisError where ``prepared`` no longer holds, and what ``prepare`` raises without it.
        """
        if prepared is None:
            prepared = self.prepare(connection, run, upload, session, now)
        newest = detector_states.newest_version(run)
        policy = self._policies.get(connection, run.project, now)
        prepared_for = (prepared.session, prepared.newest_version, prepared.policy, prepared.record_count)
        if prepared_for != (session, newest, policy, len(upload.records)):
            raise OutdatedAnalysisError
        if session.is_new:
            self._save_previous(connection, run, prepared, now)
        state, unsaved_uploads = prepared.checkpoint
        if prepared.is_due:
            detector_states.save(connection, run.run_id, (upload.session, upload.seq), state, now)
            unsaved_uploads = 0
        version = (upload.session, upload.seq, now)
        self.states.put(run.run_id, version, DetectorCheckpoint(state, unsaved_uploads))
        return prepared.analysis

    def _load(
        self, connection: sa.Connection, run: LockedRun, session: RunSession, policy: Policy
    ) -> tuple[DetectorCheckpoint, DetectorCheckpoint | None]:
        """Return the state of a session, and the one that it takes over if it is new; a new one is saved soon."""
        if not session.is_new:
            version = (session.key, session.last_seq, session.received_at)
            checkpoint = self.states.get(run.run_id, version)
            return checkpoint or detector_states.load(connection, run.run_id, session.key, policy), None
        if session.previous is None:
            return DetectorCheckpoint(detection_state.empty(), SAVE_EVERY), None
        newest = detector_states.newest_version(run)
        previous = self.states.get(run.run_id, newest) if session.previous == newest[0] else None
        if previous is None:
            previous = detector_states.load(connection, run.run_id, session.previous, policy)
        return DetectorCheckpoint(previous.state, SAVE_EVERY), previous

    def _save_previous(
        self, connection: sa.Connection, run: LockedRun, prepared: PreparedAnalysis, now: datetime
    ) -> None:
        """Save the state that a new session takes over, as its own session may go on, and delete the oldest ones."""
        previous = prepared.previous
        is_newest = prepared.session.previous == prepared.newest_version[0]
        if previous is not None and previous.unsaved_uploads and is_newest:
            detector_states.save(connection, run.run_id, prepared.newest_version[:2], previous.state, now)
        detector_states.delete_oldest(connection, run.run_id)

    def _advance_in_slices(
        self, state: DetectorState, records: RecordTable, policy: Policy, pause: Pause
    ) -> tuple[DetectorState, list[Reading], list[Finding]]:
        """Advance a state over records. Any split of them gives the same results."""
        if len(records) <= SLICE_RECORDS:
            return self._advance(state, records, policy, pause)
        readings: list[Reading] = []
        findings: list[Finding] = []
        for start in range(0, len(records), SLICE_RECORDS):
            part = records[start : start + SLICE_RECORDS]
            state, new_readings, new_findings = self._advance(state, part, policy, pause)
            readings += new_readings
            findings += new_findings
        return state, readings, findings


def _begun(
    connection: sa.Connection,
    run_id: str,
    state: DetectorState,
    records: RecordTable,
    session: RunSession,
    policy: Policy,
) -> tuple[DetectorState, list[Finding]]:
    """Return the state at the first record of a session, and the findings that end with it."""
    if session.first_step is not None or not len(records):
        return state, []
    earliest_step = session_order.earliest_step(connection, run_id, session.key)
    return begin_session(state, records[0], earliest_step, policy)


def _described(connection: sa.Connection, state: DetectorState, upload: Upload) -> tuple[DetectorState, bool]:
    """Return the state with the layers of an upload, and whether any was described to it.

    A layer that only a late upload or another rank has described is loaded from its row.
    """
    described = {layer.layer_id for layer in upload.layers}
    recorded = set(upload.records.scalars["layer_id"].tolist())
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
    recorded = layer_ids.tolist()
    for layer_id in recorded:
        if layer_id and layer_id not in units:
            raise UnknownLayer(f"layer {layer_id} was never described")
    expected = np.array([units.get(layer_id, 0) for layer_id in recorded], np.int64)
    mismatched = np.flatnonzero((records.present > 0) & (layer_ids > 0) & (records.units != expected))
    if mismatched.size:
        index = mismatched[0]
        raise UnitCountMismatch(
            f"layer {layer_ids[index]} has {expected[index]} units, a record has {records.units[index]}"
        )
