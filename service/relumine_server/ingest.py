"""The use case of the hot road: one upload, one transaction: key, rows, detection, alerts. Nothing here is HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from relumine.table import RecordTable
from relumine.views import Accepted
from relumine.wire import Upload
from relumine_server import alerting
from relumine_server.alerting import Passage
from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.findings import Finding, Reading
from relumine_server.errors import InvalidUpload, RunInOtherProject, UnknownLayer, WrongUnits
from relumine_server.life import stalls
from relumine_server.metrics import Metrics
from relumine_server.settings import Settings
from relumine_server.storage import alerts, numbers, policies, runs, segments, sessions, states, units
from relumine_server.storage.dialect import pipelined
from relumine_server.storage.quotas import Quotas
from relumine_server.storage.states import Folded

SAVE_EVERY = 8
"""Uploads between two saved states: a state weighs as much as an upload, and up to so many are folded again."""

CACHE_BYTES = 256 * 2**20

COMPUTING = 2
"""Uploads that one process works on at once: more take turns at the interpreter, which costs up to half as much again.
Those that wait for a run another upload has locked are not among them."""


class Taken(NamedTuple):
    """The answer to an upload, whether any alert moved by it, and what the client dropped since it last said so."""

    accepted: Accepted
    moved: bool
    dropped: Mapping[str, int] = {}


class Ingest:
    """Takes uploads. Remembers the detector states of the runs that write most, and for moments the policies."""

    def __init__(
        self,
        base_url: str,
        *,
        cache_bytes: int = CACHE_BYTES,
        quotas: Quotas | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._base_url = base_url
        self._quotas = quotas or Quotas(Settings())
        self._metrics = metrics or Metrics()
        self._policies = policies.Cache()
        self._states = states.Cache(cache_bytes)
        self._computing = threading.Semaphore(COMPUTING)

    def receive(self, connection: sa.Connection, decode: Callable[[], Upload], now: datetime) -> Taken:
        """Decode an upload in its turn, then ``take`` it. Raises what either raises."""
        with self._computing:
            upload = decode()
        self._quotas.check(upload)
        return self.take(connection, upload, now)

    def take(self, connection: sa.Connection, upload: Upload, now: datetime) -> Taken:
        """Store an upload and look for onset.

        Raises RunInOtherProject, UnknownLayer, WrongUnits, InvalidUpload, and what quotas raise; then nothing of it is
        kept.
        """
        run = runs.lock(connection, upload, now, self._quotas.admit_run)
        with self._computing:
            return self._take(connection, run, upload, now)

    def _take(self, connection: sa.Connection, run: sa.Row[Any], upload: Upload, now: datetime) -> Taken:
        if run.project != upload.run.project:
            raise RunInOtherProject
        session, seq, _ = states.version_of(run)
        folds = upload.rank == 0 and (upload.session, upload.seq) > (session, seq)
        if not runs.claim(connection, upload, late=upload.rank == 0 and not folds, folded=folds, now=now):
            return self._answer(connection, run, upload, duplicate=True, told=[])
        if upload.layers:
            runs.save_layers(connection, run.run_id, upload.layers)
            self._quotas.check_layers(connection, run, now)
        readings: Sequence[Reading] = []
        findings: Sequence[Finding] = []
        if folds:
            readings, findings = self._fold(connection, run, upload, now)
        else:
            check(upload.records, {layer.layer_id: layer.units for layer in runs.load_layers(connection, run.run_id)})
        with pipelined(connection):
            segments.append(connection, upload, readings)
            numbers.append(connection, upload)
            written = units.append(connection, upload, run.unit_rows)
            _update_run(connection, run, upload, now, folds=folds, written=written)
        told = alerting.record(connection, run, findings, _passage(run, upload, folds=folds), now)
        answer = self._answer(connection, run, upload, duplicate=False, told=told)
        return answer._replace(dropped=_newly_dropped(run, upload))

    def _fold(
        self, connection: sa.Connection, run: sa.Row[Any], upload: Upload, now: datetime
    ) -> tuple[list[Reading], list[Finding]]:
        policy = self._policies.get(connection, run.project, now)
        before = self._states.get(run.run_id, states.version_of(run))
        if before is None:
            before = states.load(connection, run.run_id, policy)
        described, is_new = _described(connection, before.state, upload)
        check(upload.records, {layer_id: memory.info.units for layer_id, memory in described.layers.items()})
        with self._metrics.detector_seconds.time():
            state, readings, findings = onset.advance(described, upload.records, policy)
        due = is_new or upload.closing is not None or before.unsaved + 1 >= SAVE_EVERY
        if due:
            states.save(connection, run.run_id, upload.session, upload.seq, state, now)
        after = Folded(state, 0 if due else before.unsaved + 1)
        self._states.put(run.run_id, (upload.session, upload.seq, now), after)
        return readings, findings

    def _answer(
        self, connection: sa.Connection, run: sa.Row[Any], upload: Upload, *, duplicate: bool, told: Sequence[str]
    ) -> Taken:
        """Alerts of the run that are open, and those that this upload moved."""
        any_shown = told or run.has_open_alerts
        shown = alerts.current(connection, run.run_id, told, self._base_url) if any_shown else []
        accepted = 0 if duplicate else len(upload.records)
        return Taken(Accepted(accepted=accepted, duplicate=duplicate, every=None, alerts=shown), bool(told))


def _newly_dropped(run: sa.Row[Any], upload: Upload) -> dict[str, int]:
    """What was dropped since the session last said so: clients tell sums."""
    before = run.dropped.get(f"{upload.session}/{upload.rank}", {})
    return {reason: number - before.get(reason, 0) for reason, number in upload.dropped.items()}


def _described(
    connection: sa.Connection, state: detector.DetectorState, upload: Upload
) -> tuple[detector.DetectorState, bool]:
    """The state with the layers of the upload, and whether any was new to it.

    A layer that only a late upload or another rank described is looked up.
    """
    told = {layer.layer_id for layer in upload.layers}
    unknown = set(np.unique(upload.records.scalars["layer_id"]).tolist()) - {0, *told, *state.layers}
    if not told and not unknown:
        return state, False
    found = runs.load_layers(connection, upload.run.id) if unknown else []
    return detector.describe(state, [*(one for one in found if one.layer_id in unknown), *upload.layers]), True


def check(records: RecordTable, units: Mapping[int, int]) -> None:
    """Every record must belong to a described layer and fit its units, at one place in the series.

    ``records`` are in the order of a series. Raises UnknownLayer, WrongUnits, InvalidUpload.
    """
    layers, steps = records.scalars["layer_id"], records.scalars["step"]
    again = np.flatnonzero((np.diff(steps) == 0) & (np.diff(layers) == 0))
    if again.size:
        raise InvalidUpload(f"two records of layer {layers[again[0]]} at step {steps[again[0]]}")
    present, place = np.unique(layers, return_inverse=True)
    for layer_id in present.tolist():
        if layer_id and layer_id not in units:
            raise UnknownLayer(f"layer {layer_id} was never described")
    needed = np.array([units.get(layer_id, 0) for layer_id in present.tolist()], np.int64)[place]
    wrong = np.flatnonzero((records.present > 0) & (layers > 0) & (records.units != needed))
    if wrong.size:
        at = wrong[0]
        raise WrongUnits(f"layer {layers[at]} has {needed[at]} units, a record has {records.units[at]}")


def _update_run(
    connection: sa.Connection, run: sa.Row[Any], upload: Upload, now: datetime, *, folds: bool, written: units.Written
) -> None:
    """Progress and state of the run; a new session that folds makes a run that ended run again."""
    known = upload.records.scalars
    begins = folds and upload.session != run.folded_session
    step = _last_step(upload)
    values: dict[str, Any] = {"updated_at": now, **_note_session(connection, run, upload, now, folds=folds)}
    values |= _heard(run, upload, now, begins=begins) if folds else {}
    if step > (-1 if run.last_step is None else run.last_step):
        values["last_step"] = step
    if len(upload.records):
        values["loose_records"] = run.loose_records + int(np.unique(known["layer_id"], return_counts=True)[1].max())
        values["unit_rows"] = run.unit_rows + written.rows
        values["unit_bytes"] = run.unit_bytes + written.size
    if upload.dropped:
        values["dropped"] = {**run.dropped, f"{upload.session}/{upload.rank}": upload.dropped}
    if folds and upload.coverage is not None:
        values["coverage"] = upload.coverage.model_dump()
    runs.update(connection, run.run_id, values)


def _heard(run: sa.Row[Any], upload: Upload, now: datetime, *, begins: bool) -> dict[str, Any]:
    """What the run's latest sign of life says of its state and its rhythm."""
    values: dict[str, Any] = {"folded_session": upload.session, "folded_seq": upload.seq, "folded_at": now}
    if not begins and run.folded_at is not None:
        values["pause_s"] = stalls.learned(stalls.Pulse(run.folded_at, run.pause_s), now).pause_s
    if upload.closing is not None:
        return values | {"state": upload.closing, "finished_at": now}
    again = run.state == "stalled" or (run.state != "running" and begins)
    return values | ({"state": "running", "finished_at": None} if again else {})


def _last_step(upload: Upload) -> int:
    """The last step that an upload tells of; -1 where it tells of none."""
    return max([int(upload.records.scalars["step"].max(initial=-1)), *(number.step for number in upload.numbers)])


def _passage(run: sa.Row[Any], upload: Upload, *, folds: bool) -> Passage:
    """What the upload means to its run. One that does not fold comes from the past, and neither begins nor ends it."""
    resumes = folds and run.state in alerting.ENDED and upload.session != run.folded_session
    step = max(_last_step(upload), run.last_step or 0)
    return Passage(step, resumes=resumes, heard=folds, closing=upload.closing if folds else None)


def _note_session(
    connection: sa.Connection, run: sa.Row[Any], upload: Upload, now: datetime, *, folds: bool
) -> dict[str, Any]:
    """Keep where the session begins, where that is news; what of it the run's row must know."""
    first = int(upload.records.scalars["step"].min()) if len(upload.records) else None
    begins = upload.session != run.folded_session
    known = None if begins else run.session_step
    earlier = first is not None and (known is None or first < known)
    again = not begins and first is not None and run.last_step is not None and first <= run.last_step
    if begins or earlier or again or not folds:
        sessions.note(connection, upload, first, now, disordered=again or not folds)
    return {"session_step": first if earlier else known} if folds and (begins or earlier) else {}
