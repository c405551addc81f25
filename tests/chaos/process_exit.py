"""A training ends in every possible way: the sampled steps that the server stores afterwards, and after two syncs.

    python -m tests.chaos.process_exit

Each way is tried with the server present, and with the server absent until the process has ended. Only ``os._exit`` and
SIGKILL may lose something, at most the last second; no way may store a step twice or end with another exit code.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Sequence

from benchmarks.common.server_process import free_port
from tests.chaos.harness import server, stored_steps, sync, train
from tests.chaos.training_script import WAYS_TO_END

STEP_S = 0.012
"""Duration of a step, pause included."""
EXIT_CODES = {"exception": 1, "SIGINT": -signal.SIGINT, "SIGTERM": -signal.SIGTERM, "SIGKILL": -signal.SIGKILL}
MAX_LOST_S = {"os._exit": 1.0, "SIGKILL": 1.0}


def report(way: str, *, is_present: bool) -> bool:
    """Print a line for one way to end; return whether all promises held."""
    run = f"end-{way.replace('.', '').lower()}-{int(is_present)}"
    with tempfile.TemporaryDirectory() as folder, server() as url:
        target = url if is_present else f"http://127.0.0.1:{free_port()}"
        arguments = ("--url", target, "--steps", "400", "--pause", "0.01", "--end", way, "--run", run)
        training = train(folder, *arguments)
        sampled = training.lines[0]["stats"]["sampled_steps"]
        stored = [stored_steps(url, run)]
        for _ in range(2):
            sync(folder, url)
            stored.append(stored_steps(url, run))
    lost = sampled - len(stored[-1])
    presence = "present" if is_present else "absent"
    print(f"{way:<10} {presence:<8} {training.exit_code:>5} {sampled:>8} {len(stored[0]):>7} ", end="")
    print(f"{len(stored[1]):>11} {len(stored[2]):>6}  {lost} sampled steps ({lost * STEP_S:.2f} s)", flush=True)
    is_once = all(steps == sorted(set(steps)) for steps in stored) and stored[1] == stored[2]
    return is_once and lost * STEP_S <= MAX_LOST_S.get(way, 0.0) and training.exit_code == EXIT_CODES.get(way, 0)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per way to end."""
    parser().parse_args(arguments)
    heads = f"{'exit':>5} {'sampled':>8} {'stored':>7} {'after sync':>11} {'again':>6}  lost"
    print(f"{'way':<10} {'server':<8} {heads}")
    results = [report(way, is_present=is_present) for way in WAYS_TO_END for is_present in (True, False)]
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
