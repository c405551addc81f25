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
from relumine_server.api import problems
from relumine_server.api.encodings import decoded
from relumine_server.errors import (
    BodyTooLarge,
    Busy,
    InvalidUpload,
    OtherProject,
    RunInOtherProject,
    StorageFull,
    UnknownLayer,
    UnsupportedEncoding,
    WrongUnits,
)
from relumine_server.ingest import Ingest, Taken
from relumine_server.refold import Refolds
from relumine_server.storage.states import StateLost
from relumine_server.storage.store import Store

router = APIRouter(prefix="/v1", tags=["uploads"])

REFUSALS = (
    BodyTooLarge, Busy, InvalidUpload, OtherProject, RunInOtherProject, StorageFull, UnknownLayer, UnsupportedEncoding,
    WrongUnits,
)  # fmt: skip
BODY = {"required": True, "content": {"application/json": {"schema": Upload.model_json_schema(mode="validation")}}}
UNPACKING = 2  # compressed bodies unpacked at once: more would only fight for memory and for the interpreter


class Intake:
    """How many bytes of bodies are under way, so that no number of clients can fill the memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._unpacking = asyncio.Semaphore(UNPACKING)

    @asynccontextmanager
    async def body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """The body, held to account while it is worked on. Raises BodyTooLarge, Busy."""
        encoding = request.headers.get("content-encoding", "identity").lower()
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise BodyTooLarge(f"at most {limit} bytes")
        read = bytearray()
        try:
            async for chunk in request.stream():
                self._take(len(chunk))
                read += chunk
                if len(read) > limit:
                    raise BodyTooLarge(f"at most {limit} bytes")
            body = bytes(read) if encoding == "identity" else await self._decoded(bytes(read), encoding, limit)
            more = len(body)
            self._take(more)
            try:
                yield body
            finally:
                self._held -= more
        finally:
            self._held -= len(read)

    async def _decoded(self, body: bytes, encoding: str, limit: int) -> bytes:
        async with self._unpacking:
            return await run_in_threadpool(decoded, body, encoding, limit)

    def _take(self, size: int) -> None:
        if self._held + size > self._limit:
            raise Busy("too many bytes are under way; try again shortly")
        self._held += size


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
    intake = cast("Intake", state.intake)
    async with intake.body(request, state.settings.max_body_bytes) as body:
        taken = await _take(state, partial(decode, body, request.state.caller.project))
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


def decode(body: bytes, own_project: str | None = None) -> Upload:
    """The upload in a body. Raises InvalidUpload, saying where and why but never what.

    Raises OtherProject where a key that is bound to a project sends it into another one.
    """
    upload = _decode(body)
    if own_project not in (None, upload.run.project):
        raise OtherProject
    return upload


def _decode(body: bytes) -> Upload:
    try:
        return Upload.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidUpload(problems.places(found)) from None
    except (ValueError, RecursionError) as error:
        raise InvalidUpload(type(error).__name__) from None
