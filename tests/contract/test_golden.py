"""Version 1 of the wire: an upload that was accepted once is always accepted, and means the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from relumine.schemas.packing import from_json, pack
from relumine.schemas.record import Column, Record
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import Upload

FOLDER = Path(__file__).parent / "golden"
GOLDEN = (FOLDER / "upload_v1.json").read_text()


@pytest.mark.parametrize("form", ["upload_v1", "upload_v1_packed"])
def test_the_golden_upload_still_means_what_it_meant(form):
    upload = Upload.model_validate_json((FOLDER / f"{form}.json").read_text())
    run, layer = upload.records
    arrays = layer.arrays()
    assert (upload.seq, upload.final_status, upload.dropped) == (1, "finished", {"buffer_full": 2})
    assert run.learning_rates == (0.1, 0.01)
    assert (layer.first_step, layer.step, layer.since_step, layer.weight_norm, layer.loss) == (3, 5, 1, 2.5, None)
    assert arrays["active"].tolist() == [0, 30, 255]
    assert arrays["longest_silence"].tolist() == [0, 70000, 3]
    assert arrays["mean"].tolist() == [-1.5, 0.25, 3.0]
    assert arrays["var"].dtype == np.float16
    assert arrays["shift_bias"].tolist() == [0.0, 0.0, 0.1]


def test_unknown_fields_of_a_newer_sdk_are_ignored():
    body = json.loads(GOLDEN)
    body["future"] = body["run"]["future"] = body["records"][0]["future"] = {"a": [1]}
    assert Upload.model_validate_json(json.dumps(body)).seq == 1


def test_a_column_may_be_a_plain_list():
    record = Record.model_validate_json('{"layer_id": 1, "first_step": 1, "step": 1, "active": [1, 2, 3]}')
    assert record.arrays()["active"].tolist() == [1, 2, 3]


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), max_size=50), st.sampled_from(["<f4", "<f8"]))
def test_columns_round_trip_exactly(values, dtype):
    record = Record(
        layer_id=1, first_step=1, step=1, active=[0] * len(values), mean=Column.pack(np.array(values, dtype))
    )
    decoded = Record.model_validate_json(record.model_dump_json(exclude_none=True))
    assert decoded.arrays()["mean"].tolist() == np.array(values, dtype).tolist()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
def test_the_six_dtypes_are_little_endian(dtype):
    column = Column.pack(np.array([1, 2], dtype))
    assert column.array().astype(int).tolist() == [1, 2]
    assert column.data == np.array([1, 2]).astype(np.dtype(dtype).newbyteorder("<")).tobytes()


def packed_body(**changes):
    body = json.loads((FOLDER / "upload_v1_packed.json").read_text())
    body["records"] |= changes
    return json.dumps(body)


def column(*values, dtype="f8"):
    return Column.pack(np.array(values, dtype)).model_dump(mode="json")


SCALARS = json.loads((FOLDER / "upload_v1_packed.json").read_text())["records"]["scalars"]


@pytest.mark.parametrize(
    "changes",
    [
        {"scalars": {}},
        {"scalars": SCALARS | {"step": column(5)}},
        {"scalars": SCALARS | {"step": column(5, np.nan)}},
        {"scalars": SCALARS | {"step": column(5, 4.5)}},
        {"scalars": SCALARS | {"step": column(5, 2)}},
        {"scalars": SCALARS | {"n_examples": column(0, 2.0**60)}},
        {"scalars": SCALARS | {"loss": column(np.inf, 0)}},
        {"scalars": {k: v for k, v in SCALARS.items() if k != "layer_id"}},
        {"scalars": {name: column(*[1] * 10_001, dtype="u2") for name in ("layer_id", "first_step", "step")}},
        {"unit_counts": column(0, 4)},
        {"unit_counts": column(0, -3)},
        {"unit_counts": column(0, 2e6)},
        {"unit_columns": column(0, 1)},
        {"units": {"active": [column(1, 2, 3, dtype="u1")]}},
        {"units": {"active": []}},
        {"rate_counts": column(3, 0)},
        {"rates": column(np.nan, 1)},
        {"rate_counts": column(2000, 0)},
    ],
)
def test_packed_records_that_contradict_themselves_are_refused(changes):
    with pytest.raises(ValidationError):
        Upload.model_validate_json(packed_body(**changes))


@given(st.data())
def test_packing_keeps_every_number_and_the_order_of_a_series(data):
    layers = data.draw(
        st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9), st.booleans()), max_size=12, unique=True)
    )
    records = [
        Record(
            layer_id=layer, first_step=step, step=step, n_examples=7, learning_rates=[0.1, step / 7], weight_norm=1 / 3,
            active=data.draw(st.lists(st.integers(0, 2**20), min_size=layer, max_size=layer)),
            **({"bias": Column.pack(np.linspace(0, 1, layer, dtype=np.float16))} if biased else {}),
        )
        for layer, step, biased in layers
    ]  # fmt: skip
    decoded = from_json(json.loads(json.dumps(pack(RecordTable.from_records(records)))))
    for row, sent in zip(decoded, sorted(records, key=lambda r: (r.step, r.layer_id)), strict=True):
        assert (row.layer_id, row.step, row.weight_norm, row.learning_rates) == (
            sent.layer_id, sent.step, 1 / 3, (0.1, sent.step / 7),
        )  # fmt: skip
        assert {n: v.tolist() for n, v in row.arrays().items()} == {n: v.tolist() for n, v in sent.arrays().items()}


def test_rounding_to_float16_does_not_depend_on_the_other_records():
    def packed(*steps):
        values = {1: [0.1, 0.2], 2: [0.3, 1e-7]}  # the second is too small for float16
        columns = {s: Column.pack(np.array(values[s], np.float32)) for s in steps}
        records = [Record(layer_id=1, first_step=s, step=s, active=[1, 1], max=columns[s]) for s in steps]
        rows = from_json(json.loads(json.dumps(pack(RecordTable.from_records(records), {"max"}))))
        return [row.arrays()["max"].tolist() for row in rows]

    assert packed(1, 2) == [*packed(1), *packed(2)]
    assert packed(1) == [np.array([0.1, 0.2], np.float16).tolist()]
