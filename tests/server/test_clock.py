"""Since when a process can receive uploads: its start, a jump of its clock, an outage of its database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relumine_server.clock import JUMP_S, Uptime

START = datetime(2026, 11, 23, 14, tzinfo=UTC)


class Clocks:
    """A wall clock and a steady clock that a test moves."""

    def __init__(self):
        self.now = START
        self.steady_s = 100.0
        self.outages = 0
        self.uptime = Uptime(lambda: self.now, lambda: self.steady_s, lambda: self.outages)

    def run(self, *, seconds):
        self.now += timedelta(seconds=seconds)
        self.steady_s += seconds

    def jump(self, **duration):
        self.now += timedelta(**duration)


@pytest.fixture
def clocks():
    return Clocks()


def test_a_process_observes_since_its_start(clocks):
    clocks.run(seconds=3600)
    assert clocks.uptime.since() == START
    assert (clocks.uptime.seconds_up(), clocks.uptime.seconds_since_jump()) == (3600, None)


@pytest.mark.parametrize("days", [1, -1, 400])
def test_it_observes_anew_since_a_jump_of_its_clock(clocks, days):
    clocks.run(seconds=60)
    clocks.jump(days=days)
    assert clocks.uptime.since() == clocks.now
    clocks.run(seconds=10)
    assert clocks.uptime.since() == clocks.now - timedelta(seconds=10)
    assert clocks.uptime.seconds_since_jump() == 10


def test_a_suspended_machine_jumps_when_it_wakes_up(clocks):
    clocks.jump(hours=8)  # the steady clock stood still
    assert clocks.uptime.since() == clocks.now


def test_a_clock_that_a_time_server_corrects_slowly_does_not_jump(clocks):
    for _ in range(100):
        clocks.run(seconds=60)
        clocks.jump(seconds=JUMP_S / 10)
        assert clocks.uptime.since() == START


def test_it_observes_anew_since_the_last_outage_of_its_database(clocks):
    clocks.run(seconds=60)
    clocks.outages += 3
    assert clocks.uptime.since() == START + timedelta(seconds=60)
    clocks.run(seconds=60)
    assert clocks.uptime.since() == START + timedelta(seconds=60)
