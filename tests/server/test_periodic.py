"""A periodic worker outlives every failure, and a failing item costs no other item its turn."""

from __future__ import annotations

import threading

import pytest
import structlog

from relumine_server.errors import Busy
from relumine_server.metrics import Metrics
from relumine_server.periodic import PeriodicWorker

WAIT_S = 60


class Worker(PeriodicWorker):
    """Calls ``step`` for every run of a round; ``rounds`` counts the rounds that ended."""

    def __init__(self, step=lambda run_id: 1, run_ids=(), *, interval_s=3600.0, limit=None):
        self.metrics = Metrics()
        super().__init__("maintenance", interval_s, self.metrics)
        self.step, self.run_ids, self.limit = step, run_ids, limit
        self.processed = []
        self.rounds = threading.Semaphore(0)

    def _round(self):
        try:
            self._for_each_run("compact", self.run_ids, self.process, self.limit)
        finally:
            self.rounds.release()

    def process(self, run_id):
        self.processed.append(run_id)
        return self.step(run_id)

    def failures(self, task):
        return self.metrics.maintenance_failures.labels(task)._value.get()

    def finish_round(self):
        self.wake()
        assert self.rounds.acquire(timeout=WAIT_S)


def fail(run_id):
    raise ValueError(run_id)


def test_a_round_that_fails_is_counted_and_the_next_one_runs():
    worker = Worker()
    worker.run_ids = None  # not iterable: the round itself fails
    worker.start()
    with structlog.testing.capture_logs() as logs:
        worker.finish_round()
        worker.finish_round()
        worker.stop(WAIT_S)
    assert worker.failures("maintenance") == 2
    assert [log["task"] for log in logs] == ["maintenance", "maintenance"]


def test_a_worker_waits_for_its_interval_unless_it_is_woken():
    worker = Worker(run_ids=["a"])
    worker.start()
    worker.finish_round()
    worker.stop(WAIT_S)
    assert worker.processed == ["a"]
    quick = Worker(run_ids=["a"], interval_s=0.001)
    quick.start()
    assert quick.rounds.acquire(timeout=WAIT_S)
    quick.stop(WAIT_S)


def test_a_worker_starts_only_once():
    worker = Worker()
    worker.stop(0)  # before the start there is nothing to wait for
    worker = Worker()
    worker.start()
    with pytest.raises(RuntimeError, match="started already"):
        worker.start()
    worker.stop(WAIT_S)


def test_a_worker_stops_after_the_item_in_progress():
    entered = threading.Event()
    may_go_on = threading.Event()

    def step(run_id):
        entered.set()
        assert may_go_on.wait(WAIT_S)
        return 1

    worker = Worker(step, ["a", "b"])
    worker.start()
    worker.wake()
    assert entered.wait(WAIT_S)
    worker.stop(0)
    may_go_on.set()
    worker.stop(WAIT_S)
    assert worker.processed == ["a"]


@pytest.mark.parametrize("error", [ValueError("damaged"), Busy()])
def test_an_item_that_fails_is_counted_and_stops_no_other_item(error):
    def step(run_id):
        if run_id == "damaged":
            raise error
        return 1

    worker = Worker(step, ["damaged", "healthy"])
    with structlog.testing.capture_logs() as logs:
        worker._round()
    assert worker.processed == ["damaged", "healthy"]
    assert worker.failures("compact") == 1
    assert [(log["task"], log["run_id"]) for log in logs] == [("compact", "damaged")]


def test_items_that_failed_come_last_so_that_a_limit_never_starves_the_others():
    worker = Worker(fail, ["a", "b", "c", "d"], limit=2)
    worker._round()
    worker._round()
    assert worker.processed == ["a", "b", "c", "d"]
