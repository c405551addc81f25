"""A program in a fork behaves as one that the interpreter starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.helpers.forked_python import Forker

BARE = Forker()
PROGRAM = """
import atexit, os, sys, threading, time

import beside

atexit.register(print, "exit handler")
print(__name__, sys.argv, sys.path[:2], os.getcwd(), os.environ["X"], globals().get("__file__"), beside.__file__)
print(sys.stdin.read(), threading.current_thread().name)
sys.stdout.reconfigure(errors="backslashreplace")
print(sys.stdout.seekable(), sys.stderr.errors)
print([(stream.line_buffering, stream.write_through) for stream in (sys.stdout, sys.stderr)])
"""
ENDS = {
    "returns": "",
    "raises": "1 / 0",
    "exits with 3": "sys.exit(3)",
    "exits with a message": "sys.exit('reason')",
    "leaves a thread": "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()",
    "is interrupted": "raise KeyboardInterrupt",
    "kills itself": "sys.stdout.flush(); os.kill(os.getpid(), 9)",
}


def run(start, arguments, folder):
    """Run a program; return its exit code, its output and the last line of its errors."""
    environment = {**os.environ, "X": "of the test", "PYTHONPATH": str(folder / "named")}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with start(arguments, env=environment, cwd=folder, text=True, **pipes) as process:
        output, error = process.communicate("input")
    return process.returncode, output, error.splitlines()[-1:]


def execute(arguments, **options):
    return subprocess.Popen([sys.executable, *arguments], **options)


@pytest.mark.parametrize(
    "arguments", [["{folder}/program.py", "--one"], ["-m", "folder.program", "two"], ["-c", "{code}", "three"]], ids=str
)
@pytest.mark.parametrize("end", ENDS)
def test_it_ends_with_the_same_exit_code_and_output(end, arguments, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "beside.py").touch()
    (tmp_path / "folder" / "program.py").write_text(PROGRAM + ENDS[end])
    values = {"folder": tmp_path / "folder", "code": PROGRAM + ENDS[end]}
    arguments = [argument.format(**values) for argument in arguments]
    in_fork = run(BARE.start, arguments, tmp_path)
    assert in_fork == run(execute, arguments, tmp_path)
    assert "of the test" in in_fork[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_has_a_process_id_of_its_own_and_ends_by_a_signal(number, tmp_path):
    (tmp_path / "waits.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    with BARE.start([tmp_path / "waits.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert int(process.stdout.readline()) == process.pid != os.getpid()
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait() == process.poll() == -number
