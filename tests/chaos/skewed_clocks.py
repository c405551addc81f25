"""A run is resumed on a machine whose clock is behind: what the second session records is analyzed like any other.

    python -m tests.chaos.skewed_clocks

The second session's layer is dead from its first step on. Printed per skew: the alerts of the run, the last step of its
series, what was not analyzed, and the closing line of the second session. Alerts must not depend on the skew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import httpx

from tests.chaos.harness import ROOT, server, stored_steps

STEPS = 120
SKEWS_S = (0, 10, 3_600, -3_600)


def train(run: str, url: str, *, is_resumed: bool) -> None:
    """Train one session of the run; print its statistics as JSON."""
    import torch
    from torch import nn

    import relumine

    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    if is_resumed:
        nn.init.constant_(model[0].bias, -100.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    start_step = STEPS if is_resumed else 0
    with relumine.watch(model, optimizer, every=1, url=url, run_id=run, start_step=start_step) as monitor:
        for step in range(STEPS):
            optimizer.zero_grad()
            model(torch.randn(64, 16)).square().mean().backward()
            optimizer.step()
            if step % 20 == 0:
                monitor.flush()
    print(json.dumps(monitor.sdk_stats()))


def session(run: str, url: str, skew_s: int, *, is_resumed: bool) -> tuple[dict[str, object], str]:
    """Run a session in a process whose clock is ``skew_s`` seconds behind; return its statistics and last line."""
    arguments = ["--session", run, url, str(skew_s), *(["--resumed"] if is_resumed else [])]
    command = [sys.executable, "-m", "tests.chaos.skewed_clocks", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"RELUMINE_DIR": folder}
        completed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    return json.loads(completed.stdout.splitlines()[-1]), completed.stderr.splitlines()[-1]


def compare(skew_s: int) -> int:
    """Run both sessions; print the outcome and return the number of alerts."""
    run = f"skewed-by-{skew_s}".replace("--", "-ahead-")
    with server() as url:
        session(run, url, 0, is_resumed=False)
        stats, line = session(run, url, skew_s, is_resumed=True)
        alerts = httpx.get(f"{url}/v1/alerts", params={"run_id": run}, timeout=60).json()["items"]
        last_step = max(stored_steps(url, run), default=0)
    print(
        f"clock behind by {skew_s:>6,} s: {len(alerts)} alerts, series up to step {last_step} of {2 * STEPS}, "
        f"acked {stats['acked_steps']}, not analyzed {stats['unanalyzed_steps']}: {line}"
    )
    return len(alerts)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--session", nargs=3, metavar=("RUN", "URL", "SKEW_S"), help=argparse.SUPPRESS)
    options.add_argument("--resumed", action="store_true", help=argparse.SUPPRESS)
    return options


def set_clock_back(seconds: int) -> None:
    """Let this process's clock be behind."""
    clock = time.time
    clock_ns = time.time_ns
    time.time = lambda: clock() - seconds
    time.time_ns = lambda: clock_ns() - seconds * 1_000_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each skew; return 1 if the alerts depend on it."""
    options = parser().parse_args(arguments)
    if options.session:
        run, url, skew_s = options.session
        set_clock_back(int(skew_s))
        train(run, url, is_resumed=options.resumed)
        return 0
    counts = [compare(skew_s) for skew_s in SKEWS_S]
    return 0 if counts[0] and len(set(counts)) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
