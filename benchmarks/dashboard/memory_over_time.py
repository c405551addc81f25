"""The memory of pages that are open for long while their run goes on, in a real browser.

    python -m benchmarks.dashboard.memory_over_time [--minutes 60] [--warm-up 15] [--every 60] [--layers 10]

A server, a run that sends 20 steps every two seconds, and one tab for each of the list of runs, the run, one of its
layers, the alerts and a comparison. At intervals garbage is collected and the JavaScript heap, the DOM nodes and the
event listeners of each tab are printed; at the end their growth per hour, the slope of a line through the values after
the warm-up. A page keeps at most 4,000 points of a line and then leaves out half of the older ones, which it has done
once after seven minutes: until then the heap of a run grows. Needs the system's Chromium.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, CDPSession, sync_playwright

from benchmarks.dashboard.page_times import chromium, serving

RUN = "live"
OTHER = "twin"
UNITS = 16
EXAMPLES = 64
STEPS_PER_UPLOAD = 20
UPLOAD_EVERY_S = 2.0
DIES_AT = 200
"""The step from which three quarters of the units of the first layer are silent: the run has an incident."""

VIEWS = {
    "list": "runs",
    "run": f"runs/{RUN}",
    "layer": f"runs/{RUN}/layers/1",
    "alerts": "alerts",
    "compare": f"compare?runs={RUN},{OTHER}",
}


@dataclass(frozen=True)
class Sample:
    """Contents of a tab after a collection of garbage: bytes of its heap, nodes, listeners."""

    heap: float
    nodes: float
    listeners: float


def uploads(run: str, layers: int) -> Iterator[dict[str, Any]]:
    """Yield the uploads of a training that never ends; a layer of it dies."""
    described = [{"layer_id": number, "name": f"block{number}.relu", "units": UNITS} for number in range(1, layers + 1)]
    for seq in count(1):
        first = 1 + (seq - 1) * STEPS_PER_UPLOAD
        yield {
            "run": {"id": run, "name": run},
            "session": "s",
            "seq": seq,
            "layers": described if seq == 1 else [],
            "records": [record for step in range(first, first + STEPS_PER_UPLOAD) for record in _records(step, layers)],
        }


def _records(step: int, layers: int) -> Iterator[dict[str, Any]]:
    span = {"first_step": step, "step": step, "n_examples": EXAMPLES}
    yield {"layer_id": 0, **span, "loss": 1.0 / step, "learning_rate": 0.1 if step < DIES_AT else 1.0}
    for layer in range(1, layers + 1):
        silent = 3 * UNITS // 4 if layer == 1 and step >= DIES_AT else 0
        yield {"layer_id": layer, **span, "active": [0] * silent + [20 + step % 5] * (UNITS - silent)}


class Tab:
    """One open view."""

    def __init__(self, browser: Browser, base: str, view: str) -> None:
        self.page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        self.page.goto(f"{base}/#/{view}")
        self.page.locator("main h1").first.wait_for()
        self.session: CDPSession = self.page.context.new_cdp_session(self.page)
        self.session.send("Performance.enable")
        self.samples: list[tuple[float, Sample]] = []

    def sample(self, minutes: float) -> Sample:
        """Collect garbage, then keep and return what is left."""
        for _ in range(2):  # the second collects what the finalizers of the first have released
            self.session.send("HeapProfiler.collectGarbage")
        metrics = {entry["name"]: entry["value"] for entry in self.session.send("Performance.getMetrics")["metrics"]}
        sample = Sample(metrics["JSHeapUsedSize"], metrics["Nodes"], metrics["JSEventListeners"])
        self.samples.append((minutes, sample))
        return sample

    def growth_per_hour(self, warm_up: float) -> Sample | None:
        """Return the slopes of lines through the samples after the warm-up; None for fewer than two samples."""
        late = [(minutes / 60, astuple(sample)) for minutes, sample in self.samples if minutes >= warm_up]
        if len(late) < 2:
            return None
        hours = [hour for hour, _ in late]
        columns = zip(*(values for _, values in late), strict=True)
        return Sample(*(statistics.linear_regression(hours, column).slope for column in columns))


def watch(tabs: dict[str, Tab], client: httpx.Client, options: argparse.Namespace) -> None:
    """Upload until the time is over, and print what the tabs hold at intervals."""
    stream = uploads(RUN, options.layers)
    started = time.monotonic()
    next_sample = 0.0
    while (elapsed := time.monotonic() - started) <= options.minutes * 60:
        client.post("/v1/uploads", json=next(stream)).raise_for_status()
        if elapsed >= next_sample:
            next_sample += options.every
            _print_samples(tabs, elapsed / 60)
        next(iter(tabs.values())).page.wait_for_timeout(UPLOAD_EVERY_S * 1000)  # lets the browser report meanwhile
    _print_samples(tabs, options.minutes)


def _print_samples(tabs: dict[str, Tab], minutes: float) -> None:
    for name, tab in tabs.items():
        sample = tab.sample(minutes)
        print(
            f"{minutes:6.1f} min  {name:<8} {sample.heap / 1e6:7.2f} MB heap  {sample.nodes:7,.0f} nodes  "
            f"{sample.listeners:6,.0f} listeners",
            flush=True,
        )


def _print_growth(tabs: dict[str, Tab], warm_up: float) -> None:
    for name, tab in tabs.items():
        growth = tab.growth_per_hour(warm_up)
        if growth is None:
            print(f"growth per hour  {name:<8} unknown: the warm-up is longer than the measurement")
            continue
        print(
            f"growth per hour  {name:<8} {growth.heap / 1e6:+7.2f} MB heap  {growth.nodes:+9,.1f} nodes  "
            f"{growth.listeners:+9,.1f} listeners"
        )


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--warm-up", type=float, default=15, help="minutes")
    options.add_argument("--every", type=float, default=60, help="seconds between two samples")
    options.add_argument("--layers", type=int, default=10)
    options.add_argument("--only", nargs="+", choices=tuple(VIEWS), default=list(VIEWS))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a run that goes on and watch the memory of its pages."""
    options = parser().parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(f"sqlite:///{Path(folder) / 'x.db'}") as base,
        httpx.Client(base_url=base, timeout=60) as client,
        sync_playwright() as playwright,
    ):
        for run in (OTHER, RUN):
            client.post("/v1/uploads", json=next(uploads(run, options.layers))).raise_for_status()
        browser = chromium(playwright)
        tabs = {name: Tab(browser, base, VIEWS[name]) for name in options.only}
        watch(tabs, client, options)
        _print_growth(tabs, options.warm_up)
        browser.close()


if __name__ == "__main__":
    main()
