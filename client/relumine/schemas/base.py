"""Common types of the schemas: bounded text and numbers, times, and the bases of uploads and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeAlias, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from relumine.schemas.limits import MAX_STEP

Text: TypeAlias = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00]*$")]
Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Identifier: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Step: TypeAlias = Annotated[int, Field(ge=0, le=MAX_STEP)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_STEP)]
Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


@overload
def rfc3339(moment: datetime) -> str: ...


@overload
def rfc3339(moment: None) -> None: ...


@overload
def rfc3339(moment: datetime | None) -> str | None: ...


def rfc3339(moment: datetime | None) -> str | None:
    """Return a time as RFC 3339 text in UTC, as every answer and notification has it; None for None."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class WireModel(BaseModel):
    """Base of everything an upload carries. Unknown fields are ignored: a newer SDK may talk to an older server."""

    model_config = ConfigDict(extra="ignore", val_json_bytes="base64", protected_namespaces=())


T = TypeVar("T")


class View(BaseModel):
    """Base of all answers. Frozen; unknown fields are ignored: an older SDK may talk to a newer server."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class Page(View, Generic[T]):
    """A page of a list; ``next_cursor`` is opaque and null at the end."""

    items: list[T]
    next_cursor: str | None


class Problem(View):
    """Problem details after RFC 9457. ``code`` is stable; ``request_id`` is in the lines of the server's log."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None
