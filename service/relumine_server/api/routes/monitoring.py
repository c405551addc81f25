"""Health and metrics of the server itself: ``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import shutil

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from relumine_server.api import problem_details
from relumine_server.api.dependencies import ServicesDep
from relumine_server.api.services import services_of
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.db import migrations
from relumine_server.db.dialect import MAX_WAITING
from relumine_server.errors import NotReady, Stopping

NEARLY_FULL = 0.8  # of the write queue: uploads are about to be refused

router = APIRouter(tags=["health"], route_class=StrictQueryRoute)


METRICS_CONTENT = {"text/plain": {"schema": {"type": "string"}, "example": "relumine_uploads_total 1.0\n"}}


class Liveness(BaseModel):
    """A process that is alive."""

    status: str


class Readiness(BaseModel):
    """A server that can work, and how many writes are queued."""

    status: str
    waiting: int


@router.get("/livez")
async def livez() -> Liveness:
    """Answer that the process is alive. The database is not asked."""
    return Liveness(status="alive")


@router.get("/readyz", responses=problem_details.responses(NotReady, Stopping))
def readyz(services: ServicesDep) -> Readiness:
    """Answer 200 if the database answers, has the current schema and free disk space, and its write queue has room."""
    if services.shutdown.has_begun:
        raise Stopping
    database = services.database
    database.require_writable()
    with database.read() as connection:
        revision = migrations.current(connection)
    if revision != migrations.head():
        raise NotReady(f"the schema is at {revision or 'nothing'}, run relumine-server migrate")
    if database.waiting > NEARLY_FULL * MAX_WAITING:
        raise NotReady("the write queue is nearly full")
    min_free_bytes = services.settings.min_free_bytes
    if database.file is not None and shutil.disk_usage(database.file.parent).free < min_free_bytes:
        raise NotReady("the disk of the database is nearly full")
    return Readiness(status="ready", waiting=database.waiting)


@router.get("/metrics", response_class=Response, responses={200: {"content": METRICS_CONTENT}})
def read_server_metrics(request: Request) -> Response:
    """Return the metrics of this server in Prometheus' text format."""
    services = services_of(request)
    services.metrics.waiting.set(services.database.waiting)
    services.metrics.held.set(services.inflight.held)
    return Response(services.metrics.text(services.stats), media_type=CONTENT_TYPE_LATEST)
