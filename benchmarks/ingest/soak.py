"""Twenty trainings of a ResNet-50 that upload once a second for ten minutes: the cost, and the lag of the server.

    python -m benchmarks.ingest.soak [--streams 20] [--seconds 600] [--every 30]

A real server on SQLite with the detector on. 49 layers, 22,720 units, one sampled step an upload, random phases; a
stream sends when an upload is due or, if it is late, at once. Lag is the time from when an upload was due to its 202.
Prints a line per interval: processor time of the server, lag, waiting writes, resident memory, bytes of the database
file and its WAL.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.common.server_process import Server, relumine
from benchmarks.common.stats import cpu_s
from benchmarks.ingest.upload_shapes import RESNET50
from relumine._export.upload_split import HALF_PRECISION_COLUMNS
from relumine.schemas.packing import pack
from relumine.schemas.record_table import Array, RecordTable

WIDTHS = RESNET50.widths
VARIANTS = 16  # different contents of unit columns
BATCH = 64
EVERY = 10
SETTINGS = {"REQUESTS_PER_SECOND": "0"}  # all streams have one address


def unit_columns(rng: np.random.Generator, width: int) -> dict[str, Array]:
    """Return the columns of one layer in which every unit is active on about a third of 64 examples."""
    active = rng.binomial(BATCH, 0.3, width).astype(np.float32)
    normal = {name: rng.standard_normal(width).astype(np.float32) for name in ("mean", "bias", "shift_weight")}
    normal |= {name: 0.01 * rng.standard_normal(width).astype(np.float32) for name in ("shift_input", "shift_bias")}
    silent = np.where(active > 0, 0, BATCH).astype(np.float32)
    positive = {name: 1 + rng.random(width).astype(np.float32) for name in ("var", "max", "update_shift")}
    return {"active": active, "silent": silent, "longest_silence": np.zeros(width, np.float32)} | normal | positive


def record_table(rng: np.random.Generator, step: int) -> RecordTable:
    """Return the records of one sampled step of all layers."""
    common: dict[str, Any] = {
        "first_step": step,
        "step": step,
        "since_step": step - EVERY,
        "n_examples": BATCH,
        "learning_rate": 0.1,
    }
    of_run: dict[str, Any] = {"layer_id": 0, "learning_rates": [0.1], "input_mean": 0.0, "input_std": 1.0, "loss": 1.0}
    norms = {"weight_norm": 2.0, "update_norm": 0.01, "grad_norm": 0.5}
    of_layers: list[dict[str, Any]] = [
        {"layer_id": i, "n_positions": 49 * BATCH, **norms} for i in range(1, len(WIDTHS) + 1)
    ]
    scalars = [common | record for record in (of_run, *of_layers)]
    return RecordTable.from_values(scalars, [{}] + [unit_columns(rng, width) for width in WIDTHS])


class UploadBodies:
    """Uploads put together from prepared pieces: making each from scratch would measure the sender."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        variants = [pack(record_table(rng, EVERY), HALF_PRECISION_COLUMNS) for _ in range(VARIANTS)]
        self._units = [json.dumps(variant["units"]) for variant in variants]
        self._rest = {name: value for name, value in variants[0].items() if name not in ("units", "scalars")}
        self._scalars = variants[0]["scalars"]
        layers = []
        for layer_id, width in enumerate(WIDTHS, 1):
            layers.append({"layer_id": layer_id, "name": f"l{layer_id}", "units": width, "split": "linear"})
        self._layers = json.dumps(layers)

    def body(self, run: str, seq: int) -> bytes:
        """Return the upload of a run with this number (from 1)."""
        steps = {"first_step": EVERY * seq, "step": EVERY * seq, "since_step": EVERY * (seq - 1)}
        columns = {name: _packed(value, len(WIDTHS) + 1) for name, value in steps.items()}
        rest = json.dumps({**self._rest, "scalars": self._scalars | columns})[1:-1]
        layers = self._layers if seq == 1 else "[]"
        head = f'{{"run":{{"id":"{run}"}},"session":"s1","seq":{seq},"layers":{layers}'
        return f'{head},"records":{{{rest},"units":{self._units[seq % VARIANTS]}}}}}'.encode()


def _packed(value: int, size: int) -> dict[str, str]:
    """Return a column of equal integers as the wire has it."""
    return {"dtype": "u4", "data": base64.b64encode(np.full(size, value, "<u4").tobytes()).decode()}


class Load:
    """Streams of uploads, their lags, and how many were not accepted."""

    def __init__(self, url: str, streams: int, seconds: float) -> None:
        self.url = url
        self.lags: list[float] = []
        self.refused = 0
        self._streams = streams
        self._seconds = seconds
        self._bodies = UploadBodies()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Run all streams until the time is over."""
        with ThreadPoolExecutor(self._streams) as pool:
            list(pool.map(self._stream, range(self._streams)))

    def _stream(self, number: int) -> None:
        start = time.monotonic() + random.random()
        with httpx.Client(timeout=60) as client:
            for seq in range(1, int(self._seconds) + 1):
                due = start + seq
                body = self._bodies.body(f"run{number}", seq)
                time.sleep(max(0.0, due - time.monotonic()))  # the stream's own rate
                answer = client.post(f"{self.url}/v1/uploads", content=body)
                with self._lock:
                    self.lags.append(time.monotonic() - due)
                    self.refused += answer.status_code != 202


class Report:
    """The table: a line per interval with what the server did in it."""

    def __init__(self, load: Load, server: Server, folder: Path) -> None:
        self._load = load
        self._server = server
        self._folder = folder
        self._start = time.monotonic()
        self._interval_start = self._start
        self._cpu_s = 0.0
        self._reported = 0
        self._most_waiting = 0
        self._start_interval(self._start)
        widths = {"s": 5, "uploads": 8, "CPU %": 6, "ms/upload": 9, "lag p50": 8, "p99 ms": 7, "waiting": 7}
        print(*(f"{name:>{width}}" for name, width in widths.items()), "RSS MiB file+WAL MB")

    def run(self, every_s: float) -> None:
        """Run the load and print a line per interval."""
        thread = threading.Thread(target=self._load.run)
        thread.start()
        while thread.is_alive():
            thread.join(0.25)
            waiting = httpx.get(f"{self._load.url}/readyz", timeout=30).json()["waiting"]
            self._most_waiting = max(self._most_waiting, waiting)
            now = time.monotonic()
            if now - self._interval_start >= every_s or not thread.is_alive():
                self._print_line(now)
                self._start_interval(now)

    def _start_interval(self, now: float) -> None:
        self._interval_start = now
        self._cpu_s = cpu_s(self._server.pid)
        self._reported = len(self._load.lags)
        self._most_waiting = 0

    def _print_line(self, now: float) -> None:
        lags = sorted(self._load.lags[self._reported :]) or [0.0]
        used_s = cpu_s(self._server.pid) - self._cpu_s
        uploads = max(len(self._load.lags) - self._reported, 1)
        p50_s = lags[len(lags) // 2]
        p99_s = lags[min(len(lags) - 1, int(0.99 * len(lags)))]
        file_mb = sum(file.stat().st_size for file in self._folder.glob("x.db*")) / 1e6
        print(
            f"{now - self._start:5.0f} {len(self._load.lags):8,} {100 * used_s / (now - self._interval_start):6.0f} "
            f"{1e3 * used_s / uploads:9.1f} {1e3 * p50_s:8.0f} {1e3 * p99_s:7.0f} {self._most_waiting:7} "
            f"{_resident_mib(self._server.pid):7.0f} {file_mb:,.0f}",
            flush=True,
        )


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--streams", type=int, default=20)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--every", type=float, default=30, help="seconds between two lines")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Start a server, load it, report."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with relumine(f"sqlite:///{folder}/x.db", folder, SETTINGS) as server:
            load = Load(server.url, options.streams, options.seconds)
            Report(load, server, folder).run(options.every)
            print(f"{len(load.lags):,} uploads, {load.refused} not accepted")


if __name__ == "__main__":
    main()
