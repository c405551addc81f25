"""Parameters and bodies that people send, and answers that exist in HTTP only."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

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

from relumine.table import MAX_STEP

DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")
RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

RunId: TypeAlias = Annotated[str, Path(pattern=RUN_ID)]
StepQuery: TypeAlias = Annotated[int | None, Query(ge=0, le=MAX_STEP)]
NameQuery: TypeAlias = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Cursor: TypeAlias = Annotated[str | None, Query(max_length=1000)]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=200)]
NoteText: TypeAlias = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
AuthorName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
ShortName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


def _is_written(moment: object) -> object:
    """A bare number would be taken for the seconds since 1970."""
    if not isinstance(moment, datetime) and not (isinstance(moment, str) and DATE.match(moment)):
        raise ValueError("no time of RFC 3339")
    return moment


Written: TypeAlias = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_is_written)]
Moment: TypeAlias = Annotated[Written, AfterValidator(_in_utc)]
"""A time with its zone; the first and the last hours of the calendar have no UTC everywhere."""


class Sent(BaseModel):
    """A body as people send it. What is misspelt is refused, for it would never be done; ``true`` is no number."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, sent: object) -> object:
        """JSON knows one kind of number: 7.0 is the integer 7."""
        if not isinstance(sent, dict):
            return sent
        return {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in sent.items()}


class Note(Sent):
    """Who says something about an alert, and what."""

    author: AuthorName
    note: NoteText = ""


class Matchers(Sent):
    """What a silence is about: each is equal, or fits as a glob (``*``, ``?``, ``[abc]``); all of them must."""

    project: ShortName | None = None
    run_id: ShortName | None = None
    group: ShortName | None = None
    name: ShortName | None = None
    layer: ShortName | None = None
    kind: ShortName | None = None
    severity: ShortName | None = None
    cause: ShortName | None = None


class SilenceRequest(Sent):
    """A silence to set; without a beginning it begins now."""

    matchers: Matchers
    starts_at: Written | None = None
    ends_at: Written
    author: AuthorName
    comment: NoteText = ""


class RunChange(Sent):
    """What may be changed of a run."""

    name: ShortName | None = None
    tags: list[ShortName] | None = None
    state: Literal["finished", "failed"] | None = None


class NumberPoint(BaseModel):
    """A logged number at a step."""

    step: int
    value: float


class Numbers(BaseModel):
    """Logged numbers by name, in the order of steps; ``next_cursor`` is opaque and null at the end."""

    numbers: dict[str, list[NumberPoint]]
    next_cursor: str | None
