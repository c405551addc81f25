"""The time to refuse a wrong API key, by how many of its first characters are right: a difference would be a leak.

    python -m tests.chaos.timing_side_channel [--keys 10000]

Wrong keys that share their first characters with a real one, in random order, through the authentication middleware in
process: over a network the difference would be harder to see. Prints Welch's t of each length against the shortest; |t|
above 4.5 is a leak, and the exit code 1. The public id of a key (its first eight characters) is no secret.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np

from relumine_server.api.middleware.authentication import AuthenticationMiddleware
from relumine_server.auth import api_keys
from relumine_server.auth import repository as auth_repository
from relumine_server.auth.authenticator import Authenticator
from relumine_server.db import migrations
from relumine_server.db.database import Database
from relumine_server.settings import Settings

LEAK_T = 4.5
SHARED_CHARS = (8, 12, 16, 20, 24, 29)
PREFIX_CHARS = len("rlm_admin_")

Seconds: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


def utc_now() -> datetime:
    """Return the current moment in UTC."""
    return datetime.now(UTC)


def wrong_key(real: str, shared: int, chance: random.Random) -> str:
    """Return a wrong key with a valid checksum that shares its first characters with the real one."""
    first_different = PREFIX_CHARS + shared
    other = chance.choice([char for char in api_keys.ALPHABET if char != real[first_different]])
    rest = "".join(chance.choices(api_keys.ALPHABET, k=api_keys.RANDOM_CHARS - shared - 1))
    unsigned = real[:first_different] + other + rest
    return unsigned + api_keys.checksum(unsigned)


async def seconds_to_refuse(middleware: AuthenticationMiddleware, key: str) -> float:
    """Return the seconds until the answer 401."""
    statuses: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/runs",
        "query_string": b"",
        "server": ("127.0.0.1", 7358),
        "client": ("127.0.0.1", 50_000),
        "headers": [(b"host", b"127.0.0.1:7358"), (b"authorization", b"Bearer " + key.encode())],
    }
    start = time.perf_counter()
    await middleware(scope, receive, send)
    seconds = time.perf_counter() - start
    if statuses != [401]:
        raise SystemExit(f"answered {statuses}, not 401")
    return seconds


def welch_t(a: Seconds, b: Seconds) -> float:
    """Return Welch's t without the slowest hundredth of each sample, which the machine causes."""
    a, b = (sample[sample <= np.quantile(sample, 0.99)] for sample in (a, b))
    return float((a.mean() - b.mean()) / np.sqrt(a.var() / len(a) + b.var() / len(b)))


async def measure(count: int, folder: str) -> dict[int, Seconds]:
    """Return the seconds by the number of shared characters, measured in random order."""
    # The default limit would refuse most of the keys before they are compared.
    settings = Settings(database_url=f"sqlite:///{folder}/x.db", requests_per_second=0)
    database = Database.open(settings.database_url)
    migrations.upgrade(database.writing_engine)
    real, row = api_keys.new_key("admin", None, None, now=utc_now(), expires_at=None)
    database.write(lambda connection: auth_repository.insert_key(connection, row))
    middleware = AuthenticationMiddleware(
        lambda *_: None,  # type: ignore[arg-type]  # no request gets through
        database=database,
        authenticator=Authenticator(database, utc_now, settings),
        settings=settings,
    )
    chance = random.Random(1)
    order = [shared for shared in SHARED_CHARS for _ in range(count // len(SHARED_CHARS))]
    chance.shuffle(order)
    seconds: dict[int, list[float]] = {shared: [] for shared in SHARED_CHARS}
    for shared in order:
        seconds[shared].append(await seconds_to_refuse(middleware, wrong_key(real, shared, chance)))
    database.close()
    return {shared: np.array(values) for shared, values in seconds.items()}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keys", type=int, default=10_000)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        seconds = asyncio.run(measure(options.keys, folder))
    shortest = seconds[SHARED_CHARS[0]]
    print(f"{'shared':>6} {'keys':>6} {'median µs':>10} {'t':>6}")
    for shared, values in seconds.items():
        print(f"{shared:>6} {len(values):>6} {np.median(values) * 1e6:>10.1f} {welch_t(values, shortest):>6.2f}")
    is_equal = all(abs(welch_t(values, shortest)) < LEAK_T for values in seconds.values())
    raise SystemExit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
