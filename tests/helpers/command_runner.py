"""A process that has loaded torch and runs commands in forks of itself: they are isolated and need no time for imports.

with running() as runner:
    result = runner.run("benchmarks.ingest.decoding", ["--rounds", "1"])
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "torch",
    "torch._dynamo",  # imported by the first step of an optimizer
    "sklearn.linear_model",
    "scipy.special",
    "relumine",
    "relumine_server.app",
    "research.scoring.score",
)


class Result(NamedTuple):
    """The result of a command."""

    exit_code: int
    output: str
    cpu_s: float


class CommandRunner:
    """The parent's end of the process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, module: str, arguments: Sequence[str]) -> Result:
        """Run ``python -m module arguments`` from the root of the repository."""
        print(json.dumps([module, *arguments]), file=self._process.stdin, flush=True)
        exit_code, output, cpu_s = json.loads(self._process.stdout.readline())
        return Result(exit_code, output, cpu_s)


@contextmanager
def running(folder: Path) -> Iterator[CommandRunner]:
    """Start the process; commands keep their temporary files in ``folder``."""
    environment = os.environ | {"TMPDIR": str(folder), "RELUMINE_DIR": str(folder / "spool"), "OMP_NUM_THREADS": "1"}
    paths = [str(ROOT), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.command_runner"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    try:
        yield CommandRunner(process)
    finally:
        process.communicate(timeout=60)  # closes its input, which ends it


def serve_commands() -> None:
    """Run each command of standard input in a fork, and write its result to standard output."""
    for name in PRELOADED:
        __import__(name)
    gc.freeze()  # collections in the forks must not copy this memory
    for line in sys.stdin:
        module, *arguments = json.loads(line)
        with tempfile.TemporaryFile() as output:
            start = _cpu_s_of_children()
            pid = os.fork()
            if pid == 0:
                _run_in_fork(module, arguments, output.fileno())
            _, status = os.waitpid(pid, 0)
            output.seek(0)
            text = output.read().decode(errors="replace")
        result = [os.waitstatus_to_exitcode(status), text, _cpu_s_of_children() - start]
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


def _run_in_fork(module: str, arguments: list[str], output: int) -> NoReturn:
    """Run the command and exit, with exit handlers but without freeing the memory of the parent's imports."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [module, *arguments]
    exit_code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as request:
        exit_code = request.code if isinstance(request.code, int) else int(request.code is not None)
        if isinstance(request.code, str):
            sys.stderr.write(request.code + "\n")
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        exit_code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _cpu_s_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    serve_commands()
