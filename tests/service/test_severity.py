"""An alert that was merely shown and becomes an alarm is as old as the alarm."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from relumine.wire import LayerInfo, Record, RunInfo, Upload
from relumine_server.ingest import Ingest
from relumine_server.storage import tables as t
from relumine_server.storage.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNITS, N = 64, 64


def uploads() -> list[Upload]:
    """A quarter of the units falls silent at look 20, most of the rest at look 40."""
    random, silent, made = np.random.default_rng(3), np.zeros(UNITS, int), []
    layers = [LayerInfo(layer_id=1, name="act1", units=UNITS)]
    for look in range(60):
        active = random.binomial(N, 0.3, UNITS)
        active[: 0 if look < 20 else 16 if look < 40 else 48] = 0
        silent = np.where(active > 0, 0, silent + N)
        columns = {"active": active.tolist(), "silent": silent.tolist()}
        records = [Record(layer_id=1, first_step=10 * look, step=10 * look, n_examples=N, n_positions=N, **columns)]
        made.append(Upload(run=RunInfo(id="r1"), session="s1", seq=look + 1, layers=layers, records=records))
    return [Upload.model_validate_json(one.model_dump_json(exclude_none=True)) for one in made]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_info_that_becomes_an_alarm_opens_anew(kind, new_database):
    store, ingest = Store.open(new_database(kind)), Ingest("http://x")
    shown = [store.write(lambda c, one=one: ingest.take(c, one, NOW)).accepted.alerts for one in uploads()]
    dying = [alert for alerts in shown for alert in alerts if alert.kind == "dying"]
    info, alarm = (next(a for a in dying if (a.severity == "info") == quiet) for quiet in (True, False))
    assert (info.state, info.opened_step < 400 <= alarm.opened_step) == ("firing", True)
    assert alarm.id == info.id
    assert {a.opened_step for a in dying if a.severity == "info"} == {info.opened_step}
    with store.read() as connection:
        row = connection.execute(sa.select(t.alerts).where(t.alerts.c.kind == "dying")).one()
    assert row.opened_step == alarm.opened_step
    store.close()
