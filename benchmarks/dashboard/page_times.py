"""The times of the dashboard in a real browser: the first chart, a live update, the list of runs; and their bytes.

    python -m benchmarks.dashboard.page_times [--layers 49] [--records 1000000] [--runs 5000] [--updates 20]

A server with a run of that many records, in as many layers, and that many other runs. Chromium opens the run with an
empty cache and again with a warm one: printed is the time from the navigation to the first drawn chart. Then one record
per layer and update is uploaded, and the time that the page spends on it in its main thread is printed. The list of
runs is timed until its first row. Needs the system's Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import LayerInfo, RunInfo, Upload
from relumine_server import log_config
from relumine_server.db import migrations
from relumine_server.db.database import Database
from relumine_server.ingest.service import IngestService
from relumine_server.timeseries import compaction

RUN = "large"
UNITS = 8
EXAMPLES = 64
STEPS_PER_UPLOAD = 50
UPDATE_PAUSE_S = 2.5
"""Longer than the page waits between two requests."""

OBSERVE = """() => {
  window.costs = [];
  new PerformanceObserver((list) => {
    for (const { name, duration } of list.getEntries()) window.costs.push([name, duration]);
  }).observe({ entryTypes: ["measure"] });
}"""
DRAWN_MS = "performance.getEntriesByName('timeline-drawn')[0]?.startTime ?? null"
BYTES = """() => [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")]
  .filter(({ name }) => !name.includes("/v1/")).reduce((sum, entry) => sum + entry.encodedBodySize, 0)"""


def records(layers: int, steps: range, chance: np.random.Generator) -> RecordTable:
    """Return one record per step for the run itself, and one per step and layer."""
    scalars: list[dict[str, Any]] = []
    columns: list[dict[str, np.ndarray]] = []
    for step in steps:
        span = {"first_step": step, "step": step, "n_examples": EXAMPLES}
        scalars.append({"layer_id": 0, **span, "loss": 1.0 / step, "learning_rate": 0.1})
        columns.append({})
        for layer_id in range(1, layers + 1):
            scalars.append({"layer_id": layer_id, **span})
            columns.append({"active": chance.binomial(EXAMPLES, 0.4, UNITS).astype(np.uint32)})
    return RecordTable.from_values(scalars, columns)


def fill(database: Database, layers: int, steps: int, runs: int) -> None:
    """Ingest the large run, and ``runs`` runs of a few records."""
    service = IngestService("")
    chance = np.random.default_rng(0)
    for first in range(1, steps + 1, STEPS_PER_UPLOAD):
        part = records(layers, range(first, min(first + STEPS_PER_UPLOAD, steps + 1)), chance)
        _ingest(database, service, RUN, first, layers, part)
    while database.write(lambda connection: compaction.compact(connection, RUN)):
        pass
    for number in range(runs):
        _ingest(database, service, f"run{number}", 1, 1, records(1, range(1, 4), chance))


def _ingest(database: Database, service: IngestService, run: str, seq: int, layers: int, part: RecordTable) -> None:
    described = [
        LayerInfo(layer_id=number, name=f"block{number % 7}.fc{number}", units=UNITS) for number in range(1, layers + 1)
    ]
    upload = Upload(
        run=RunInfo(id=run, name=run), session="s", seq=seq, layers=described if seq == 1 else [], records=part
    )
    database.write(partial(_write, service, upload))


def _write(service: IngestService, upload: Upload, connection: sa.Connection) -> None:
    service.ingest(connection, upload, datetime.now(UTC))


def chromium(playwright: Playwright) -> Browser:
    """Start the system's Chromium."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])


@contextlib.contextmanager
def serving(url: str) -> Iterator[str]:
    """Run a server of this database in a process of its own; yield its address."""
    command = [sys.executable, "-m", "relumine_server", "serve", "--port", "0", "--database-url", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = next(line for line in process.stdout or () if "http://" in line)
        yield "http://" + line.split("http://")[1].split()[0]
    finally:
        process.terminate()
        process.wait(timeout=30)


def first_chart_ms(context: BrowserContext, base: str) -> tuple[float, int, Page]:
    """Open the large run; return the milliseconds to its first chart, the bytes of files, and the page."""
    page = context.new_page()
    page.goto(f"{base}/#/runs/{RUN}")
    page.wait_for_function(f"() => ({DRAWN_MS}) !== null", timeout=120_000)
    return page.evaluate(DRAWN_MS), page.evaluate(BYTES), page


def update_ms(page: Page, base: str, layers: int, step: int, updates: int) -> list[float]:
    """Return the milliseconds of the main thread for each update with one record per layer."""
    page.evaluate(OBSERVE)
    costs = []
    with httpx.Client(base_url=base) as client:
        for number in range(updates):
            now = step + 1 + number
            span = {"first_step": now, "step": now, "n_examples": EXAMPLES}
            parts = [{"layer_id": layer, **span, "active": [9] * UNITS} for layer in range(1, layers + 1)]
            body = {"run": {"id": RUN}, "session": "s", "seq": 10**6 + number, "records": parts}
            client.post("/v1/uploads", json=body).raise_for_status()
            time.sleep(UPDATE_PAUSE_S)  # until the page has asked for news and drawn it
            measures = page.evaluate("window.costs.splice(0)")
            if measures:
                costs.append(sum(duration for _, duration in measures))
    return costs


def first_row_ms(context: BrowserContext, base: str) -> tuple[float, int]:
    """Open the list of runs; return the milliseconds from the navigation to its first row, and the bytes of files."""
    page = context.new_page()
    page.goto(f"{base}/#/runs")
    page.wait_for_function("() => document.querySelector('tbody tr') && (window.seen ||= performance.now())")
    elapsed = page.evaluate("window.seen")
    size = page.evaluate(BYTES)
    page.close()
    return elapsed, size


def measure(base: str, options: argparse.Namespace, steps: int) -> None:
    """Print the times and sizes."""
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        cold: list[float] = []
        warm: list[float] = []
        for _ in range(options.rounds):
            context = browser.new_context()
            elapsed, size, page = first_chart_ms(context, base)
            cold.append(elapsed)
            page.close()
            warm.append(first_chart_ms(context, base)[0])
        print(f"first chart, empty cache  {_spread(cold)}, {size:,} bytes")
        print(f"first chart, warm cache   {_spread(warm)}")
        plain, compressed = (overview_bytes(base, encoding) for encoding in ("identity", "gzip"))
        print(f"overview of the run       {plain:,} bytes, {compressed:,} compressed")
        page = first_chart_ms(browser.new_context(), base)[2]
        costs = update_ms(page, base, options.layers, steps, options.updates)
        page.close()
        print(f"live update               {_spread(costs)}, {len(costs)} updates")
        measure_list(browser, base, options)
        browser.close()


def measure_list(browser: Browser, base: str, options: argparse.Namespace) -> None:
    """Print the times of the list of runs."""
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(options.rounds):
        context = browser.new_context()
        elapsed, size = first_row_ms(context, base)
        cold.append(elapsed)
        warm.append(first_row_ms(context, base)[0])
        context.close()
    print(f"list of {options.runs:,} runs, empty cache  {_spread(cold)}, {size:,} bytes")
    print(f"list of {options.runs:,} runs, warm cache   {_spread(warm)}")


def overview_bytes(base: str, encoding: str) -> int:
    """Return the size of the body of a run's overview as it is sent to a client that accepts an encoding."""
    url = f"{base}/v1/runs/{RUN}/overview"
    with httpx.stream("GET", url, headers={"accept-encoding": encoding}, timeout=60) as response:
        return len(b"".join(response.iter_raw()))


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):7.1f} ms ({min(values):.1f} … {max(values):.1f})"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--layers", type=int, default=49)
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=5_000)
    options.add_argument("--updates", type=int, default=20)
    options.add_argument("--rounds", type=int, default=5)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill a database, serve it and measure."""
    options = parser().parse_args(arguments)
    log_config.to_stderr("WARNING")
    steps = max(1, options.records // options.layers)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'x.db'}"
        database = Database.open(url)
        migrations.upgrade(database.writing_engine)
        fill(database, options.layers, steps, options.runs)
        database.close()
        with serving(url) as base:
            measure(base, options, steps)


if __name__ == "__main__":
    main()
