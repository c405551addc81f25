"""Does the time that a wrong key takes to be refused tell how much of it is right?

Wrong keys that share their first characters with a real one, in random order, through the gate in process: over a
network the difference would only be harder to see. Prints Welch's t of each length against the shortest; |t| above 4.5
is a leak. The public id of a key (its first eight characters) is no secret: that it exists may show.

    python benchmarks/chaos/key_timing.py [--keys 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from relumine_server import credentials
from relumine_server.api.gate import Gate
from relumine_server.api.keyring import Keyring
from relumine_server.api.keys import made
from relumine_server.settings import Settings
from relumine_server.storage import keys, migrate
from relumine_server.storage.store import Store

SHARED = (8, 12, 16, 20, 24, 29)
BEGIN = len("rlm_admin_")


def utc_now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


def wrong(real: str, shared: int, chance: random.Random) -> str:
    """A key with a good checksum that begins as the real one does."""
    here = BEGIN + shared
    other = chance.choice([char for char in credentials.ALPHABET if char != real[here]])
    rest = "".join(chance.choices(credentials.ALPHABET, k=credentials.RANDOM_CHARS - shared - 1))
    begin = real[:here] + other + rest
    return begin + credentials.checksum(begin)


async def refused_in_s(gate: Gate, key: str) -> float:
    """How long the answer 401 takes."""
    sent: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    headers = [(b"host", b"127.0.0.1:7358"), (b"authorization", b"Bearer " + key.encode())]
    scope = {"type": "http", "method": "GET", "path": "/v1/runs", "query_string": b"", "scheme": "http"}
    begin = time.perf_counter()
    await gate({**scope, "server": ("127.0.0.1", 7358), "headers": headers}, receive, send)
    took = time.perf_counter() - begin
    if sent != [401]:
        raise SystemExit(f"answered {sent}, not 401")
    return took


def welch(a: np.ndarray, b: np.ndarray) -> float:
    """Welch's t, without the slowest hundredth of each: those are the machine's doing."""
    a, b = (one[one <= np.quantile(one, 0.99)] for one in (a, b))
    return float((a.mean() - b.mean()) / np.sqrt(a.var() / len(a) + b.var() / len(b)))


async def measure(count: int, folder: str) -> dict[int, np.ndarray]:
    """Seconds by how many characters are shared, in random order."""
    settings = Settings(database_url=f"sqlite:///{folder}/x.db")
    store = Store.open(settings.database_url)
    migrate.upgrade(store.writing_engine)
    real, row = made("admin", None, None, utc_now(), None)
    store.write(lambda session: keys.insert(session, row))
    gate = Gate(lambda *_: None, store=store, keyring=Keyring(store, utc_now, settings), settings=settings)  # type: ignore[arg-type, return-value]  # nobody gets in
    chance = random.Random(1)
    order = [shared for shared in SHARED for _ in range(count // len(SHARED))]
    chance.shuffle(order)
    took: dict[int, list[float]] = {shared: [] for shared in SHARED}
    for shared in order:
        took[shared].append(await refused_in_s(gate, wrong(real, shared, chance)))
    store.close()
    return {shared: np.array(values) for shared, values in took.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=10_000)
    count = parser.parse_args().keys
    with tempfile.TemporaryDirectory() as folder:
        took = asyncio.run(measure(count, folder))
    base = took[SHARED[0]]
    print(f"{'shared':>6} {'keys':>6} {'median µs':>10} {'t':>6}")
    for shared, values in took.items():
        print(f"{shared:>6} {len(values):>6} {np.median(values) * 1e6:>10.1f} {welch(values, base):>6.2f}")


if __name__ == "__main__":
    main()
