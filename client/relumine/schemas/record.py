"""Records on the wire: one by one for people, or as a packed table; both validate into a ``RecordTable``."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias, cast

import numpy as np
from pydantic import Field, GetCoreSchemaHandler, PlainSerializer, PrivateAttr, model_validator
from pydantic_core import CoreSchema, core_schema

from relumine.schemas import packing
from relumine.schemas.base import Count, Finite, Step, WireModel
from relumine.schemas.limits import MAX_STEP
from relumine.schemas.record_table import SCALARS, UNIT_COLUMNS, Array, RecordTable

MAX_RECORDS = 10_000

MAX_UNITS = 1_000_000

_DTYPES: Mapping[str, str] = {"u1": "u1", "u2": "<u2", "u4": "<u4", "f2": "<f2", "f4": "<f4", "f8": "<f8"}

Dtype: TypeAlias = Literal["u1", "u2", "u4", "f2", "f4", "f8"]


class Column(WireModel):
    """A packed column: little-endian numbers of one dtype, in base64."""

    dtype: Dtype
    data: Annotated[bytes, PlainSerializer(lambda raw: base64.b64encode(raw).decode(), when_used="json")]

    @classmethod
    def pack(cls, values: Array) -> Column:
        """Pack a one-dimensional array whose dtype is one of the six of the wire."""
        dtype = cast("Dtype", values.dtype.kind + str(values.dtype.itemsize))
        return cls.model_construct(dtype=dtype, data=values.astype(_DTYPES[dtype], copy=False).tobytes())

    def array(self) -> Array:
        """Return the numbers as an array, shape (n,). Raises ValueError where the last number is cut off."""
        return np.frombuffer(self.data, dtype=_DTYPES[self.dtype])


UnitColumn: TypeAlias = Column | Annotated[list[Finite], Field(max_length=MAX_UNITS)]


class Record(WireModel):
    """Statistics of one layer over the sampled steps ``first_step … step``, merged. Layer 0 is the run itself.

    This form is for people; programs send ``PackedRecords``. A record with neither examples nor columns reports that
    the layer should have been sampled and was not. ``marks`` (layer 0) counts deliberate resets since the last record:
    statistics before them are no baseline any more.

    ``silent`` counts the examples since a unit was last active, at the end of the record and across records;
    ``longest_silence`` is the longest silence that ended within the record. ``update_shift`` is the change of the mean
    pre-activation by the update of ``step``. The three ``shift_*`` columns split the change of ``mean`` since
    ``since_step`` exactly. All shifts are in units of the pre-activation.
    """

    layer_id: Annotated[int, Field(ge=0, le=MAX_STEP)]
    first_step: Step
    step: Step
    sampled_steps: Annotated[int, Field(ge=1, le=MAX_STEP)] = 1
    n_examples: Count = 0
    n_positions: Count = 0
    nonfinite: Count = 0
    marks: Count = 0
    learning_rate: Finite | None = None
    weight_norm: Finite | None = None
    update_norm: Finite | None = None
    grad_norm: Finite | None = None
    since_step: Step | None = None
    learning_rates: Annotated[list[Finite], Field(max_length=1000)] | None = None
    input_mean: Finite | None = None
    input_std: Finite | None = None
    input_min: Finite | None = None
    input_max: Finite | None = None
    update_ratio: Finite | None = None
    output_spread: Finite | None = None
    loss: Finite | None = None
    active: UnitColumn | None = None
    active_positions: UnitColumn | None = None
    silent: UnitColumn | None = None
    longest_silence: UnitColumn | None = None
    mean: UnitColumn | None = None
    var: UnitColumn | None = None
    max: UnitColumn | None = None
    bias: UnitColumn | None = None
    update_shift: UnitColumn | None = None
    shift_weight: UnitColumn | None = None
    shift_input: UnitColumn | None = None
    shift_bias: UnitColumn | None = None
    _arrays: dict[str, Array] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.first_step > self.step:
            raise ValueError("first_step lies after step")
        arrays = self._arrays = _checked_arrays(self)
        if self.layer_id and "active" not in arrays and (arrays or self.n_examples) and not self.nonfinite:
            raise ValueError("a record of a layer needs the column active")
        return self

    def arrays(self) -> dict[str, Array]:
        """Return the per-unit columns that are present, by name, each of shape (units,)."""
        return self._arrays or _checked_arrays(self)


class PackedRecords(WireModel):
    """Records as a table: one column per statistic for all records.

    ``scalars`` are NaN where nothing was measured. ``unit_counts`` and ``unit_columns`` give the units of each record,
    and its unit columns as bits in the order of ``UNIT_COLUMNS``. A unit column may come in pieces of different dtypes,
    which are joined in their order. ``rates`` are the learning rates of all parameter groups, ``rate_counts`` of them
    per record.
    """

    scalars: dict[str, Column]
    unit_counts: Column | None = None
    unit_columns: Column | None = None
    units: dict[str, Annotated[list[Column], Field(min_length=1, max_length=MAX_RECORDS)]] = Field(default_factory=dict)
    rate_counts: Column | None = None
    rates: Column | None = None


class AsTable:
    """Validates records in either form into a table sorted by step, as ``Annotated[RecordTable, AsTable]``.

    A context of the validation is a function without arguments: it is called after each single record, as decoding ten
    thousand of them takes most of a second.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        record = core_schema.with_info_after_validator_function(_values_of, handler.generate_schema(Record))
        single = core_schema.list_schema(record, max_length=MAX_RECORDS)
        packed = handler.generate_schema(PackedRecords)
        return core_schema.union_schema(
            [
                (core_schema.no_info_after_validator_function(_table_of, single), "rows"),
                (core_schema.no_info_after_validator_function(_unpacked, packed), "table"),
                (core_schema.is_instance_schema(RecordTable), "memory"),
            ],
            mode="left_to_right",
            serialization=core_schema.plain_serializer_function_ser_schema(packing.pack),
        )


class _RecordValues(NamedTuple):
    """A record without its model, which takes four times the memory: scalars, and the unit columns that it has."""

    scalars: tuple[Any, ...]
    arrays: dict[str, Array]


_SCALAR_NAMES = (*SCALARS, "learning_rates")
_scalars_of = attrgetter(*_SCALAR_NAMES)


def _values_of(record: Record, info: core_schema.ValidationInfo) -> _RecordValues:
    if info.context is not None:
        info.context()
    return _RecordValues(_scalars_of(record), record.arrays())


def _table_of(records: list[_RecordValues]) -> RecordTable:
    columns = zip(*(record.scalars for record in records), strict=True)
    scalars = dict(zip(_SCALAR_NAMES, columns, strict=True)) if records else dict.fromkeys(_SCALAR_NAMES, ())
    return RecordTable.from_columns(scalars, [record.arrays for record in records]).sorted_by_step()


def _unpacked(packed: PackedRecords) -> RecordTable:
    scalars = {name: column.array() for name, column in packed.scalars.items()}
    if any(values.size > MAX_RECORDS for values in scalars.values()):
        raise ValueError(f"at most {MAX_RECORDS} records")
    return packing.unpack(
        scalars=scalars,
        unit_counts=_array(packed.unit_counts),
        unit_columns=_array(packed.unit_columns),
        units={name: [piece.array() for piece in pieces] for name, pieces in packed.units.items()},
        rate_counts=_array(packed.rate_counts),
        rates=_array(packed.rates),
    )


def _array(column: Column | None) -> Array:
    return np.zeros(0) if column is None else column.array()


def _checked_arrays(record: Record) -> dict[str, Array]:
    """Decode the unit columns; raise ValueError where lengths differ or a number is not finite."""
    arrays: dict[str, Array] = {}
    for name in UNIT_COLUMNS:
        column = getattr(record, name)
        if column is None:
            continue
        values = column.array() if isinstance(column, Column) else np.asarray(column, dtype="<f8")
        packing.check_unit_column(name, values)
        arrays[name] = values
    if len({values.size for values in arrays.values()}) > 1:
        raise ValueError("unit columns differ in length")
    return arrays
