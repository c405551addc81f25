"""An alert of severity ``info`` is only displayed; when it becomes an alarm it is as old as the alarm."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import sqlalchemy as sa

from relumine.schemas.record import Record
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server.db import tables
from relumine_server.ingest.quotas import Quotas
from relumine_server.ingest.service import IngestService
from relumine_server.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNITS, N = 64, 64


def uploads() -> list[Upload]:
    """Return uploads in which a quarter of the units falls silent at record 20, most of the rest at record 40."""
    random = np.random.default_rng(3)
    silent = np.zeros(UNITS, int)
    layers = [LayerInfo(layer_id=1, name="act1", units=UNITS)]
    uploads = []
    for number in range(60):
        active = random.binomial(N, 0.3, UNITS)
        active[: silent_units(number)] = 0
        silent = np.where(active > 0, 0, silent + N)
        record = Record(
            layer_id=1,
            first_step=10 * number,
            step=10 * number,
            n_examples=N,
            n_positions=N,
            active=active.tolist(),
            silent=silent.tolist(),
        )
        upload = Upload(run=RunInfo(id="r1"), session="s1", seq=number + 1, layers=layers, records=[record])
        uploads.append(Upload.model_validate_json(upload.model_dump_json(exclude_none=True)))
    return uploads


def silent_units(number: int) -> int:
    if number < 20:
        return 0
    return 16 if number < 40 else 48


def test_an_info_that_becomes_an_alarm_counts_as_opened_then(database):
    ingest = IngestService("http://x", quotas=Quotas(Settings()))
    dying = []
    for upload in uploads():
        result = database.write(lambda connection, upload=upload: ingest.ingest(connection, upload, NOW))
        dying += [alert for alert in result.response.alerts if alert.kind == "dying"]
    info = next(alert for alert in dying if alert.severity == "info")
    alarm = next(alert for alert in dying if alert.severity != "info")
    assert (info.state, info.opened_step < 400 <= alarm.opened_step) == ("firing", True)
    assert alarm.id == info.id
    assert {alert.opened_step for alert in dying if alert.severity == "info"} == {info.opened_step}
    with database.read() as connection:
        row = connection.execute(sa.select(tables.alerts)).one()
    assert (row.kind, row.opened_step) == ("dead", alarm.opened_step)
    assert row.dead_step > row.opened_step
