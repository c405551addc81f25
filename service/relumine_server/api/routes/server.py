"""``/v1/server``: the server and its database, for its administrators."""

from __future__ import annotations

from fastapi import APIRouter

from relumine import __version__
from relumine.schemas.base import rfc3339
from relumine.schemas.server import ServerInfo
from relumine_server.api import problem_details
from relumine_server.api.dependencies import ServicesDep
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.maintenance import figures

router = APIRouter(prefix="/v1", tags=["server"], route_class=StrictQueryRoute)


@router.get("/server", responses=problem_details.responses())
def read_server(services: ServicesDep) -> ServerInfo:
    """Read the version, the database, and what the server holds, receives and has left to do."""
    database = services.database
    with database.read() as connection:
        described = figures.database_figures(database, connection)
        counts = figures.counts(connection, services.clock())
    return ServerInfo.model_validate(
        {
            "version": __version__,
            "uptime_s": round(services.uptime.seconds_up(), 1),
            "database": described,
            "writes_waiting": database.waiting,
            "last_maintenance_at": rfc3339(services.maintenance.last_round_at),
            **counts,
        }
    )
