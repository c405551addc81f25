"""What it costs to save the detector's state: uploads of a ResNet-50 (49 layers, 22,720 units), in process, one run.

    pip install -e '.[server,postgres,dev]'
    python benchmarks/ingest/states.py [--rounds 5] [--uploads 48]

The server's own code without HTTP, with the state saved at every upload, at every eighth (as it is), and never; rounds
in alternating order, a fresh database each. Printed: milliseconds of processor per upload, of this process and of
Postgres, bytes of a state, and the time that folding a lost tail of seven uploads again takes after a restart.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from figures import alternating, spread
from shapes import RESNET50, Bodies

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import postgres

from relumine_server import ingest
from relumine_server.api.uploads import decode
from relumine_server.detection import state as detector
from relumine_server.detection.policy import Policy
from relumine_server.storage import migrate, states
from relumine_server.storage.store import Store

NEVER = 10**9
EVERY = (1, 8, NEVER)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TAIL = 7


class Cost(NamedTuple):
    """Milliseconds of processor per upload, and of folding the tail again; bytes of the state."""

    own_ms: float
    behind_ms: float
    again_ms: float
    size: int


def measure(bodies: Bodies, url: str, every: int, uploads: int, cluster: postgres.Cluster | None) -> Cost:
    """One window on a fresh database."""
    ingest.SAVE_EVERY = every
    store, taker = Store.open(url), ingest.Ingest("")
    migrate.upgrade(store.writing_engine)
    decoded = [decode(bodies.body("r", number)) for number in range(uploads + 1)]
    store.write(partial(taker.take, upload=decoded[0], now=NOW))
    behind, began = 0.0 if cluster is None else cluster.cpu_s(), time.process_time()
    for one in decoded[1:]:
        store.write(partial(taker.take, upload=one, now=NOW))
    own = time.process_time() - began
    behind = 0.0 if cluster is None else cluster.cpu_s() - behind
    with store.read() as connection:
        began = time.process_time()
        folded = states.load(connection, "r", Policy())
        again = (time.process_time() - began) / max(folded.unsaved, 1) * TAIL
        size = len(detector.to_bytes(folded.state))
    store.close()
    return Cost(1e3 * own / uploads, 1e3 * behind / uploads, 1e3 * again, size)


@contextlib.contextmanager
def database(kind: str, cluster: postgres.Cluster) -> Iterator[str]:
    """A fresh database of this kind."""
    if kind == "postgres":
        url = cluster.new_database()
        yield url
        cluster.drop(url)
        return
    with tempfile.TemporaryDirectory(prefix="relumine-bench-") as folder:
        yield f"sqlite:///{folder}/relumine.db"


def main() -> None:
    """Measure, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uploads", type=int, default=48)
    options = parser.parse_args()
    bodies = Bodies(RESNET50)
    arms = [(kind, every) for kind in ("sqlite", "postgres") for every in EVERY]
    found: dict[tuple[str, int], list[Cost]] = {arm: [] for arm in arms}
    with postgres.running() as cluster:
        for _, (kind, every) in alternating(arms, options.rounds):
            with database(kind, cluster) as url:
                behind = cluster if kind == "postgres" else None
                found[kind, every].append(measure(bodies, url, every, options.uploads, behind))
    print(f"{'saved':<22}{'server ms an upload':>24}{'Postgres ms':>20}{'7 folded again, ms':>24}{'state kB':>10}")
    for (kind, every), costs in found.items():
        own, behind_ms, again = (spread(column, 1) for column in list(zip(*costs, strict=True))[:3])
        saved = {1: "every upload", NEVER: "never"}.get(every, f"every {every}th upload")
        print(f"{kind + ' ' + saved:<22}{own:>24}{behind_ms:>20}{again:>24}{costs[0].size / 1e3:>10,.0f}")


if __name__ == "__main__":
    main()
