"""A process with one thread that imports modules once and runs Python programs in forks of itself.

Started by ``forked_python``, which sends it requests over a socket, each with the program's standard streams and a pipe
for its process id and its wait status. It imports nothing of this package, as the forks must not have it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

MESSAGE_BYTES = 2**20
INSTALLED = [path for path in sys.path if path not in os.environ.get("PYTHONPATH", "").split(os.pathsep)]


def serve(requests: socket.socket) -> None:
    """Start the program of each request, until the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the programs get it back
    while True:
        message, files, _, _ = socket.recv_fds(requests, MESSAGE_BYTES, 4)
        _reap()
        if not message:
            return
        request = json.loads(message)
        _preload(request["modules"])
        if os.fork() == 0:
            requests.close()
            _watch(request, files)
        for file in files:
            os.close(file)


def _reap() -> None:
    """Collect the processes that watched a program which has ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _preload(modules: list[str]) -> None:
    missing = [name for name in modules if name not in sys.modules]
    for name in missing:
        importlib.import_module(name)
    if missing:
        gc.freeze()  # collections in the forks must not copy this memory
    threads = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    assert len(threads) == 1, f"a process with threads cannot be forked: {threads}"


def _watch(request: dict[str, Any], files: list[int]) -> NoReturn:
    """Run the program in a child, and report its process id and then its wait status."""
    *streams, report = files
    pid = os.fork()
    if pid == 0:
        os.close(report)
        _become(request, streams)
    for file in (*streams, 0, 1, 2):
        os.close(file)
    os.write(report, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):  # the test no longer waits for it
        os.write(report, b"%d\n" % status)
    os._exit(0)


def _become(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Turn this process into ``python arguments``."""
    for target, file in enumerate(streams):
        os.dup2(file, target)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    _open_streams()
    os.chdir(request["folder"])
    tempfile.tempdir = None  # it depends on the environment
    importlib.invalidate_caches()
    _seed()
    _end(_exit_code_of(request["arguments"]))


def _seed() -> None:
    """Let torch draw the same in each program: one small net in two hundred has a unit that is dead from the start."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.manual_seed(0)


def _open_streams() -> None:
    """Reopen the standard streams: whether one can seek is decided when it is opened."""
    text = {"encoding": sys.stdout.encoding, "closefd": False}
    sys.stdin = sys.__stdin__ = open(0, **text)  # noqa: SIM115 - it stays open
    sys.stdout = sys.__stdout__ = open(1, "w", **text)  # noqa: SIM115 - the same
    sys.stderr = sys.__stderr__ = open(2, "w", errors="backslashreplace", **text)  # noqa: SIM115 - the same
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty() and not is_unbuffered, write_through=is_unbuffered)
    sys.stderr.reconfigure(line_buffering=not is_unbuffered, write_through=is_unbuffered)


def _exit_code_of(arguments: list[str]) -> int:
    """Run the program; return the exit code that the interpreter would give it."""
    try:
        _run(arguments)
    except SystemExit as request:
        if isinstance(request.code, str):
            sys.stderr.write(request.code + "\n")
        return request.code if isinstance(request.code, int) else int(request.code is not None)
    except BaseException as error:  # noqa: BLE001 - as the interpreter does
        sys.last_type, sys.last_value, sys.last_traceback = error_info = (type(error), error, error.__traceback__)
        sys.excepthook(*error_info)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _run(arguments: list[str]) -> None:
    """Run ``-m module``, ``-c code`` or a file, as the interpreter would."""
    kind = arguments[0]
    sys.argv = arguments[1:] if kind == "-m" else arguments
    folders = {"-m": str(Path.cwd()), "-c": ""}
    folder = folders[kind] if kind in folders else str(Path(kind).resolve().parent)
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [folder, *filter(None, named), *INSTALLED]
    if kind == "-m":
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        _run_code(arguments)
    else:
        runpy.run_path(arguments[0], run_name="__main__")


def _run_code(arguments: list[str]) -> None:
    """Run ``-c code`` in a new module ``__main__``."""
    sys.argv = ["-c", *arguments[2:]]
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(arguments[1], "<string>", "exec"), main.__dict__)  # noqa: S102 - what the interpreter does


def _end(exit_code: int) -> NoReturn:
    """Exit as the interpreter does, but without freeing the memory of the imports."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if exit_code < 0:
        signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    os._exit(exit_code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
