"""The output of a command is its own, whatever other threads of the process write meanwhile."""

from __future__ import annotations

import sys
import threading

import structlog

from tests.helpers.command_line import run_command


def test_what_an_earlier_thread_writes_is_not_output_of_the_command():
    stop, started = threading.Event(), threading.Event()

    def write_until_stopped():
        while not stop.is_set():
            sys.stderr.write("another test's server\n")
            structlog.get_logger().warning("another test's server")
            started.set()
            stop.wait(0.001)

    thread = threading.Thread(target=write_until_stopped)
    thread.start()
    try:
        started.wait()
        results = [run_command(["keys", "list"], RELUMINE_DATABASE_URL="not a database") for _ in range(50)]
    finally:
        stop.set()
        thread.join()
    assert {result.output.count("\n") for result in results} == {1}
    assert {"another test" in result.output for result in results} == {False}
