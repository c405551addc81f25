"""The use case of the hot road: one upload, one transaction: key, rows, detection, alerts. Nothing here is HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from relumine.views import Accepted
from relumine.wire import LayerInfo, Upload
from relumine_server import alerting
from relumine_server.detection import onset
from relumine_server.detection import state as detector
from relumine_server.detection.findings import Finding, Reading
from relumine_server.detection.policy import Policy
from relumine_server.errors import InvalidUpload, RunInOtherProject, UnknownLayer, WrongUnits
from relumine_server.storage import alerts, numbers, runs, segments, states
from relumine_server.storage.states import Folded

POLICY = Policy()


def ingest(connection: sa.Connection, upload: Upload, *, base_url: str, now: datetime) -> Accepted:
    """Store an upload and look for onset.

    Raises RunInOtherProject, UnknownLayer, WrongUnits, InvalidUpload; then nothing of it is kept.
    """
    run = runs.lock(connection, upload, now)
    if run.project != upload.run.project:
        raise RunInOtherProject
    before = states.load(connection, run.run_id)
    folds = upload.rank == 0 and (upload.session, upload.seq) > (before.session, before.seq)
    if not runs.claim(connection, upload, late=upload.rank == 0 and not folds, folded=folds, now=now):
        return _answer(connection, run.run_id, upload, duplicate=True, told=[], base_url=base_url)
    runs.save_layers(connection, run.run_id, upload.layers)
    _check(upload, runs.load_layers(connection, run.run_id))
    readings, findings = _fold(connection, upload, before, now) if folds else ([], [])
    segments.append(connection, upload, readings)
    numbers.append(connection, upload)
    runs.note_session(connection, upload, now)
    _update_run(connection, run, upload, now, begins=folds and upload.session != before.session)
    told = alerting.record(connection, run, findings, now)
    return _answer(connection, run.run_id, upload, duplicate=False, told=told, base_url=base_url)


def _check(upload: Upload, layers: Sequence[LayerInfo]) -> None:
    """Every record must belong to a described layer and fit its units, at one place in the series."""
    units = {layer.layer_id: layer.units for layer in layers}
    seen: set[tuple[int, int]] = set()
    for record in upload.records:
        place = (record.layer_id, record.step)
        if place in seen:
            raise InvalidUpload(f"two records of layer {record.layer_id} at step {record.step}")
        seen.add(place)
        if record.layer_id == 0:
            continue
        if record.layer_id not in units:
            raise UnknownLayer(f"layer {record.layer_id} was never described")
        size = next((values.size for values in record.arrays().values()), units[record.layer_id])
        if size != units[record.layer_id]:
            raise WrongUnits(f"layer {record.layer_id} has {units[record.layer_id]} units, a record has {size}")


def _fold(
    connection: sa.Connection, upload: Upload, before: Folded, now: datetime
) -> tuple[list[Reading], list[Finding]]:
    described = detector.describe(before.state, upload.layers)
    state, readings, findings = onset.advance(described, upload.records, POLICY)
    after = Folded(upload.session, upload.seq, state, states.latest(before.readings, readings))
    states.save(connection, upload.run.id, after, now)
    return readings, findings


def _update_run(connection: sa.Connection, run: sa.Row[Any], upload: Upload, now: datetime, *, begins: bool) -> None:
    """Progress and state of the run; a session that ``begins`` later makes a run that ended run again."""
    values: dict[str, Any] = {"updated_at": now}
    steps = [record.step for record in upload.records] + [number.step for number in upload.numbers]
    if steps:
        values["last_step"] = max(*steps, -1 if run.last_step is None else run.last_step)
    if upload.dropped:
        values["dropped"] = {**run.dropped, f"{upload.session}/{upload.rank}": upload.dropped}
    if upload.rank == 0 and upload.coverage is not None:
        values["coverage"] = upload.coverage.model_dump()
    if upload.rank == 0 and upload.closing is not None:
        values |= {"state": upload.closing, "finished_at": now}
    elif upload.rank == 0 and run.state != "running" and begins:
        values |= {"state": "running", "finished_at": None}
    runs.update(connection, run.run_id, values)


def _answer(
    connection: sa.Connection, run_id: str, upload: Upload, *, duplicate: bool, told: Sequence[str], base_url: str
) -> Accepted:
    """Alerts of the run that are open, and those that this upload moved."""
    known = alerts.of_run(connection, run_id, base_url)
    shown = [alert for alert in known if alert.state != "resolved" or alert.id in told]
    return Accepted(accepted=0 if duplicate else len(upload.records), duplicate=duplicate, every=None, alerts=shown)
