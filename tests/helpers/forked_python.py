"""Real Python processes that need no time for their imports: forks of a process that has imported the modules already.

    process = SERVERS.start(["-m", "relumine_server", "serve"], stderr=subprocess.PIPE)

There is one process to fork of each kind in a test worker; it starts with the first program that needs it. A test that
needs an interpreter without these modules starts ``sys.executable`` itself.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("python_forker.py")
LOST = 9 << 8  # the wait status of a program whose end was not reported


class ForkedProcess(subprocess.Popen):
    """A ``Popen`` whose process is a fork. It has its own process id, but another parent, which reports its end."""

    def __init__(self, forker: Forker, modules: Sequence[str], arguments: Sequence[Any], **options: Any) -> None:
        self._forker = forker
        self._modules = modules
        super().__init__([os.fspath(argument) for argument in arguments], **options)

    def _execute_child(self, args, _executable, _preexec, _close, _pass, cwd, env, *rest) -> None:
        """Replace fork and exec; ``Popen`` calls this with the ends of the pipes."""
        stdin, _, _, stdout, _, stderr = pipes = rest[3:9]
        streams = [own if pipe == -1 else pipe for own, pipe in enumerate((stdin, stdout, stderr))]
        request = {
            "arguments": args,
            "modules": self._modules,
            "folder": os.fspath(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
        }
        self._report = self._forker.send(request, streams)
        self.pid = int(self._report.readline() or b"0")
        assert self.pid, "the process to fork has ended: its standard error says why"
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _internal_poll(self, *_arguments: Any, **_options: Any) -> int | None:
        """Replace the way that does not wait; ``Popen.poll`` calls it."""
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """Replace ``waitpid``."""
        if wait_flags & os.WNOHANG and not select.select([self._report], [], [], 0)[0]:
            return 0, 0
        status = int(self._report.readline() or LOST)
        self._report.close()
        return self.pid, status


class Forker:
    """The parent's end of a process to fork."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._requests: socket.socket | None = None

    def start(self, arguments: Sequence[Any], *, also: Sequence[str] = (), **options: Any) -> subprocess.Popen:
        """Start ``python arguments``; ``also`` are modules to import before.

        The first argument is the path of a file, or -m or -c.

        Options are those of ``Popen`` for streams, environment and folder.
        """
        if sys.platform != "linux":
            return subprocess.Popen([sys.executable, *arguments], **options)
        return ForkedProcess(self, [*self._modules, *also], arguments, **options)

    def run(self, arguments: Sequence[Any], **options: Any) -> subprocess.CompletedProcess:
        """Run ``python arguments`` to its end and return its output, as text."""
        with self.start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
            output, error = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, error)

    def send(self, request: dict[str, Any], streams: Sequence[int]):
        """Request a program; return the file with its process id and later its wait status."""
        if self._requests is None:
            self._requests = self._start_process()
        reading, writing = os.pipe()
        socket.send_fds(self._requests, [json.dumps(request).encode()], [*streams, writing])
        os.close(writing)
        return os.fdopen(reading, "rb", buffering=0)

    def _start_process(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        single_threaded = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-P", PROGRAM, str(theirs.fileno())]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=os.environ | single_threaded, **streams)
        theirs.close()
        atexit.register(process.wait)
        atexit.register(ours.close)  # called first: it ends the process
        return ours


SERVERS = Forker(
    "relumine_server.cli.main", "relumine_server.app", "relumine_server.server.supervisor", "psycopg", "uvloop"
)
TRAININGS = Forker(
    "torch",
    "torch._dynamo",  # imported by the first step of an optimizer
    "relumine",
    "relumine.testing",
)
