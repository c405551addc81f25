"""Whether the records of layers of a client have stopped, decided without a database."""

from __future__ import annotations

import pytest

from relumine.schemas.record import Record
from relumine.schemas.upload import LoggedMetric, RunInfo, Upload
from relumine_server.runs import layer_pace
from relumine_server.runs.layer_pace import MAX_PACES, MIN_SINGLE, LayerPace


def record(step, **columns):
    return Record(first_step=step, step=step, n_examples=8, **columns)


def of_records(records, **fields):
    return Upload(run=RunInfo(id="r1"), session="s1", seq=1, records=records, **fields)


def upload(*steps, **fields):
    return of_records([record(step, layer_id=0) for step in steps], **fields)


def after(pace, *uploads):
    for upload in uploads:
        pace = layer_pace.pace_after(pace, upload)
    return pace


def of_layer(*steps):
    return of_records([record(step, layer_id=1, active=[4, 4]) for step in steps])


METRIC = upload(metrics=[LoggedMetric(step=7, name="loss", value=1.0)])


@pytest.mark.parametrize("sign", [METRIC, upload(), upload(300)])
def test_a_client_that_goes_on_without_layers_has_stopped(sign):
    pace = after(LayerPace(), of_layer(40), *[sign] * MIN_SINGLE)
    assert (pace.last_layer_step, pace.has_stopped) == (40, False)
    assert after(pace, sign).has_stopped


def test_sampled_steps_of_one_upload_count_each():
    pace = after(LayerPace(), of_layer(40), upload(*range(41, 41 + MIN_SINGLE + 1)))
    assert pace.has_stopped


def test_run_records_after_the_last_layer_of_the_same_upload_count():
    run_records = [record(step, layer_id=0) for step in range(1, 100)]
    mixed = of_records([*run_records, record(50, layer_id=1, active=[4, 4])])
    assert after(LayerPace(), mixed) == LayerPace(50, since_layer=49, longest_without_layer=0)


def test_a_client_that_records_layers_seldom_is_judged_by_its_own_pace():
    each_hundredth = [*[METRIC] * 99, of_layer(100)]
    pace = after(LayerPace(), of_layer(1), *each_hundredth)
    assert not after(pace, *[METRIC] * 99 * MAX_PACES).has_stopped
    assert after(pace, *[METRIC] * (99 * MAX_PACES + 1)).has_stopped
    assert not after(pace, *[METRIC] * 1_000, of_layer(200)).has_stopped


def test_one_long_stop_is_forgotten():
    stopped = after(LayerPace(), of_layer(1), *[METRIC] * 5_000, of_layer(2))
    assert stopped.longest_without_layer == 5_000
    healthy_again = after(stopped, *[of_layer(step) for step in range(3, 303)])
    assert healthy_again.longest_without_layer < 2 * layer_pace.FORGETTING


def test_the_end_of_a_run_and_the_parts_of_a_record_are_no_training_without_layers():
    pace = after(LayerPace(), of_layer(1))
    assert after(pace, upload(final_status="finished")) == pace
    part = upload().model_copy(update={"first_unit": 0})
    assert after(pace, part) == pace


def test_a_resumed_run_is_judged_by_what_it_records_not_by_its_steps():
    pace = after(LayerPace(), of_layer(10_000), of_layer(10), upload(20))
    assert pace == LayerPace(10, since_layer=1, longest_without_layer=0)
