"""What reading an upload costs: decoding and validating it as the server does, against merely looking at its numbers.

    pip install -e '.[server,dev]'
    python benchmarks/ingest/wire.py [--rounds 15]

The floor is ``np.frombuffer`` on every column and ``np.isfinite(...).all()`` on those of real numbers: same bytes, in
the same dtypes, one array per column. Processor time of this process, of calls that are repeated for 50 ms a round.
Not measured: HTTP, compression of bodies, single records as JSON objects (the form for people).
"""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from figures import alternating, ratios, spread
from shapes import BIG, PIECES, RESNET50, SMALL, Bodies, Shape, upload

from relumine_server.api.uploads import decode

WINDOW_NS = 50_000_000
SHAPES = (BIG, PIECES, SMALL, RESNET50)
ARMS = ("decode", "floor")

Raw = list[tuple[bytes, np.dtype[Any]]]


def raw_columns(shape: Shape) -> Raw:
    """The bytes of every column of an upload, pieces joined, with its dtype."""
    sent = upload(shape, "r", 1)["records"]
    single = [*sent["scalars"].values(), *(sent[n] for n in ("unit_counts", "unit_columns", "rate_counts", "rates"))]
    found = []
    for pieces in [*([one] for one in single), *sent["units"].values()]:
        arrays = [np.frombuffer(base64.b64decode(one["data"]), "<" + one["dtype"]) for one in pieces]
        whole = np.concatenate(arrays)
        found.append((whole.tobytes(), whole.dtype))
    return found


def look_at(columns: Raw) -> bool:
    """The floor."""
    finite = True
    for raw, dtype in columns:
        values = np.frombuffer(raw, dtype)
        if dtype.kind == "f":
            finite &= bool(np.isfinite(values).all())
    return finite


def timed_us(call: Callable[[], object]) -> float:
    """Microseconds of processor per call."""
    calls, began, spent = 0, time.process_time_ns(), 0
    while spent < WINDOW_NS:
        call()
        calls, spent = calls + 1, time.process_time_ns() - began
    return spent / calls / 1e3


def measure(shape: Shape, rounds: int) -> None:
    """Print one row."""
    body, columns = Bodies(shape).body("r", 1), raw_columns(shape)
    calls = {"decode": lambda: decode(body), "floor": lambda: look_at(columns)}
    taken: dict[str, list[float]] = {name: [] for name in ARMS}
    for name in ARMS:
        timed_us(calls[name])
    for _, name in alternating(ARMS, rounds):
        taken[name].append(timed_us(calls[name]) / shape.records)
    raw = sum(len(one) for one, _ in columns)
    over = spread(ratios(taken["decode"], taken["floor"]), 1)
    units = f"{sum(shape.widths) * shape.steps:,}"
    print(f"{shape.name:<24} {units:>7} {spread(taken['decode']):>22} {spread(taken['floor']):>20} ", end="")
    print(f"{over:>20} {len(body):>10,} {len(body) / raw:>7.3f}")


def main() -> None:
    """Measure all shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"µs of processor per layer-record, {options.rounds} rounds: median (least–greatest)")
    print(f"{'upload':<24} {'units':>7} {'decode':>22} {'floor':>20} {'x floor':>20} {'bytes':>10} {'x raw':>7}")
    for shape in SHAPES:
        measure(shape, options.rounds)


if __name__ == "__main__":
    main()
