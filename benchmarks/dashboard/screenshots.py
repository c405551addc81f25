"""Takes the pictures of the dashboard that the documentation shows: real runs, on a real server, in Chromium.

    python -m benchmarks.dashboard.screenshots [--to docs/images] [--only run-died runs] [--steps 900]

Trains the runs that the pictures show first, which takes a minute or two.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import httpx
import torch
from playwright.sync_api import Browser, sync_playwright

from benchmarks.dashboard import example_runs
from benchmarks.dashboard.page_times import chromium, serving

MOST_BYTES = 200_000
WAIT_MS = 2_000
"""For the charts: they are drawn when their data has arrived."""


@dataclass(frozen=True)
class Shot:
    """A picture: the view, with the names of runs in braces, and the window it is taken in."""

    view: str
    width: int = 1400
    height: int = 900
    dark: bool = False


SHOTS = {
    "runs": Shot("runs"),
    "run-died": Shot("runs/{died}"),
    "run-healthy": Shot("runs/{healthy}"),
    "run-60-layers": Shot("runs/{deep}"),
    "run-dark": Shot("runs/{died}", dark=True),
    "run-phone": Shot("runs/{died}", width=390, height=844),
    "layer": Shot("runs/{died}/layers/2"),
    "layer-20000-units": Shot("runs/{wide}/layers/1"),
    "alerts": Shot("alerts?tab=closed"),
    "compare": Shot("compare?runs={died},{healthy}"),
}


def take(browser: Browser, base: str, shot: Shot, ids: dict[str, str], path: Path) -> None:
    """Open the view and save the picture; raises RuntimeError where it is too large."""
    context = browser.new_context(viewport={"width": shot.width, "height": shot.height})
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if shot.dark else "light")
    page.goto(f"{base}/#/{shot.view.format(**ids)}")
    page.wait_for_timeout(WAIT_MS)
    page.screenshot(path=path)
    context.close()
    if path.stat().st_size > MOST_BYTES:
        raise RuntimeError(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    print(f"{path}: {path.stat().st_size:,} bytes")


def _runs_of(names: Sequence[str]) -> list[str]:
    """Return the example runs that the views of these pictures name; all of them where a view names none."""
    named = {field for name in names for _, field, _, _ in Formatter().parse(SHOTS[name].view) if field}
    shows_all = any("{" not in SHOTS[name].view for name in names)
    return [name for name in example_runs.EXAMPLES if shows_all or name in named]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--to", type=Path, default=Path("docs/images"))
    options.add_argument("--only", nargs="+", choices=tuple(SHOTS), default=list(SHOTS))
    options.add_argument("--steps", type=int, default=900)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, serve and take the pictures."""
    options = parser().parse_args(arguments)
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serving(f"sqlite:///{Path(folder) / 'x.db'}") as base:
        torch.set_num_threads(1)
        for name in _runs_of(options.only):
            example_runs.train(name, base, options.steps)
        ids = {run["name"]: run["run_id"] for run in httpx.get(f"{base}/v1/runs").json()["items"]}
        with sync_playwright() as playwright:
            browser = chromium(playwright)
            for name in options.only:
                take(browser, base, SHOTS[name], ids, options.to / f"{name}.png")
            browser.close()


if __name__ == "__main__":
    main()
