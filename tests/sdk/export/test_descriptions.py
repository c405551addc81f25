"""Descriptions of layers are repeated until an upload that really carries them is acknowledged."""

from __future__ import annotations

import json

import pytest

from relumine._capture.step_stats import LoggedScalar
from relumine._export import upload_builder
from relumine._export.upload_builder import UploadBuilder, UploadSource
from relumine._runtime.overhead import Overhead
from relumine.schemas.packing import pack
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import Coverage, LayerInfo, RunInfo

FIRST = LayerInfo(layer_id=1, name="act1", units=4)
SECOND = LayerInfo(layer_id=2, name="act2", units=8)


@pytest.fixture
def builder():
    return UploadBuilder(UploadSource(RunInfo(id="r"), "session", world_size=1), Overhead())


def build(builder):
    """Build the upload of one metric; return it, and the layers and the coverage in its body."""
    (upload,) = builder.build([LoggedScalar(1, "loss", 0.5)], {}, final_status=None, force=True)
    body = json.loads(upload.body)
    return upload, [layer["layer_id"] for layer in body["layers"]], body["coverage"]


def test_a_description_is_repeated_until_it_is_acknowledged(builder):
    builder.describe([FIRST], Coverage(watched=1))
    assert build(builder)[1:] == ([1], Coverage(watched=1).model_dump())
    upload, layers, _ = build(builder)
    assert layers == [1]
    builder.acknowledge(upload)
    assert build(builder)[1:] == ([], None)


def test_a_layer_described_while_an_upload_is_encoded_is_sent_with_a_later_one(builder, monkeypatch):
    """The training thread may see a layer for the first time during the milliseconds that encoding takes."""
    builder.describe([FIRST], Coverage(watched=1))
    encode = upload_builder.encode_upload

    def describe_and_encode(*args):
        builder.describe([FIRST, SECOND], Coverage(watched=2))
        return encode(*args)

    monkeypatch.setattr(upload_builder, "encode_upload", describe_and_encode)
    upload, layers, coverage = build(builder)
    monkeypatch.undo()
    assert (layers, coverage["watched"]) == ([1], 1)
    builder.acknowledge(upload)
    _, layers, coverage = build(builder)
    assert (layers, coverage["watched"]) == ([2], 2)


def test_a_description_that_changed_while_its_upload_was_in_flight_is_sent_again(builder):
    builder.describe([FIRST], Coverage(watched=1))
    upload, _, _ = build(builder)
    changed = FIRST.model_copy(update={"missing": ["the producer"]})
    builder.describe([changed], Coverage(watched=1))
    builder.acknowledge(upload)
    assert build(builder)[1] == [1]


def test_halves_of_an_upload_carry_its_descriptions_and_acknowledge_no_others(builder):
    builder.describe([FIRST], Coverage(watched=1))
    upload, _, _ = build(builder)
    records = [{"layer_id": 0, "first_step": step, "step": step, "n_examples": 1} for step in (1, 2)]
    packed = pack(RecordTable.from_values(records, [{}, {}]))
    body = json.dumps(json.loads(upload.body) | {"records": packed}).encode()
    builder.describe([FIRST, SECOND], Coverage(watched=2))
    halves = builder.split(upload._replace(body=body))
    assert [[layer["layer_id"] for layer in json.loads(half.body)["layers"]] for half in halves] == [[1], [1]]
    for half in halves:
        builder.acknowledge(half)
    assert build(builder)[1] == [2]
