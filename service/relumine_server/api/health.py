"""Whether the process lives, and whether it can work."""

from __future__ import annotations

import shutil
from typing import cast

from fastapi import APIRouter, Request
from pydantic import BaseModel

from relumine_server.api import problems
from relumine_server.api.depends import SettingsDep, StoreDep
from relumine_server.ending import Ending
from relumine_server.errors import NotReady, Stopping
from relumine_server.storage import migrate
from relumine_server.storage.writer import WAITING

FULL = 0.8  # of the queue of writes: uploads are about to be turned away

router = APIRouter(tags=["health"])


class Readiness(BaseModel):
    """That the server can work, and how much work waits."""

    status: str
    waiting: int


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers; the database is not asked."""
    return {"status": "alive"}


@router.get("/readyz", responses=problems.responses(NotReady, Stopping))
def readyz(request: Request, store: StoreDep, settings: SettingsDep) -> Readiness:
    """The database answers, has the schema of this version, room on its disk, and few writes ``waiting``."""
    if cast("Ending", request.app.state.ending).has_begun:
        raise Stopping
    with store.read() as connection:
        found = migrate.current(connection)
    if found != migrate.head():
        raise NotReady(f"the schema is at {found or 'nothing'}, run relumine-server migrate")
    if store.waiting > FULL * WAITING:
        raise NotReady("the queue of writes is nearly full")
    if store.file is not None and shutil.disk_usage(store.file.parent).free < settings.min_free_bytes:
        raise NotReady("the disk of the database is nearly full")
    return Readiness(status="ready", waiting=store.waiting)
