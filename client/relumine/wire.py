"""The wire contract, version 1: what an upload carries. What the server answers is in ``views``.

The single definition; the server imports it. It must not import torch, httpx or anything of the server.
A column of numbers travels as base64 of a little-endian array with a declared dtype, or as a plain JSON
list. Numbers are finite on the wire: NaN and infinity are counted in ``nonfinite``, never sent.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias, cast

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    JsonValue,
    PlainSerializer,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from relumine import packed
from relumine._storable import check_storable
from relumine.table import MAX_STEP, UNIT_COLUMNS, Array, RecordTable

MAX_LAYERS = 10_000
MAX_RECORDS = 10_000
MAX_NUMBERS = 10_000
MAX_UNITS = 1_000_000

_DTYPES: Mapping[str, str] = {"u1": "u1", "u2": "<u2", "u4": "<u4", "f2": "<f2", "f4": "<f4", "f8": "<f8"}

Dtype: TypeAlias = Literal["u1", "u2", "u4", "f2", "f4", "f8"]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00]*$")]
Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Identifier: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Step: TypeAlias = Annotated[int, Field(ge=0, le=MAX_STEP)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_STEP)]
Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


class WireModel(BaseModel):
    """Base of everything on the wire: unknown fields are ignored, so that a newer SDK may talk to an older server."""

    model_config = ConfigDict(extra="ignore", val_json_bytes="base64", protected_namespaces=())


class Column(WireModel):
    """A packed column: little-endian numbers of one dtype, base64 in JSON."""

    dtype: Dtype
    data: Annotated[bytes, PlainSerializer(lambda raw: base64.b64encode(raw).decode(), when_used="json")]

    @classmethod
    def pack(cls, values: Array) -> Column:
        """Pack a one-dimensional array whose dtype is one of the six of the wire."""
        code = cast("Dtype", values.dtype.kind + str(values.dtype.itemsize))
        return cls.model_construct(dtype=code, data=values.astype(_DTYPES[code], copy=False).tobytes())

    def array(self) -> Array:
        """The numbers as an array (shape (n,)). Raises ValueError where the bytes are no whole number of them."""
        return np.frombuffer(self.data, dtype=_DTYPES[self.dtype])


UnitColumn: TypeAlias = Column | Annotated[list[Finite], Field(max_length=MAX_UNITS)]


class RunInfo(WireModel):
    """Who is training. Every upload carries it, so no registration is needed."""

    id: Identifier
    project: Name = "default"
    group: Name | None = None
    name: Name | None = None
    config: dict[str, JsonValue] = Field(default_factory=dict)
    tags: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=list)
    sdk: Text | None = None
    torch: Text | None = None
    started_at: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] | None = None
    resumed: bool = False

    @field_validator("config")
    @classmethod
    def _storable(cls, config: dict[str, JsonValue]) -> dict[str, JsonValue]:
        check_storable(config)
        return config


class LayerInfo(WireModel):
    """One place in the model where an activation acts, and how it is observed."""

    layer_id: Annotated[int, Field(ge=1, le=MAX_STEP)]
    name: Name
    units: Annotated[int, Field(ge=1, le=MAX_UNITS)]
    activation: Text = "relu"
    can_die: bool = True
    unit_kind: Literal["features", "channels"] = "features"
    n_unit: Literal["examples", "positions"] = "examples"
    split: Literal["linear", "batchnorm", "residual", "none"] = "none"
    producer: Text | None = None
    fan_in: Annotated[int, Field(ge=1, le=MAX_STEP)] | None = None
    observed: Text = "function mode"
    sampled_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the optimizer steps up to when this was written."""
    missing: Annotated[list[Text], Field(max_length=32)] = Field(default_factory=list)


class Coverage(WireModel):
    """How much of a model is seen, and what is not: ReLU modules that no training forward used, and remarks."""

    watched: Count = 0
    units: Count = 0
    cannot_die: Count = 0
    unused: Annotated[list[Name], Field(max_length=MAX_LAYERS)] = Field(default_factory=list)
    remarks: Annotated[list[Text], Field(max_length=32)] = Field(default_factory=list)


class Record(WireModel):
    """Statistics of one layer over the sampled steps ``first_step … step``, merged. Layer 0 is the run itself.

    The form for people; programs send ``PackedRecords``. A record with neither examples nor columns says that the
    layer should have been seen and was not. ``marks`` (layer 0) counts deliberate resets since the last record: what
    came before is no baseline any more.

    ``silent`` is the number of examples since a unit was last active, at the record's end, counted across
    records; ``longest_silence`` the longest silence that ended within the record. ``update_shift`` is what
    the update of ``step`` did to the mean pre-activation; the three ``shift_*`` columns split the change of
    ``mean`` since ``since_step`` exactly. All shifts are in units of the pre-activation.
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
    _arrays: dict[str, Array] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.first_step > self.step:
            raise ValueError("first_step lies after step")
        self._arrays = _checked_arrays(self)
        if self.layer_id and "active" not in self._arrays and (self._arrays or self.n_examples) and not self.nonfinite:
            raise ValueError("a record of a layer needs the column active")
        return self

    def arrays(self) -> dict[str, Array]:
        """The per-unit columns that are present, by name, each of shape (units,)."""
        return self._arrays or _checked_arrays(self)


class PackedRecords(WireModel):
    """Records as a table (``relumine.table``): one column for all of them where single records would take one each.

    ``scalars`` and ``rates`` (the learning rates of all groups, ``rate_counts`` of them per record) hold NaN where
    nothing was measured. A unit column may come in pieces of different dtypes, joined in their order; ``unit_columns``
    says with bits in the order of the contract which of them a record has.
    """

    scalars: dict[str, Column]
    unit_counts: Column | None = None
    unit_columns: Column | None = None
    units: dict[str, Annotated[list[Column], Field(min_length=1, max_length=MAX_RECORDS)]] = Field(default_factory=dict)
    rate_counts: Column | None = None
    rates: Column | None = None


class _AsTable:
    """Makes a table of whatever form records came in, in the order in which a series is folded."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        single = handler.generate_schema(Annotated[list[Record], Field(max_length=MAX_RECORDS)])
        whole = handler.generate_schema(PackedRecords)
        return core_schema.union_schema(
            [
                (core_schema.no_info_after_validator_function(_table, single), "rows"),
                (core_schema.no_info_after_validator_function(_unpacked, whole), "table"),
                (core_schema.is_instance_schema(RecordTable), "memory"),
            ],
            mode="left_to_right",
            serialization=core_schema.plain_serializer_function_ser_schema(packed.pack),
        )


def _table(rows: list[Record]) -> RecordTable:
    return RecordTable.of(rows).in_order()


def _unpacked(sent: PackedRecords) -> RecordTable:
    def array(column: Column | None) -> Array:
        return np.zeros(0) if column is None else column.array()

    scalars = {name: column.array() for name, column in sent.scalars.items()}
    if any(values.size > MAX_RECORDS for values in scalars.values()):
        raise ValueError(f"at most {MAX_RECORDS} records")
    return packed.unpack(
        scalars,
        array(sent.unit_counts),
        array(sent.unit_columns),
        {name: [column.array() for column in pieces] for name, pieces in sent.units.items()},
        array(sent.rate_counts),
        array(sent.rates),
    )


class LoggedNumber(WireModel):
    """A number that the training logged: a loss, an accuracy."""

    step: Step
    name: Name
    value: Finite


class Upload(WireModel):
    """What one ``POST /v1/uploads`` carries. Idempotent by (run.id, session, rank, seq).

    Sessions of a run are ordered by their text: the SDK uses UUIDv7, so a resumed run sorts after its past.
    """

    run: RunInfo
    session: Identifier
    rank: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    world_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    seq: Annotated[int, Field(ge=1, le=MAX_STEP)]
    dropped: Annotated[dict[Name, Count], Field(max_length=32)] = Field(default_factory=dict)
    layers: Annotated[list[LayerInfo], Field(max_length=MAX_LAYERS)] = Field(default_factory=list)
    coverage: Coverage | None = None
    records: Annotated[RecordTable, _AsTable] = Field(default_factory=lambda: RecordTable.of([]))
    numbers: Annotated[list[LoggedNumber], Field(max_length=MAX_NUMBERS)] = Field(default_factory=list)
    closing: Literal["finished", "failed"] | None = None


def _checked_arrays(record: Record) -> dict[str, Array]:
    """Decode the unit columns; raise ValueError where lengths differ or a number is not finite."""
    arrays: dict[str, Array] = {}
    for name in UNIT_COLUMNS:
        column = getattr(record, name)
        if column is None:
            continue
        values = column.array() if isinstance(column, Column) else np.asarray(column, dtype="<f8")
        packed.check_unit_column(name, values)
        arrays[name] = values
    if len({values.size for values in arrays.values()}) > 1:
        raise ValueError("unit columns differ in length")
    return arrays
