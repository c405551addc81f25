"""Whether the process lives, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from relumine_server.api import problems
from relumine_server.api.depends import StoreDep
from relumine_server.errors import NotReady
from relumine_server.storage import migrate

router = APIRouter(tags=["health"])


class Readiness(BaseModel):
    """That the server can work, and how much work waits."""

    status: str
    waiting: int


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers; the database is not asked."""
    return {"status": "alive"}


@router.get("/readyz", responses=problems.responses(NotReady))
def readyz(store: StoreDep) -> Readiness:
    """The database answers and has the schema that this version needs; ``waiting`` uploads are in its queue."""
    with store.read() as connection:
        found = migrate.current(connection)
    if found != migrate.head():
        raise NotReady(f"the schema is at {found or 'nothing'}, run relumine-server migrate")
    return Readiness(status="ready", waiting=store.waiting)
