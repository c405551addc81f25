"""Encoded uploads changed after the fact: completed with descriptions, or cut into parts. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from relumine.schemas.packing import from_json, pack
from relumine.schemas.record_table import RecordTable

# Columns of which three decimals are enough: they travel as float16 where their range allows it.
HALF_PRECISION_COLUMNS = frozenset({"var", "max", "update_shift"})


# Sequence numbers leave gaps, so that an upload that turns out too large can be sent in parts, in order, later.
SEQ_STRIDE = 1024

# A record is divided into parts for as long as its units are a larger share of the body than this: what else there is
# goes with every part, and would only be repeated.
MIN_UNITS_SHARE = 0.25

# A smaller upload is not divided by units: what is refused at this size is refused at any.
MIN_DIVIDED_BYTES = 2**12

# In a part that is not the first: the number of the part before it. The server ignores it; who finds the part on disk
# and has to cut it again needs it.
PREVIOUS_SEQ = "previous_seq"


class UploadPart(NamedTuple):
    """A part of an upload: its body, what it counts for, and the number that its own is greater than.

    A record that is sent in parts counts with the last of them.
    """

    body: bytes
    sampled_steps: int
    records: int
    previous_seq: int


def encode_upload(payload: Mapping[str, Any], records: RecordTable) -> bytes:
    """Return the body of an upload: JSON without white space between its parts, and without a line feed.

    A part of a record keeps the precision of the record: its own range says nothing about the other parts.
    """
    packed = pack(records, () if "first_unit" in payload else HALF_PRECISION_COLUMNS)
    return json.dumps({**payload, "records": packed}, separators=(",", ":"), allow_nan=False).encode()


def count_sampled_steps(records: RecordTable) -> int:
    """Return the number of sampled steps in records: those that the run's own records stand for."""
    is_run = records.scalars["layer_id"] == 0
    return int(records.scalars["sampled_steps"][is_run].sum())


def previous_seq_of(payload: Mapping[str, Any]) -> int:
    """Return the number that the parts of an upload must be greater than."""
    own: int = payload["seq"]
    previous: int = payload.get(PREVIOUS_SEQ, (own - 1) // SEQ_STRIDE * SEQ_STRIDE)
    return previous


def steps_of(body: bytes) -> tuple[int | None, int]:
    """Return the last step of an upload's records, and the sampled steps that its largest record stands for."""
    records = from_json(json.loads(body)["records"])
    if not len(records):
        return None, 0
    return int(records.scalars["step"][-1]), int(records.scalars["sampled_steps"].max())


def with_descriptions(
    body: bytes, layers: Sequence[Mapping[str, Any]], coverage: Mapping[str, Any] | None
) -> bytes | None:
    """Return an upload that describes these layers too, under the same number; None if it did so already.

    What it describes itself remains: that may be newer.
    """
    payload = json.loads(body)
    described = {layer["layer_id"]: layer for layer in layers}
    own = {layer["layer_id"]: layer for layer in payload.get("layers") or []}
    if described.keys() <= own.keys():
        return None
    payload["layers"] = [layer for _, layer in sorted((described | own).items())]
    payload["coverage"] = payload.get("coverage") or coverage
    return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()


def is_smallest_part(body: bytes) -> bool:
    """Return True for a part of a record, which, where it is not split either, shows that no part is taken."""
    return json.loads(body).get("first_unit") is not None


def split_upload(body: bytes, previous_seq: int, *, divides_units: bool = True) -> list[UploadPart]:
    """Return two parts of an upload, numbered after ``previous_seq`` up to its own number.

    What makes it large goes apart from the rest, or in halves; a single record is divided by its units. The list is
    empty for a single layer, number or unit, and where no number is left in between. Without ``divides_units`` it is
    for a single record, too.
    """
    payload = json.loads(body)
    first_seq = (previous_seq + payload["seq"]) // 2
    records = from_json(payload["records"])
    parts = _divide(payload, records)
    if parts is None and divides_units and len(records) and len(body) > MIN_DIVIDED_BYTES:
        parts = _divide_units(payload, records)
    if parts is None or first_seq == previous_seq:
        return []
    first, second = parts
    first_payload = payload | first.fields | {"seq": first_seq, "final_status": None}
    second_payload = payload | second.fields | {PREVIOUS_SEQ: first_seq}
    return [
        _encoded(first_payload, first, previous_seq),
        _encoded(second_payload, second, first_seq),
    ]


class _Half(NamedTuple):
    """A half of an upload: what differs in its payload, and its records.

    ``is_completed_later``: its record is completed by the other half, and counts with that one.
    """

    fields: dict[str, Any]
    records: RecordTable
    is_completed_later: bool = False


def _encoded(payload: Mapping[str, Any], half: _Half, previous_seq: int) -> UploadPart:
    records = half.records
    count = 0 if half.is_completed_later else len(records)
    return UploadPart(encode_upload(payload, records), count_sampled_steps(records), count, previous_seq)


def _divide(payload: Mapping[str, Any], records: RecordTable) -> tuple[_Half, _Half] | None:
    """Return the two halves of an upload; None where it cannot be divided."""
    layers = payload.get("layers") or []
    metrics = payload.get("metrics") or []
    empty = records[:0]
    count = len(records)
    if layers and (count < 2 or _is_heavy(layers, payload)):
        has_more = bool(count or metrics)
        middle = len(layers) if has_more else len(layers) // 2
        rest = {"layers": layers[middle:], "coverage": None}
        if middle:
            return _Half({"layers": layers[:middle], "metrics": []}, empty), _Half(rest, records)
        return None
    if count >= 2:
        return _Half({"metrics": []}, records[: count // 2]), _Half({}, records[count // 2 :])
    if metrics and (count or len(metrics) >= 2):
        middle = 0 if count else len(metrics) // 2
        return _Half({"metrics": metrics[:middle]}, records), _Half({"metrics": metrics[middle:]}, empty)
    return None


def _divide_units(payload: Mapping[str, Any], records: RecordTable) -> tuple[_Half, _Half] | None:
    """Return the two halves of an upload of one record by its units; None where that would gain little."""
    units = int(records.units[0])
    size_of_units = len(json.dumps(payload["records"].get("units")))
    if units < 2 or size_of_units < MIN_UNITS_SHARE * len(json.dumps(payload)):
        return None
    middle = units // 2
    first_unit = payload.get("first_unit") or 0
    return (
        _Half({"first_unit": first_unit}, records.unit_range(0, middle), is_completed_later=True),
        _Half({"first_unit": first_unit + middle}, records.unit_range(middle, units)),
    )


def _is_heavy(layers: Sequence[Any], payload: Mapping[str, Any]) -> bool:
    """Return True if the descriptions are more than half of an upload."""
    return 2 * len(json.dumps(layers)) > len(json.dumps(payload))
