"""Twenty trainings of a ResNet-50 send once a second for ten minutes: what it costs, and whether the server keeps up.

    python benchmarks/ingest/streams.py [--streams 20] [--seconds 600] [--every 30]

A real server on SQLite with the detector on. 49 layers, 22,720 units, one sampled step an upload, random phases; a
stream sends when an upload is due or, if it is late, at once. Lag is from when it was due to its 202. Prints a line per
interval: processor time of the server, lag, works that wait, resident memory, bytes of the file and its WAL.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import cpu_s

from relumine.packed import pack
from relumine.table import RecordTable

WIDTHS = [64] + [64, 64, 256] * 3 + [128, 128, 512] * 4 + [256, 256, 1024] * 6 + [512, 512, 2048] * 3
VARIANTS = 16  # different contents of unit columns
N = 64
HALF = frozenset({"var", "max", "update_shift"})


def units(rng: np.random.Generator, width: int) -> dict[str, np.ndarray]:
    """What one layer sends: every unit fires on about a third of 64 examples."""
    active = rng.binomial(N, 0.3, width).astype(np.float32)
    normal = {name: rng.standard_normal(width).astype(np.float32) for name in ("mean", "bias", "shift_weight")}
    normal |= {name: 0.01 * rng.standard_normal(width).astype(np.float32) for name in ("shift_input", "shift_bias")}
    silent = np.where(active > 0, 0, N).astype(np.float32)
    positive = {name: 1 + rng.random(width).astype(np.float32) for name in ("var", "max", "update_shift")}
    return {"active": active, "silent": silent, "longest_silence": np.zeros(width, np.float32)} | normal | positive


def table(rng: np.random.Generator, step: int) -> RecordTable:
    """One sampled step of all layers."""
    own = {
        "layer_id": 0,
        "learning_rates": [0.1],
        "learning_rate": 0.1,
        "input_mean": 0.0,
        "input_std": 1.0,
        "loss": 1.0,
    }
    rows = [own] + [
        {
            "layer_id": i,
            "n_positions": 49 * N,
            "learning_rate": 0.1,
            "weight_norm": 2.0,
            "update_norm": 0.01,
            "grad_norm": 0.5,
        }
        for i in range(1, len(WIDTHS) + 1)
    ]
    scalars = [{"first_step": step, "step": step, "since_step": step - 10, "n_examples": N} | row for row in rows]
    return RecordTable.build(scalars, [{}] + [units(rng, width) for width in WIDTHS])


class Bodies:
    """Uploads put together from prepared pieces: making each afresh would measure the sender."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        sent = [pack(table(rng, 10), HALF) for _ in range(VARIANTS)]
        self._units = [json.dumps(one["units"]) for one in sent]
        self._rest = {name: value for name, value in sent[0].items() if name not in ("units", "scalars")}
        self._scalars = sent[0]["scalars"]
        described = [{"layer_id": i, "name": f"l{i}", "units": w, "split": "linear"} for i, w in enumerate(WIDTHS, 1)]
        self._layers = json.dumps(described)

    def make(self, run: str, seq: int) -> bytes:
        """The upload of a run with this number."""
        steps = {name: _column(value, len(WIDTHS) + 1) for name, value in self._steps(seq).items()}
        rest = json.dumps({**self._rest, "scalars": self._scalars | steps})[1:-1]
        head = f'{{"run":{{"id":"{run}"}},"session":"s1","seq":{seq},"layers":{self._layers if seq == 1 else "[]"}'
        return f'{head},"records":{{{rest},"units":{self._units[seq % VARIANTS]}}}}}'.encode()

    def _steps(self, seq: int) -> dict[str, int]:
        return {"first_step": 10 * seq, "step": 10 * seq, "since_step": 10 * seq - 10}


def _column(value: int, size: int) -> dict[str, str]:
    return {"dtype": "u4", "data": base64.b64encode(np.full(size, value, "<u4").tobytes()).decode()}


class Load:
    """Sends, and keeps what came of it."""

    def __init__(self, url: str, streams: int, seconds: float) -> None:
        self.url, self.streams, self.seconds = url, streams, seconds
        self.lags: list[float] = []
        self.refused = 0
        self._bodies = Bodies()
        self._lock = threading.Lock()

    def run(self) -> None:
        """All streams, until the time is over."""
        with ThreadPoolExecutor(self.streams) as pool:
            list(pool.map(self._stream, range(self.streams)))

    def _stream(self, number: int) -> None:
        began = time.monotonic() + random.random()
        with httpx.Client(timeout=60) as client:
            for seq in range(1, int(self.seconds) + 1):
                due = began + seq
                body = self._bodies.make(f"run{number}", seq)
                time.sleep(max(0.0, due - time.monotonic()))  # the stream's own pace
                answer = client.post(f"{self.url}/v1/uploads", content=body)
                with self._lock:
                    self.lags.append(time.monotonic() - due)
                    self.refused += answer.status_code != 202


def watch(load: Load, server: subprocess.Popen[bytes], folder: Path, every: float) -> None:
    """A line per interval while the load runs."""
    widths = {"s": 5, "uploads": 8, "CPU %": 6, "ms/upload": 9, "lag p50": 8, "p99 ms": 7, "waiting": 7, "RSS MiB": 7}
    print(*(f"{name:>{width}}" for name, width in widths.items()), "file+WAL MB")
    thread = threading.Thread(target=load.run)
    thread.start()
    began = last = time.monotonic()
    cpu, seen, most = cpu_s(server.pid), 0, 0
    while thread.is_alive():
        thread.join(0.25)
        most = max(most, httpx.get(f"{load.url}/readyz", timeout=30).json()["waiting"])
        now = time.monotonic()
        if now - last >= every or not thread.is_alive():
            lags = sorted(load.lags[seen:]) or [0.0]
            used, count = cpu_s(server.pid) - cpu, max(len(load.lags) - seen, 1)
            mid, high = lags[len(lags) // 2], lags[min(len(lags) - 1, int(0.99 * len(lags)))]
            size = sum(file.stat().st_size for file in folder.glob("x.db*")) / 1e6
            print(
                f"{now - began:5.0f} {len(load.lags):8,} {100 * used / (now - last):6.0f} {1e3 * used / count:9.1f} "
                f"{1e3 * mid:8.0f} {1e3 * high:7.0f} {most:7} {_resident_mib(server.pid):7.0f} {size:,.0f}",
                flush=True,
            )
            cpu, seen, last, most = cpu_s(server.pid), len(load.lags), now, 0


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Start a server, load it, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--every", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), 17_358
        settings = {"RELUMINE_DATABASE_URL": f"sqlite:///{folder}/x.db", "RELUMINE_PORT": str(port)}
        settings["RELUMINE_REQUESTS_PER_SECOND"] = "0"  # all streams have one address
        command = [sys.executable, "-m", "relumine_server", "serve"]
        server = subprocess.Popen(command, env=os.environ | settings, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        try:
            _await(url)
            load = Load(url, options.streams, options.seconds)
            watch(load, server, folder, options.every)
            print(f"{len(load.lags):,} uploads, {load.refused} not accepted")
        finally:
            server.terminate()
            server.wait()


def _await(url: str) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)  # between two looks at a starting server
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()
