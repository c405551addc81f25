"""Route of uploads: the raw body is read within a limit, decoded by pydantic from JSON, and ingested.

The body is no declared parameter: FastAPI would parse it in Python, six times as expensive, and answer 500 to a NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State

from relumine.schemas.upload import Upload, UploadResponse
from relumine_server import validation_messages
from relumine_server.api import problem_details
from relumine_server.api.inflight import Body
from relumine_server.api.rate_limit import client_address
from relumine_server.api.services import Services, services_of
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.errors import (
    BodyTimeout,
    BodyTooLarge,
    Busy,
    InvalidUpload,
    ProjectForbidden,
    StorageFull,
    TooManyLayers,
    TooManyMetrics,
    TooManyProjects,
    TooManyRecords,
    TooManyRuns,
    TooManyUnits,
    TooManyValues,
    UnitCountMismatch,
    UnknownLayer,
    UnsupportedEncoding,
)
from relumine_server.ingest.detector_states import DetectorStateLost
from relumine_server.ingest.large_uploads import FIRST_UNIT, LARGE_BODY_BYTES, has_many_records, is_large
from relumine_server.ingest.precedence import Pause
from relumine_server.ingest.service import IngestResult
from relumine_server.metrics import Metrics

router = APIRouter(prefix="/v1", tags=["uploads"], route_class=StrictQueryRoute)

REFUSALS = (
    BodyTooLarge, BodyTimeout, Busy, InvalidUpload, ProjectForbidden, StorageFull, TooManyLayers,
    TooManyMetrics, TooManyProjects, TooManyRecords, TooManyRuns, TooManyUnits, TooManyValues, UnknownLayer,
    UnsupportedEncoding, UnitCountMismatch,
)  # fmt: skip

REPLAYED_HEADER = "relumine-replayed"
"""``true`` where an upload comes from a disk after its training, as ``relumine sync`` sends it."""

RUN_ID_IN_BODY = re.compile(rb'"run"\s*:\s*\{[^{}]*?"id"\s*:\s*"([A-Za-z0-9_-]{1,64})"')
RUN_ID_WITHIN = 4096

BODY = {
    "required": True,
    "description": "An upload, as it is or compressed (Content-Encoding: gzip or zstd).",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Upload"}}},
}


@router.post(
    "/uploads",
    status_code=202,
    response_model=UploadResponse,
    responses=problem_details.responses(*REFUSALS),
    openapi_extra={"requestBody": BODY},
)
async def post_upload(request: Request) -> Response:
    """Store an upload and analyze its records. The same upload again is answered ``duplicate`` and changes nothing."""
    # No parameters and no response model of the framework: they would be a fifth of the cost.
    services = services_of(request)
    async with services.inflight.body(request, services.settings) as body:
        result = await _ingest(services, request, body)
    _count(services.metrics, result, len(body.content))
    if result.has_changed_alerts:
        services.dispatcher.wake()
    response = result.response
    flush_every = services.viewed_runs.flush_every(response.run_id)
    if flush_every is not None:
        response = response.model_copy(update={"flush_every": flush_every})
    return Response(response.model_dump_json(), 202, media_type="application/json")


async def _ingest(services: Services, request: Request, body: Body) -> IngestResult:
    """Ingest an upload. If the detector state of its run cannot be read, wait for the rebuild and ingest it then."""
    try:
        return await _ingest_once(services, request, body)
    except DetectorStateLost as lost:
        await services.rebuilds.rebuild(lost)
    return await _ingest_once(services, request, body)


async def _ingest_once(services: Services, request: Request, received: Body) -> IngestResult:
    is_replayed = request.headers.get(REPLAYED_HEADER, "").lower() == "true"
    caller = request.state.caller.key_id or client_address(request.scope["client"])
    ingest_large = partial(services.large_uploads.ingest, caller=caller, is_replayed=is_replayed)
    body = received.content
    if has_many_records(body, received.values):
        return await ingest_large(partial(decode, body, request.state))
    read_upload: Callable[[], Upload] = partial(decode, body, request.state)
    if len(body) >= LARGE_BODY_BYTES or FIRST_UNIT in body:
        async with services.inflight.decoding:
            upload = await run_in_threadpool(read_upload)
        if is_large(upload):
            return await ingest_large(lambda _pause: upload)
        read_upload = partial(_identity, upload)
    try:
        return await _ingest_small(services, body, read_upload, is_replayed=is_replayed)
    except _LargeUploadError as error:
        large = error.upload
    return await ingest_large(lambda _pause: large)


class _LargeUploadError(Exception):
    """An upload turned out to be too large for a transaction together with its analysis."""

    def __init__(self, upload: Upload) -> None:
        super().__init__()
        self.upload = upload


async def _ingest_small(
    services: Services, body: bytes, read_upload: Callable[[], Upload], *, is_replayed: bool
) -> IngestResult:
    """Decode, analyze and store an upload in one transaction. Raises _LargeUploadError where it is not small."""

    def read_small() -> Upload:
        upload = read_upload()
        if is_large(upload):
            raise _LargeUploadError(upload)
        return upload

    def write(connection: sa.Connection) -> IngestResult:
        now = services.clock()
        return services.ingest.decode_and_ingest(connection, read_small, now, is_replayed=is_replayed)

    with services.large_uploads.precedence.small_upload():
        if services.database.is_exclusive:  # SQLite: one writer, and no connection to occupy
            return await services.database.write_soon(write)
        async with services.run_turns.turn(_run_in(body)):
            return await services.database.write_soon(write)


def _run_in(body: bytes) -> str:
    """Return the id of the run in a body that is not decoded yet, as far as its beginning shows it.

    It only decides with which others an upload waits for a run that is locked.
    """
    match = RUN_ID_IN_BODY.search(body, 0, RUN_ID_WITHIN)
    return "" if match is None else match.group(1).decode("ascii")


def _identity(upload: Upload) -> Upload:
    return upload


def _count(metrics: Metrics, result: IngestResult, size_bytes: int) -> None:
    metrics.uploads.labels("duplicate" if result.response.duplicate else "accepted").inc()
    metrics.records.inc(result.response.accepted)
    metrics.upload_bytes.inc(size_bytes)
    for reason, count in result.newly_dropped.items():
        metrics.count_dropped(reason, count)


def decode(body: bytes, state: State, pause: Pause | None = None) -> Upload:
    """Return the upload in a body, with pauses; ``state`` is that of the request.

    Raises InvalidUpload with the place and the reason but never the value, and ProjectForbidden if the key is bound to
    another project.
    """
    upload = _decode(body, pause)
    state.run_id = upload.run.id
    if state.caller.project not in (None, upload.run.project):
        raise ProjectForbidden
    return upload


def _decode(body: bytes, pause: Pause | None = None) -> Upload:
    try:
        return Upload.model_validate_json(body, strict=True, context=pause)
    except ValidationError as error:
        reason = validation_messages.describe_errors(
            error.errors(include_url=False, include_context=False, include_input=False)
        )
    except (ValueError, RecursionError) as error:
        reason = type(error).__name__
    raise InvalidUpload(reason)  # outside of the except block: as its context the first error would keep the body alive
