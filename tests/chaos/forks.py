"""Forks while a lock of the SDK is held, and DataLoader workers that collect garbage.

    python -m tests.chaos.forks [--forks 1000]

Prints how many children hung or failed, and whether each sampled step was sent once.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import relumine
from relumine.testing import InMemoryTransport

CHILD_TIMEOUT_S = 10


class GarbageCollectingRows(Dataset[torch.Tensor]):
    """A data set that collects garbage at every read, in the worker."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> torch.Tensor:
        gc.collect()
        return torch.full((8,), float(index))


def small_model() -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a model with one ReLU and its optimizer."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def run_child(optimizer: torch.optim.Optimizer, monitor: relumine.Monitor) -> None:
    """Do what a child may do: step, log, flush, close, collect garbage; exit with 0."""
    code = 1
    try:
        gc.collect()
        optimizer.step()
        monitor.log(loss=1.0)
        monitor.flush(1.0)
        monitor.close()
        code = 0
    finally:
        os._exit(code)


def wait_for_child(pid: int) -> bool:
    """Return whether the child exits with 0 within ten seconds; kill it otherwise."""
    deadline = time.monotonic() + CHILD_TIMEOUT_S
    while time.monotonic() < deadline:
        exited, status = os.waitpid(pid, os.WNOHANG)
        if exited:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)  # between two checks: os.waitpid knows no deadline
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False


def fork_with_lock_held(count: int) -> bool:
    """Fork from the training thread while another thread holds the lock of the queue, on sampled steps and others.

    Return whether every child exited well and each sampled step was sent once.
    """
    model, optimizer = small_model()
    with InMemoryTransport() as memory, relumine.watch(model, optimizer, every=2) as monitor:
        lock = monitor._session.queue._lock  # the lock that a child could wait for
        failures = 0
        for _ in range(count):
            model(torch.randn(4, 8)).sum().backward()
            optimizer.step()
            is_held = threading.Event()
            release = threading.Event()

            def hold(is_held: threading.Event = is_held, release: threading.Event = release) -> None:
                with lock:
                    is_held.set()
                    release.wait()

            holder = threading.Thread(target=hold)
            holder.start()
            is_held.wait()
            pid = os.fork()
            if pid == 0:
                run_child(optimizer, monitor)
            release.set()
            holder.join()
            failures += not wait_for_child(pid)
        monitor.flush()
        steps = [record.step for record in memory.records("1")]
    print(f"{count} forks with the lock held: {failures} children hung or failed; ", end="")
    print(f"{len(steps)} sampled steps sent, {len(steps) - len(set(steps))} twice, by the parent alone", flush=True)
    return not failures and steps == sorted(set(steps)) and len(steps) >= count // 2


def use_data_loaders() -> bool:
    """Use workers of all three start methods while every step is sampled; return whether each was sent once."""
    are_good = []
    for method in ("fork", "forkserver", "spawn"):
        model, optimizer = small_model()
        with InMemoryTransport() as memory, relumine.watch(model, optimizer, every=1) as monitor:
            loader = DataLoader(GarbageCollectingRows(), batch_size=8, num_workers=2, multiprocessing_context=method)
            batches = 0
            for _ in range(2):
                for batch in loader:
                    model(batch).square().mean().backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    batches += 1
            monitor.flush()
            steps = [record.step for record in memory.records("1")]
        are_good.append(steps == list(range(1, batches + 1)))
        verdict = "each once" if are_good[-1] else "WRONG"
        print(f"DataLoader, {method}: {batches} batches, {len(steps)} sampled steps, {verdict}", flush=True)
    return all(are_good)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--forks", type=int, default=1000)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Fork, then use data loaders."""
    options = parser().parse_args(arguments)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RELUMINE_DIR"] = folder
        results = [fork_with_lock_held(options.forks), use_data_loaders()]
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
