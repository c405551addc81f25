"""An interrupt at any line of the SDK, or from another thread, leaves nothing."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading

import pytest
import torch
from torch.overrides import _get_current_function_mode_stack

import relumine
from tests.helpers.interrupted_training import CLEAN, build, leftovers, step

# Of the lines of the SDK on a sampled step every so many-th is interrupted: each costs a small training.
STRIDE = int(os.environ.get("INTERRUPT_STRIDE", "17"))


def raise_at_line(number, error):
    """Return a trace function that raises at the n-th line of the SDK's training thread, and counts them."""
    count = [0]

    def is_ours(frame):
        return "/relumine/_" in frame.f_code.co_filename

    def trace(frame, event, _argument):
        enters_no_grad = "grad_mode" in frame.f_code.co_filename and is_ours(frame.f_back)
        if not is_ours(frame) and not enters_no_grad:
            return None
        if event == "line":
            count[0] += 1
            if count[0] == number:
                sys.settrace(None)
                raise error
        return trace

    return trace, count


def test_an_interrupt_at_any_line_of_the_sdk_leaves_nothing(memory):
    def attempt(number):
        model, optimizer = build()
        monitor = relumine.watch(model, optimizer, every=1)
        step(model, optimizer, 1)
        trace, count = raise_at_line(number, KeyboardInterrupt)
        gc.disable()  # Python swallows what is raised in a finalizer: one of an earlier attempt may not run here
        sys.settrace(trace)
        try:
            step(model, optimizer, 2)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
            gc.enable()
        assert torch.is_grad_enabled(), number
        optimizer.zero_grad()
        for seed in (3, 4, 5, 6):
            step(model, optimizer, seed)
        assert _get_current_function_mode_stack() == [], number
        assert set(monitor.coverage()) == {"body.2", "relu"}, number
        stats = monitor.sdk_stats()
        monitor.close()
        assert leftovers() == CLEAN, number
        assert stats["errors"] == 0, (number, stats["last_error"])
        assert stats["sampled_steps"] >= 4, number
        return count[0]

    lines = attempt(10**9)
    assert lines > 300
    for number in range(1, lines + 1, STRIDE):
        attempt(number)


class Stop(BaseException):
    """An interrupt that is not the one which ends pytest itself."""


# One that comes while a finalizer runs, of torch or of Python, is printed and dropped by Python.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_from_another_thread_is_like_any_other(memory):
    model, optimizer = build()
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    arguments = (ctypes.c_ulong(threading.get_ident()), ctypes.py_object(Stop))
    monitor = relumine.watch(model, optimizer, every=1)
    interrupts = 0
    for delay in range(30):
        timer = threading.Timer(0.0005 * delay, raise_in, arguments)
        try:
            timer.start()
            for seed in range(2_000):
                step(model, optimizer, seed)
        except Stop:
            interrupts += 1
        timer.join()
        torch.set_grad_enabled(True)  # it may have come within torch's own no_grad, in the optimizer
        optimizer.zero_grad()
        step(model, optimizer, 1)
        assert _get_current_function_mode_stack() == []
    assert interrupts > 20
    assert set(monitor.coverage()) == {"body.2", "relu"}
    monitor.close()
    assert leftovers() == CLEAN
