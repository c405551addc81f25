"""Progress of a run by an upload: new values of its row, news of its session, and the effect on its alerts. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from relumine.schemas.upload import Upload
from relumine.schemas.watching import Watching
from relumine_server.alerts import stall_detection
from relumine_server.alerts.lifecycle import ENDED_RUN_STATUSES
from relumine_server.alerts.service import UploadEffect
from relumine_server.alerts.stall_detection import Heartbeat
from relumine_server.runs.rows import LockedRun
from relumine_server.timeseries.sessions import SessionNote
from relumine_server.timeseries.unit_stats import RowsWritten


class RunProgress(NamedTuple):
    """The changes that an upload makes to its run.

    ``row_values`` are columns of the run. ``session_note`` is None where the row of the session needs no change.
    ``newly_dropped`` counts by reason what the client dropped since its previous upload.
    """

    row_values: dict[str, Any]
    session_note: SessionNote | None
    effect: UploadEffect
    newly_dropped: dict[str, int]


def progress(run: LockedRun, upload: Upload, written: RowsWritten, now: datetime, *, is_latest: bool) -> RunProgress:
    """Return the changes to ``run``, as it was before the upload.

    ``written`` are the rows of per-unit statistics of the upload. ``is_latest``: the detector has processed it as the
    newest of the run. One that came late, or from another rank, neither begins a session nor ends the run.
    """
    begins_session = upload.session != run.detector_session
    first_step = int(upload.records.scalars["step"].min()) if len(upload.records) else None
    last_step = _last_step(upload)
    is_earliest = first_step is not None and (
        begins_session or run.session_first_step is None or first_step < run.session_first_step
    )
    repeats_steps = not begins_session and _is_at_or_before(first_step, run.last_step)
    out_of_order = repeats_steps or not is_latest
    values = {"updated_at": now, **_stored_values(run, upload, written, last_step)}
    if is_latest:
        values |= _heartbeat_values(run, upload, now, begins_session=begins_session)
        values |= _status_values(run, upload, now, begins_session=begins_session)
        if begins_session or is_earliest:
            values["session_first_step"] = first_step
    needs_note = begins_session or is_earliest or out_of_order
    effect = UploadEffect(
        step=max(last_step, run.last_step or 0),
        resumes=is_latest and begins_session and run.status in ENDED_RUN_STATUSES,
        is_latest=is_latest,
        final_status=upload.final_status if is_latest else None,
        watching=_changed_watching(run, upload) if is_latest else None,
    )
    note = SessionNote(first_step, out_of_order) if needs_note else None
    return RunProgress(values, note, effect, _newly_dropped(run, upload))


def _stored_values(run: LockedRun, upload: Upload, written: RowsWritten, last_step: int) -> dict[str, Any]:
    """Return the columns that summarize what is stored of the run."""
    values: dict[str, Any] = {}
    if last_step > (-1 if run.last_step is None else run.last_step):
        values["last_step"] = last_step
    if len(upload.records):
        _, records_per_layer = np.unique(upload.records.scalars["layer_id"], return_counts=True)
        values["uncompacted_records"] = run.uncompacted_records + int(records_per_layer.max())
        values["unit_stat_rows"] = run.unit_stat_rows + written.rows
        values["unit_stat_bytes"] = run.unit_stat_bytes + written.size_bytes
    if upload.dropped:
        values["dropped"] = {**run.dropped, _process(upload): upload.dropped}
    return values


def _heartbeat_values(run: LockedRun, upload: Upload, now: datetime, *, begins_session: bool) -> dict[str, Any]:
    """Return the columns that describe the latest upload, and the rhythm of uploads."""
    values: dict[str, Any] = {
        "detector_session": upload.session,
        "detector_seq": upload.seq,
        "last_heartbeat_at": now,
    }
    if not begins_session and run.last_heartbeat_at is not None:
        previous = Heartbeat(run.last_heartbeat_at, run.longest_gap_s)
        values["longest_gap_s"] = stall_detection.updated(previous, now).longest_gap_s
    if upload.coverage is not None:
        values["coverage"] = upload.coverage.model_dump()
    if upload.watching is not None:
        values["watching"] = upload.watching.model_dump()
    return values


def _status_values(run: LockedRun, upload: Upload, now: datetime, *, begins_session: bool) -> dict[str, Any]:
    """Return the columns of a new status: any upload revives a stalled run, a new session also one that ended."""
    if upload.final_status is not None:
        return {"status": upload.final_status, "finished_at": now}
    if run.status == "stalled" or (run.status != "running" and begins_session):
        return {"status": "running", "finished_at": None}
    return {}


def _changed_watching(run: LockedRun, upload: Upload) -> Watching | None:
    """Return whether the training is being watched, where the upload says something new about it."""
    reason = None if run.watching is None else run.watching["reason"]
    if upload.watching is None or upload.watching.reason == reason:
        return None
    return upload.watching


def _last_step(upload: Upload) -> int:
    """Return the last step of the records and metrics of an upload; -1 without any."""
    last_step = int(upload.records.scalars["step"].max(initial=-1))
    return max([last_step, *(metric.step for metric in upload.metrics)])


def _is_at_or_before(step: int | None, other: int | None) -> bool:
    return step is not None and other is not None and step <= other


def _newly_dropped(run: LockedRun, upload: Upload) -> dict[str, int]:
    """Return what the client dropped since its previous upload: clients send totals."""
    previous = run.dropped.get(_process(upload), {})
    return {reason: count - previous.get(reason, 0) for reason, count in upload.dropped.items()}


def _process(upload: Upload) -> str:
    """Return the key of the uploading process in ``LockedRun.dropped``."""
    return f"{upload.session}/{upload.rank}"
