"""The upload: what the SDK sends in one ``POST /v1/uploads``, and the answer. Version 1 of the wire.

This is the single definition; the server imports it. A column of numbers is sent as base64 of a little-endian array
with a declared dtype, or as a plain JSON list. All numbers are finite: NaN and infinity are counted in ``nonfinite``,
never sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, JsonValue, field_validator, model_validator

from relumine.schemas.alert import Alert
from relumine.schemas.base import Count, Finite, Identifier, Name, Step, Text, View, WireModel
from relumine.schemas.layer_label import layer_label
from relumine.schemas.limits import MAX_STEP
from relumine.schemas.record import MAX_UNITS, AsTable
from relumine.schemas.record_table import RecordTable
from relumine.schemas.watching import Watching

Split: TypeAlias = Literal["linear", "batchnorm", "residual", "none"]
FinalStatus: TypeAlias = Literal["finished", "failed"]
MAX_LAYERS = 10_000
MAX_METRICS = 10_000
MAX_CONFIG_NODES = 10_000
MAX_CONFIG_DEPTH = 20
MAX_CONFIG_TEXT = 10_000
MAX_CONFIG_CHARACTERS = 200_000
"""Characters of one text of a configuration, and of all its texts: every list of runs holds it."""
MAX_COVERAGE_CHARACTERS = 2_000_000
MAX_MISSING_CHARACTERS = 1_000
"""Characters of a coverage, and of what is missing of a layer: every overview holds them."""


def check_storable(value: object) -> None:
    """Raise ValueError for a JSON value that not every database stores alike: NaN, NUL, huge integers, great depth."""
    stack: list[tuple[object, int]] = [(value, 0)]
    nodes = 0
    characters = 0
    while stack:
        item, depth = stack.pop()
        nodes += 1
        characters += len(item) if isinstance(item, str) else 0
        if nodes > MAX_CONFIG_NODES or depth > MAX_CONFIG_DEPTH or characters > MAX_CONFIG_CHARACTERS:
            raise ValueError("config is too large or too deep")
        if isinstance(item, Mapping):
            stack.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, Sequence) and not isinstance(item, str):
            stack.extend((part, depth + 1) for part in item)
        elif not _is_storable_leaf(item):
            raise ValueError("config contains a value that cannot be stored")


def _is_storable_leaf(item: object) -> bool:
    if isinstance(item, str):
        return "\x00" not in item and len(item) <= MAX_CONFIG_TEXT
    if isinstance(item, float):
        return math.isfinite(item)
    return not isinstance(item, int) or abs(item) <= MAX_STEP


class RunInfo(WireModel):
    """The run that uploads. Every upload carries it, so that no registration is needed."""

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

    @property
    def label(self) -> str:
        """The name of the run for people: ``project/name``, without a name the beginning of its id."""
        return f"{self.project}/{self.name or self.id[:13]}"

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
    split: Split = "none"
    producer: Text | None = None
    producer_type: Text | None = None
    fan_in: Annotated[int, Field(ge=1, le=MAX_STEP)] | None = None
    observed: Text = "function mode"
    sampled_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """The sampled share of the optimizer steps so far."""
    missing: Annotated[list[Text], Field(max_length=32)] = Field(default_factory=list)

    @property
    def label(self) -> str:
        """The name of the layer for people."""
        return layer_label(self.name, self.activation, self.producer, self.producer_type)

    @field_validator("missing")
    @classmethod
    def _short(cls, missing: list[str]) -> list[str]:
        if sum(map(len, missing)) > MAX_MISSING_CHARACTERS:
            raise ValueError(f"at most {MAX_MISSING_CHARACTERS} characters")
        return missing


class Coverage(WireModel):
    """The watched part of a model, and what is not watched, with reasons.

    ``unused`` are ReLU modules that no training forward used. ``unseen`` are activations with units that cannot be
    observed, ``left_out`` those without units (losses, boxes), each with the reason by name.
    """

    watched: Count = 0
    units: Count = 0
    cannot_die: Count = 0
    unused: Annotated[list[Name], Field(max_length=MAX_LAYERS)] = Field(default_factory=list)
    unseen: Annotated[dict[Name, Text], Field(max_length=MAX_LAYERS)] = Field(default_factory=dict)
    left_out: Annotated[dict[Name, Text], Field(max_length=MAX_LAYERS)] = Field(default_factory=dict)
    remarks: Annotated[list[Text], Field(max_length=32)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _short(self) -> Self:
        texts = [*self.unused, *self.remarks]
        for by_name in (self.unseen, self.left_out):
            texts += [*by_name, *by_name.values()]
        if sum(map(len, texts)) > MAX_COVERAGE_CHARACTERS:
            raise ValueError(f"at most {MAX_COVERAGE_CHARACTERS} characters")
        return self


class LoggedMetric(WireModel):
    """A value that the training logged, such as a loss or an accuracy."""

    step: Step
    name: Name
    value: Finite


class Upload(WireModel):
    """An upload. Idempotent by (run.id, session, rank, seq).

    ``session`` names a process; the server orders the sessions of a run by the arrival of their first upload, whatever
    the clocks of their machines say. Within a session uploads are ordered by ``seq``.
    ``dropped`` counts what the SDK dropped so far in the session, by reason. ``watching`` says whether the training is
    being watched; null where the client does not tell. ``final_status`` ends the run.

    A record that is larger than a proxy takes is sent in several uploads, each with a range of its units. The first of
    them is ``first_unit``, and the upload has no other record. The server puts the record together once it has all
    units of the layer, and processes it as if it had come with the upload that completed it.
    """

    run: RunInfo
    session: Identifier
    rank: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    world_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    seq: Annotated[int, Field(ge=1, le=MAX_STEP)]
    dropped: Annotated[dict[Name, Count], Field(max_length=32)] = Field(default_factory=dict)
    layers: Annotated[list[LayerInfo], Field(max_length=MAX_LAYERS)] = Field(default_factory=list)
    coverage: Coverage | None = None
    records: Annotated[RecordTable, AsTable] = Field(default_factory=lambda: RecordTable.from_records([]))
    first_unit: Annotated[int, Field(ge=0, lt=MAX_UNITS)] | None = None
    metrics: Annotated[list[LoggedMetric], Field(max_length=MAX_METRICS)] = Field(default_factory=list)
    watching: Watching | None = None
    final_status: FinalStatus | None = None

    @model_validator(mode="after")
    def _has_one_part(self) -> Self:
        records = self.records
        is_part = len(records) == 1 and bool(records.scalars["layer_id"][0]) and bool(records.units[0])
        if self.first_unit is not None and not is_part:
            raise ValueError("first_unit needs one record, of a layer, with columns of its units")
        return self


class UploadResponse(View):
    """The server's answer to an upload. It steers the SDK, so that nothing polls.

    ``accepted`` counts the records that were stored; one that is sent in parts counts with the part that completes it.
    ``analyzed`` is False where the detector does not process them:
    they are older than others of the run, or of another rank. ``alerts`` are the open ones of the run and those that
    this upload resolved, at most the 200 most severe. ``sample_every`` asks for a sampling interval: a longer one than
    the SDK's own until further notice, a shorter one for a burst; null leaves it unchanged. ``flush_every`` asks for an
    upload at least every so many seconds while someone views the run; null leaves the pace to the SDK. ``run_id``
    is the id under which the server keeps the run: another one than was sent where that one belongs to another project.
    ``known_layers`` is the number of layers that the server has descriptions of, null where it was not counted; fewer
    than the client has described means that the server lost some, as after the restore of a backup.
    ``is_shared`` is True where a second training uploads under the same run id.
    """

    accepted: int
    analyzed: bool
    duplicate: bool
    sample_every: int | None = None
    flush_every: float | None = None
    alerts: list[Alert] = Field(default_factory=list)
    run_id: str | None = None
    known_layers: int | None = None
    is_shared: bool = False
