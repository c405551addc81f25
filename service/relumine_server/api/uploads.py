"""``POST /v1/uploads``: the raw body is read with a cap, decoded by pydantic's own JSON, and handed to ingest.

The body is no declared parameter: FastAPI would parse it in Python, six times dearer, and answer 500 to a NaN.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State

from relumine.views import Accepted
from relumine.wire import Upload
from relumine_server.api import bodies, problems
from relumine_server.api.encodings import decoded
from relumine_server.errors import (
    BodyTooLarge,
    BodyTooSlow,
    Busy,
    InvalidUpload,
    OtherProject,
    RunInOtherProject,
    StorageFull,
    TooManyLayers,
    TooManyNumbers,
    TooManyProjects,
    TooManyRecords,
    TooManyRuns,
    TooManyUnits,
    TooManyValues,
    UnknownLayer,
    UnsupportedEncoding,
    WrongUnits,
)
from relumine_server.ingest import Ingest, Taken
from relumine_server.metrics import Metrics
from relumine_server.refold import Refolds
from relumine_server.settings import Settings
from relumine_server.storage.states import StateLost
from relumine_server.storage.store import Store

router = APIRouter(prefix="/v1", tags=["uploads"])

REFUSALS = (
    BodyTooLarge, BodyTooSlow, Busy, InvalidUpload, OtherProject, RunInOtherProject, StorageFull, TooManyLayers,
    TooManyNumbers, TooManyProjects, TooManyRecords, TooManyRuns, TooManyUnits, TooManyValues, UnknownLayer,
    UnsupportedEncoding, WrongUnits,
)  # fmt: skip
WIRE = Upload.model_json_schema(mode="validation", ref_template="#/components/schemas/Sent{model}")
SENT = {f"Sent{name}": schema for name, schema in WIRE.pop("$defs").items()}
"""Parts of an upload; the document of the API keeps them where it keeps all schemas."""

BODY = {"required": True, "content": {"application/json": {"schema": WIRE}}}
UNPACKING = 2  # compressed bodies unpacked at once: more would only fight for memory and for the interpreter


class Intake:
    """How many bytes of bodies are under way, so that no number of clients can fill the memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0
        self._unpacking = asyncio.Semaphore(UNPACKING)

    @asynccontextmanager
    async def body(self, request: Request, settings: Settings) -> AsyncIterator[bytes]:
        """The body, held to account while it is worked on. Raises BodyTooLarge, BodyTooSlow, TooManyValues, Busy."""
        encoding = request.headers.get("content-encoding", "identity").lower()
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            self._take(size)
            taken += size

        try:
            body = await self._read(request, encoding, settings, take)
            take(len(body))
            yield body
        finally:
            self.held -= taken

    async def _read(self, request: Request, encoding: str, settings: Settings, take: Callable[[int], None]) -> bytes:
        limit = settings.max_body_bytes
        body = await bodies.read(request.receive, request.headers, limit, settings.body_timeout_s, take)
        if encoding != "identity":
            async with self._unpacking:
                body = await run_in_threadpool(decoded, body, encoding, limit)
        bodies.check_values(body, settings.max_values_per_upload)
        return body

    def _take(self, size: int) -> None:
        if self.held + size > self._limit:
            raise Busy("too many bytes are under way; try again shortly")
        self.held += size


@router.post(
    "/uploads",
    status_code=202,
    response_model=Accepted,
    responses=problems.responses(*REFUSALS),
    openapi_extra={"requestBody": BODY},
)
async def post_upload(request: Request) -> Response:
    """Store one upload and look for onset. The same upload again is answered ``duplicate`` and changes nothing."""
    # No parameters and no answer model of the framework: they would be a fifth of the cost.
    state = request.app.state
    intake, settings = cast("Intake", state.intake), cast("Settings", state.settings)
    async with intake.body(request, settings) as body:
        taken = await _take(state, partial(decode, body, request.state))
    _count(state.metrics, taken, len(body))
    if taken.moved:
        state.courier.wake()
    return Response(taken.accepted.model_dump_json(), 202, media_type="application/json")


async def _take(state: State, read: Callable[[], Upload]) -> Taken:
    """Store what is in a body. A run without a state that can be read is folded again first, and it waits for that."""
    store, ingest, refolds = cast("Store", state.store), cast("Ingest", state.ingest), cast("Refolds", state.refolds)

    def work(connection: sa.Connection) -> Taken:
        return ingest.receive(connection, read, state.clock())

    try:
        return await store.write_soon(work)
    except StateLost as lost:
        await refolds.make_up_for(lost)
    return await store.write_soon(work)


def _count(metrics: Metrics, taken: Taken, size: int) -> None:
    metrics.uploads.labels("duplicate" if taken.accepted.duplicate else "accepted").inc()
    metrics.records.inc(taken.accepted.accepted)
    metrics.upload_bytes.inc(size)
    for reason, number in taken.dropped.items():
        metrics.count_dropped(reason, number)


def decode(body: bytes, state: State) -> Upload:
    """The upload in a body. Raises InvalidUpload, saying where and why but never what.

    Raises OtherProject where a key that is bound to a project sends it into another one. ``state`` is the request's.
    """
    upload = _decode(body)
    state.run_id = upload.run.id
    if state.caller.project not in (None, upload.run.project):
        raise OtherProject
    return upload


def _decode(body: bytes) -> Upload:
    try:
        return Upload.model_validate_json(body, strict=True)
    except ValidationError as error:
        why = problems.places(error.errors(include_url=False, include_context=False, include_input=False))
    except (ValueError, RecursionError) as error:
        why = type(error).__name__
    raise InvalidUpload(why)  # out here: as the context of this one, the other would hold on to the body
