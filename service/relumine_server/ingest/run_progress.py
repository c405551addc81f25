"""Progress of a run by an upload: new values of its row, news of its session, and the effect on its alerts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from relumine.schemas.limits import MAX_STEP
from relumine.schemas.upload import Upload
from relumine.schemas.watching import Watching
from relumine_server.alerts import stall_detection
from relumine_server.alerts.lifecycle import ENDED_RUN_STATUSES
from relumine_server.alerts.service import UploadEffect
from relumine_server.alerts.stall_detection import Heartbeat
from relumine_server.runs import health, layer_pace, session_order
from relumine_server.runs.health import Evidence
from relumine_server.runs.rows import LockedRun
from relumine_server.runs.session_order import RunSession
from relumine_server.timeseries.sessions import SessionNote
from relumine_server.timeseries.unit_stats import RowsWritten

MIN_RATE_S = 1.0
"""Seconds of uploads that a rate of steps needs."""
MAX_REASONS = 32
OTHER_REASONS = "other reasons"
UNWATCHED_SESSION = "session"
"""The key, beside what ``Watching`` has, of an older session that is unwatched while a newer one uploads."""


class Arrival(NamedTuple):
    """The arrival of an upload.

    ``session`` is its session among those of the run. ``is_analyzed``: the detector processes it. ``is_replayed``: it
    comes from a disk, after its training. ``dropped_before`` counts what its process had dropped until its previous
    upload, by reason. ``has_run_records``: the session has records of the run itself, which count its sampled steps.
    """

    session: RunSession
    is_analyzed: bool
    is_replayed: bool = False
    dropped_before: Mapping[str, int] = {}
    has_run_records: bool = False

    @property
    def is_latest(self) -> bool:
        """True if it is the newest upload of its run."""
        return self.is_analyzed and self.session.is_newest

    @property
    def is_from_other_training(self) -> bool:
        """True if a training uploads that goes on although another one has begun in the same run."""
        return self.is_analyzed and not self.session.is_newest and not self.is_replayed


class RunProgress(NamedTuple):
    """The changes that an upload makes to its run.

    ``row_values`` are columns of the run. ``session_note`` is None where the row of the session needs no change.
    ``newly_dropped`` counts by reason what the client dropped since its previous upload.
    """

    row_values: dict[str, Any]
    session_note: SessionNote | None
    effect: UploadEffect
    newly_dropped: dict[str, int]


def progress(run: LockedRun, upload: Upload, arrival: Arrival, written: RowsWritten, now: datetime) -> RunProgress:
    """Return the changes to ``run``, as it was before the upload; ``upload.session`` is the key of its session.

    ``written`` are the rows of per-unit statistics of the upload. One that came late, or from another rank, neither
    begins a session nor ends the run.
    """
    newly_dropped = _newly_dropped(upload, arrival.dropped_before)
    last_step = _last_step(upload)
    values = {"updated_at": now, **_stored_values(run, upload, written, last_step)}
    if any(newly_dropped.values()):
        values["dropped"] = _added(run.dropped, newly_dropped)
    values |= _values_by_arrival(run, upload, arrival, now)
    if arrival.is_analyzed:
        values |= _sampled_values(run, upload, arrival)
    values |= health.columns(run.problems, _evidence(run, values))
    effect = UploadEffect(
        step=max(last_step, run.last_step or 0),
        resumes=_resumes(run, upload, arrival),
        is_latest=arrival.is_latest,
        final_status=upload.final_status if "finished_at" in values else None,
        watching=_changed_watching(run, values.get("watching")),
    )
    return RunProgress(values, _session_note(run, upload, arrival), effect, newly_dropped)


def _evidence(run: LockedRun, values: Mapping[str, Any]) -> Evidence:
    """Return what the health of a run rests on, once ``values`` are stored."""
    return Evidence(**{name: values.get(name, getattr(run, name)) for name in Evidence._fields})


def _sampled_values(run: LockedRun, upload: Upload, arrival: Arrival) -> dict[str, Any]:
    """Return the columns of what an analyzed upload adds: its sampled steps, and the loss where it has one.

    Only a client that sends no records of the run itself has its steps counted by those of layers: other uploads
    without one hold the rest of a step that came in parts.
    """
    scalars = upload.records.scalars
    is_run = scalars["layer_id"] == 0
    has_run_records = arrival.has_run_records or is_run.any()
    sampled = scalars["sampled_steps"][is_run].sum() if has_run_records else np.unique(scalars["step"]).size
    values: dict[str, Any] = {"sampled_steps": min(run.sampled_steps + int(sampled), MAX_STEP)}
    losses = scalars["loss"][is_run]
    measured = losses[~np.isnan(losses)].tolist()
    measured += [metric.value for metric in upload.metrics if metric.name == "loss"]
    if measured:
        values["final_loss"] = measured[-1]
    return values


def _values_by_arrival(run: LockedRun, upload: Upload, arrival: Arrival, now: datetime) -> dict[str, Any]:
    """Return the columns that depend on whether the upload is the newest of the run."""
    if arrival.is_from_other_training:
        return _values_of_other_training(run, upload, now)
    if not arrival.is_latest:
        return {}
    begins_session = upload.session != run.detector_session
    values = _heartbeat_values(run, upload, now, begins_session=begins_session)
    values |= _status_values(run, upload, now, begins_session=begins_session)
    if begins_session or _is_earliest(run, upload):
        values["session_first_step"] = _first_step(upload)
    values |= _rate_values(run, upload, arrival, now)
    return values | layer_pace.values(run.layer_pace, upload)


def _rate_values(run: LockedRun, upload: Upload, arrival: Arrival, now: datetime) -> dict[str, Any]:
    """Return the columns of the rate of steps: since the first upload of the newest session, by the server's clock.

    They are null where steps do not arrive as they are made.
    """
    if upload.session != run.detector_session or (run.rate_at is None and run.session_first_step is None):
        if arrival.is_replayed or not len(upload.records):
            return {"rate_step": None, "rate_at": None, "steps_per_s": None}
        return {"rate_step": _last_step(upload), "rate_at": now, "steps_per_s": None}
    if run.rate_step is None or run.rate_at is None:
        return {}
    elapsed_s = (now - run.rate_at).total_seconds()
    steps = _last_step(upload) - run.rate_step
    return {"steps_per_s": steps / elapsed_s} if steps > 0 and elapsed_s >= MIN_RATE_S else {}


def _session_note(run: LockedRun, upload: Upload, arrival: Arrival) -> SessionNote | None:
    """Return the news of the upload's session; None where its row needs no change."""
    begins_session = upload.session != run.detector_session
    repeats_steps = not begins_session and _is_at_or_before(_first_step(upload), run.last_step)
    out_of_order = repeats_steps or not arrival.is_latest
    if not (begins_session or _is_earliest(run, upload) or out_of_order):
        return None
    return SessionNote(_first_step(upload), out_of_order, session_order.client_session(upload.session))


def _is_earliest(run: LockedRun, upload: Upload) -> bool:
    """Return whether the upload has the earliest step of its session."""
    first_step = _first_step(upload)
    if first_step is None:
        return False
    is_other_session = upload.session != run.detector_session
    return is_other_session or run.session_first_step is None or first_step < run.session_first_step


def _first_step(upload: Upload) -> int | None:
    return int(upload.records.scalars["step"].min()) if len(upload.records) else None


def _resumes(run: LockedRun, upload: Upload, arrival: Arrival) -> bool:
    """Return whether the upload lets a run go on that had ended."""
    if run.status not in ENDED_RUN_STATUSES:
        return False
    if arrival.is_from_other_training:
        return upload.final_status is None
    return arrival.is_latest and arrival.session.is_new


def _stored_values(run: LockedRun, upload: Upload, written: RowsWritten, last_step: int) -> dict[str, Any]:
    """Return the columns that summarize what is stored of the run."""
    values: dict[str, Any] = {}
    if last_step > (-1 if run.last_step is None else run.last_step):
        values["last_step"] = last_step
    if len(upload.records):
        records_per_layer = Counter(upload.records.scalars["layer_id"].tolist())
        values["uncompacted_records"] = run.uncompacted_records + max(records_per_layer.values())
        values["unit_stat_rows"] = run.unit_stat_rows + written.rows
        values["unit_stat_bytes"] = run.unit_stat_bytes + written.size_bytes
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
    if upload.watching is not None and (begins_session or not _is_unwatched_elsewhere(run, upload)):
        values["watching"] = upload.watching.model_dump()
    return values


def _status_values(run: LockedRun, upload: Upload, now: datetime, *, begins_session: bool) -> dict[str, Any]:
    """Return the columns of a new status: any upload revives a stalled run, a new session also one that ended."""
    if upload.final_status is not None:
        return {"status": upload.final_status, "finished_at": now}
    if run.status == "stalled" or (run.status != "running" and begins_session):
        return {"status": "running", "finished_at": None}
    return {}


def _values_of_other_training(run: LockedRun, upload: Upload, now: datetime) -> dict[str, Any]:
    """Return the columns that change while a second training uploads in the run.

    The run goes on until the last of them has ended. ``finished_at`` of a running run is the time at which the newer
    training ended. The run is unwatched while either of them is.
    """
    values: dict[str, Any] = {}
    if upload.watching is not None and upload.watching.reason is not None:
        values["watching"] = upload.watching.model_dump() | {UNWATCHED_SESSION: upload.session}
    elif upload.watching is not None and _unwatched_session(run) == upload.session:
        values["watching"] = upload.watching.model_dump()
    if upload.final_status is None:
        values["is_shared"] = True
        if run.status in ENDED_RUN_STATUSES:
            values["status"] = "running"
    elif run.finished_at is not None:
        values |= {"status": upload.final_status, "finished_at": now}
    return values


def _unwatched_session(run: LockedRun) -> str | None:
    """Return the older session of a run that reported last that it is not being watched; None if there is none."""
    return None if run.watching is None else run.watching.get(UNWATCHED_SESSION)


def _is_unwatched_elsewhere(run: LockedRun, upload: Upload) -> bool:
    return _unwatched_session(run) not in (None, upload.session)


def _changed_watching(run: LockedRun, stored: Mapping[str, Any] | None) -> Watching | None:
    """Return whether the training is being watched, where what is to be stored says something new about it."""
    if stored is None:
        return None
    watching = Watching.model_validate(stored)
    reported = health.reported_watching(run.watching)
    return None if reported is not None and watching.reason == reported.reason else watching


def _last_step(upload: Upload) -> int:
    """Return the last step of the records of an upload; -1 without any.

    Logged metrics do not count: they may be numbered by samples or epochs, and a reader asks for records after it.
    """
    return int(upload.records.scalars["step"].max(initial=-1))


def _is_at_or_before(step: int | None, other: int | None) -> bool:
    return step is not None and other is not None and step <= other


def _newly_dropped(upload: Upload, dropped_before: Mapping[str, int]) -> dict[str, int]:
    """Return what the client dropped since its previous upload: clients send totals."""
    return {reason: max(count - dropped_before.get(reason, 0), 0) for reason, count in upload.dropped.items()}


def _added(total: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, int]:
    """Return the sums by reason. Reasons beyond ``MAX_REASONS`` count as one: every list of runs holds them."""
    sums = dict(total)
    for reason, count in counts.items():
        key = reason if reason in sums or len(sums) < MAX_REASONS else OTHER_REASONS
        sums[key] = min(sums.get(key, 0) + count, MAX_STEP)
    return sums
