"""Whether the process lives, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter

from relumine_server.api import problems
from relumine_server.api.depends import StoreDep
from relumine_server.errors import NotReady
from relumine_server.storage import migrate

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers; the database is not asked."""
    return {"status": "alive"}


@router.get("/readyz", responses=problems.responses(NotReady))
def readyz(store: StoreDep) -> dict[str, str]:
    """The database answers and has the schema that this version needs."""
    with store.read() as connection:
        found = migrate.current(connection)
    if found != migrate.head():
        raise NotReady(f"the schema is at {found or 'nothing'}, run relumine-server migrate")
    return {"status": "ready"}
