"""Forks at the worst moments: while every lock of the SDK is held, and in DataLoader workers that collect garbage.

python benchmarks/chaos/forks.py [--forks 1000]
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
import time
import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import relumine
from relumine.testing import MemoryTransport


class Rows(Dataset[torch.Tensor]):
    """A data set whose every read collects garbage, in the worker."""

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> torch.Tensor:
        gc.collect()
        return torch.full((8,), float(index))


def child(optimizer: torch.optim.Optimizer, monitor: relumine.Monitor) -> None:
    """What a child may do: step, log, flush, close, collect."""
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


def ended(pid: int) -> bool:
    """Whether the child ended well within ten seconds."""
    for _ in range(1000):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)  # between two looks at the child: os.waitpid knows no deadline
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False


def forks(count: int) -> None:
    """Fork from the training thread while another one holds the buffer's lock, armed and not."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with MemoryTransport() as memory, relumine.watch(model, optimizer, every=2) as monitor:
        lock = monitor._engine.buffer._lock  # type: ignore[union-attr]  # noqa: SLF001 - the lock that matters
        bad = 0
        for _ in range(count):
            model(torch.randn(4, 8)).sum().backward()
            optimizer.step()
            holding, release = threading.Event(), threading.Event()

            def hold(holding: threading.Event = holding, release: threading.Event = release) -> None:
                with lock:
                    holding.set()
                    release.wait()

            holder = threading.Thread(target=hold)
            holder.start()
            holding.wait()
            pid = os.fork()
            if pid == 0:
                child(optimizer, monitor)
            release.set()
            holder.join()
            bad += not ended(pid)
        monitor.flush()
        steps = [record.step for record in memory.records("1")]
    print(f"{count} forks with the lock held: {bad} children hung or failed; ", end="")
    print(f"{len(steps)} looks sent, {len(steps) - len(set(steps))} twice, by the parent alone")


def loaders() -> None:
    """Workers by all three start methods while the model is watched at every step."""
    for method in ("fork", "forkserver", "spawn"):
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with MemoryTransport() as memory, relumine.watch(model, optimizer, every=1) as monitor:
            loader = DataLoader(Rows(), batch_size=8, num_workers=2, multiprocessing_context=method)
            batches = 0
            for _ in range(2):
                for batch in loader:
                    model(batch).square().mean().backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    batches += 1
            monitor.flush()
            steps = [record.step for record in memory.records("1")]
        ok = steps == list(range(1, batches + 1))
        print(f"DataLoader, {method}: {batches} batches, {len(steps)} looks, {'each once' if ok else 'WRONG'}")


def main() -> None:
    """Both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forks", type=int, default=1000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RELUMINE_DIR"] = folder
        forks(options.forks)
        loaders()


if __name__ == "__main__":
    main()
