"""The cost of decoding and validating an upload as the server does, against only reading its numbers.

    python -m benchmarks.ingest.decoding [--rounds 15] [--window-ms 50]

The baseline is ``np.frombuffer`` on every column and ``np.isfinite(...).all()`` on the real ones: the same bytes in the
same dtypes, one array per column. Printed is the processor time of this process; calls are repeated for a window per
round. Not measured: HTTP, compressed bodies, single records as JSON objects (the form for people).
"""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from benchmarks.common.stats import alternating, median_range, ratios
from benchmarks.ingest.upload_shapes import BIG, PIECES, RESNET50, SMALL, Shape, UploadBodies, decode, upload_json

SHAPES = (BIG, PIECES, SMALL, RESNET50)
ARMS = ("decode", "baseline")

RawColumns: TypeAlias = list[tuple[bytes, np.dtype[Any]]]


def raw_columns(shape: Shape) -> RawColumns:
    """Return the bytes of every column of an upload, pieces joined, with its dtype."""
    records = upload_json(shape, "r", 1)["records"]
    whole_columns = list(records["scalars"].values())
    whole_columns += [records[name] for name in ("unit_counts", "unit_columns", "rate_counts", "rates")]
    columns = []
    for pieces in [*([column] for column in whole_columns), *records["units"].values()]:
        arrays = [np.frombuffer(base64.b64decode(piece["data"]), "<" + piece["dtype"]) for piece in pieces]
        joined = np.concatenate(arrays)
        columns.append((joined.tobytes(), joined.dtype))
    return columns


def read_columns(columns: RawColumns) -> bool:
    """Return whether all real numbers are finite: the baseline."""
    finite = True
    for raw, dtype in columns:
        values = np.frombuffer(raw, dtype)
        if dtype.kind == "f":
            finite &= bool(np.isfinite(values).all())
    return finite


def cpu_us(call: Callable[[], object], window_ns: int) -> float:
    """Return microseconds of processor per call."""
    calls = 0
    elapsed_ns = 0
    start = time.process_time_ns()
    while elapsed_ns < window_ns:
        call()
        calls += 1
        elapsed_ns = time.process_time_ns() - start
    return elapsed_ns / calls / 1e3


def measure(shape: Shape, rounds: int, window_ns: int) -> None:
    """Measure one shape and print its row."""
    body = UploadBodies(shape).body("r", 1)
    columns = raw_columns(shape)
    calls: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(body),
        "baseline": lambda: read_columns(columns),
    }
    for arm in ARMS:
        cpu_us(calls[arm], window_ns)  # warm up
    costs: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _, arm in alternating(ARMS, rounds):
        costs[arm].append(cpu_us(calls[arm], window_ns) / shape.records)
    raw_size = sum(len(raw) for raw, _ in columns)
    relative = median_range(ratios(costs["decode"], costs["baseline"]), 1)
    units = f"{sum(shape.widths) * shape.steps:,}"
    print(f"{shape.name:<24} {units:>7} {median_range(costs['decode']):>22} ", end="")
    print(f"{median_range(costs['baseline']):>20} {relative:>20} {len(body):>10,} {len(body) / raw_size:>7.3f}")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--window-ms", type=float, default=50, help="time for which a call is repeated in a round")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all shapes."""
    options = parser().parse_args(arguments)
    print(f"µs of processor per layer record, {options.rounds} rounds: median (least–greatest)")
    print(f"{'upload':<24} {'units':>7} {'decode':>22} {'baseline':>20} {'x baseline':>20} {'bytes':>10} {'x raw':>7}")
    for shape in SHAPES:
        measure(shape, options.rounds, int(1e6 * options.window_ms))


if __name__ == "__main__":
    main()
