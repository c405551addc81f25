"""Version 1 of the wire: what was accepted once is accepted for ever, and means the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relumine.wire import Column, Record, Upload

GOLDEN = (Path(__file__).parent / "golden/upload_v1.json").read_text()


def test_the_golden_upload_still_means_what_it_meant():
    upload = Upload.model_validate_json(GOLDEN)
    run, layer = upload.records
    arrays = layer.arrays()
    assert (upload.seq, upload.closing, upload.dropped) == (1, "finished", {"buffer_full": 2})
    assert run.learning_rates == [0.1, 0.01]
    assert arrays["active"].tolist() == [0, 30, 255]
    assert arrays["longest_silence"].tolist() == [0, 70000, 3]
    assert arrays["mean"].tolist() == [-1.5, 0.25, 3.0]
    assert arrays["var"].dtype == np.float16
    assert arrays["shift_bias"].tolist() == [0.0, 0.0, 0.1]


def test_a_newer_sdk_may_say_more():
    body = json.loads(GOLDEN)
    body["future"] = body["run"]["future"] = body["records"][0]["future"] = {"a": [1]}
    assert Upload.model_validate_json(json.dumps(body)).seq == 1


def test_a_column_may_be_a_plain_list():
    plain = Record.model_validate_json('{"layer_id": 1, "first_step": 1, "step": 1, "active": [1, 2, 3]}')
    assert plain.arrays()["active"].tolist() == [1, 2, 3]


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), max_size=50), st.sampled_from(["<f4", "<f8"]))
def test_columns_round_trip_exactly(values, dtype):
    record = Record(
        layer_id=1, first_step=1, step=1, active=[0] * len(values), mean=Column.pack(np.array(values, dtype))
    )
    back = Record.model_validate_json(record.model_dump_json(exclude_none=True))
    assert back.arrays()["mean"].tolist() == np.array(values, dtype).tolist()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
def test_the_six_dtypes_are_little_endian(dtype):
    column = Column.pack(np.array([1, 2], dtype))
    assert column.array().astype(int).tolist() == [1, 2]
    assert column.data == np.array([1, 2]).astype(np.dtype(dtype).newbyteorder("<")).tobytes()
