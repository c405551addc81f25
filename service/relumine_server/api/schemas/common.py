"""Query parameters and request bodies, and responses that exist in HTTP only."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias, get_args

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from relumine.schemas.health import HealthStatus
from relumine.schemas.limits import MAX_STEP
from relumine.schemas.run import RunStatus
from relumine.schemas.units import UnitState
from relumine.schemas.upload import Upload

DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")
MAX_RUNS = 100  # in one list of ids
RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

RunId: TypeAlias = Annotated[str, Path(pattern=RUN_ID)]
RunIds: TypeAlias = Annotated[str | None, Query(pattern=rf"^{RUN_ID[1:-1]}(,{RUN_ID[1:-1]}){{0,{MAX_RUNS - 1}}}$")]
LayerId: TypeAlias = Annotated[int, Path(ge=0, le=MAX_STEP)]
StepQuery: TypeAlias = Annotated[int | None, Query(ge=0, le=MAX_STEP)]
NameQuery: TypeAlias = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Flag: TypeAlias = Annotated[bool | None, Query()]
Cursor: TypeAlias = Annotated[str | None, Query(max_length=2000)]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=200)]
NoteText: TypeAlias = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
AuthorName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
ShortName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


def _check_listed(values: tuple[str, ...]) -> AfterValidator:
    """Return the check of a text that is one of some values, or several of them separated by commas."""

    def check(text: str | None) -> str | None:
        if text is not None and not set(text.split(",")) <= set(values):
            raise ValueError(f"must be one or several of {', '.join(values)}, separated by commas")
        return text

    return AfterValidator(check)


def _listed_pattern(values: tuple[str, ...]) -> dict[str, Any]:
    names = "|".join(values)
    return {"pattern": f"^({names})(,({names}))*$"}


RunStatuses: TypeAlias = Annotated[
    str | None,
    Query(max_length=500, json_schema_extra=_listed_pattern(get_args(RunStatus))),
    _check_listed(get_args(RunStatus)),
]
Healths: TypeAlias = Annotated[
    str | None,
    Query(max_length=500, json_schema_extra=_listed_pattern(get_args(HealthStatus))),
    _check_listed(get_args(HealthStatus)),
]


UnitStates: TypeAlias = Annotated[
    str | None,
    Query(max_length=500, json_schema_extra=_listed_pattern(get_args(UnitState))),
    _check_listed(get_args(UnitState)),
]


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


def _is_rfc3339(moment: object) -> object:
    """Refuse a bare number, which pydantic would read as seconds since 1970."""
    if not isinstance(moment, datetime) and not (isinstance(moment, str) and DATE.match(moment)):
        raise ValueError("not an RFC 3339 time")
    return moment


AwareTime: TypeAlias = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_is_rfc3339)]
UtcTime: TypeAlias = Annotated[AwareTime, AfterValidator(_in_utc)]
"""A time in UTC. The first and the last hours of the calendar cannot be converted from every time zone."""


class RequestBody(BaseModel):
    """A request body. Unknown fields are refused, because a misspelt one would be ignored; ``true`` is not a number."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _integers_from_floats(cls, body: object) -> object:
        """Accept 7.0 as the integer 7: JSON has one kind of number."""
        if not isinstance(body, dict):
            return body
        return {name: _integer_if_whole(value) for name, value in body.items()}


def _integer_if_whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Note(RequestBody):
    """The author and the text of a note on an alert."""

    author: AuthorName
    note: NoteText = ""


class Matchers(RequestBody):
    """The labels that a silence matches, as text or as globs (``*``, ``?``, ``[abc]``). All of them must match."""

    project: ShortName | None = None
    run_id: ShortName | None = None
    incident_id: ShortName | None = None
    group: ShortName | None = None
    name: ShortName | None = None
    layer: ShortName | None = None
    kind: ShortName | None = None
    severity: ShortName | None = None
    cause: ShortName | None = None


class SilenceRequest(RequestBody):
    """A silence to create; without ``starts_at`` it starts now."""

    matchers: Matchers
    starts_at: AwareTime | None = None
    ends_at: AwareTime
    author: AuthorName
    comment: NoteText = ""


class RunChange(RequestBody):
    """The fields of a run that can be changed."""

    name: ShortName | None = None
    tags: list[ShortName] | None = None
    status: Literal["finished", "failed"] | None = None


_UPLOAD_SCHEMA = Upload.model_json_schema(mode="validation", ref_template="#/components/schemas/Sent{model}")
UPLOAD_SCHEMAS = {
    f"Sent{name}": schema | {"title": f"Sent{name}"} for name, schema in _UPLOAD_SCHEMA.pop("$defs").items()
}
UPLOAD_SCHEMAS["Upload"] = _UPLOAD_SCHEMA
"""The schema of an upload and those it refers to; the OpenAPI document keeps them with all other schemas."""
ProjectName = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
