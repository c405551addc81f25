"""Workers of one training on two processes: what they are started with, and how they end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

PATIENCE_S = 100.0


def environment(**more: str) -> dict[str, str]:
    """That of this process, and workers find the modules beside this one."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **more}


def leave(meeting: str, rank: int) -> NoReturn:
    """End this process as soon as the other is done too.

    Not by a barrier and ``destroy_process_group``: on a busy machine gloo at times hangs there, or aborts in the end of
    the interpreter, with nothing of ours in the process. A training's own end is behind it by then.
    """
    Path(f"{meeting}.left.{rank}").touch()
    until = time.monotonic() + PATIENCE_S
    while not Path(f"{meeting}.left.{1 - rank}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
