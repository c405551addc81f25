"""``POST /v1/uploads``: the raw body is read with a cap, decoded by pydantic's own JSON, and handed to ingest.

The body is no declared parameter: FastAPI would parse it in Python, six times dearer, and answer 500 to a NaN.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from relumine.views import Accepted
from relumine.wire import Upload
from relumine_server import ingest
from relumine_server.api import problems
from relumine_server.api.depends import ClockDep, CourierDep, SettingsDep, StoreDep
from relumine_server.api.encodings import decoded
from relumine_server.errors import (
    BodyTooLarge,
    Busy,
    InvalidUpload,
    RunInOtherProject,
    UnknownLayer,
    UnsupportedEncoding,
    WrongUnits,
)

router = APIRouter(prefix="/v1", tags=["uploads"])

REFUSALS = (BodyTooLarge, Busy, InvalidUpload, RunInOtherProject, UnknownLayer, UnsupportedEncoding, WrongUnits)
BODY = {"required": True, "content": {"application/json": {"schema": Upload.model_json_schema(mode="serialization")}}}


@router.post("/uploads", status_code=202, responses=problems.responses(*REFUSALS), openapi_extra={"requestBody": BODY})
async def post_upload(
    request: Request, store: StoreDep, settings: SettingsDep, clock: ClockDep, courier: CourierDep
) -> Accepted:
    """Store one upload and look for onset. The same upload again is answered ``duplicate`` and changes nothing."""
    body = await _read(request, settings.max_body_bytes)
    encoding = request.headers.get("content-encoding", "identity").lower()

    def work() -> Accepted:
        upload = decode(decoded(body, encoding, settings.max_body_bytes))
        return store.write(lambda c: ingest.ingest(c, upload, base_url=settings.base_url, now=clock()))

    accepted = await run_in_threadpool(work)
    if accepted.alerts:
        courier.wake()
    return accepted


async def _read(request: Request, limit: int) -> bytes:
    """The body, as long as it stays within the limit whatever its header said. Raises BodyTooLarge."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge(f"at most {limit} bytes")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge(f"at most {limit} bytes")
    return bytes(body)


def decode(body: bytes) -> Upload:
    """The upload in a body. Raises InvalidUpload, saying where and why but never what."""
    try:
        return Upload.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidUpload(problems.places(found)) from None
    except (ValueError, RecursionError) as error:
        raise InvalidUpload(type(error).__name__) from None
