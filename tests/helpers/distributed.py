"""Environment and exit of the worker processes of a distributed training."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

EXIT_TIMEOUT_S = 100.0


def environment(**more: str) -> dict[str, str]:
    """Return the environment of this process, in which workers find the package ``tests``."""
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **more}


def exit_together(rendezvous: str, rank: int) -> NoReturn:
    """End this process as soon as the other one has finished too.

    A barrier and ``destroy_process_group`` are not used: on a busy machine gloo sometimes hangs there, or aborts while
    the interpreter shuts down, without any code of this package in the process. The training has ended by then.
    """
    Path(f"{rendezvous}.finished.{rank}").touch()
    deadline = time.monotonic() + EXIT_TIMEOUT_S
    while not Path(f"{rendezvous}.finished.{1 - rank}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)  # another process has to end
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
