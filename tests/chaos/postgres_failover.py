"""A Postgres that is lost with its host, and a standby that takes over behind the same address, under traffic.

    python -m tests.chaos.postgres_failover [--outage-s 8]

Twice with two real servers: once connections are refused between the loss and the take-over, once nothing is answered,
as where the host itself is gone. The standby follows synchronously: whatever was acknowledged must be on it.
Prints how long the slowest answer took, how long the server took to recover, and what became of the uploads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from tests.chaos.frozen_postgres import CLIENTS, MAX_ANSWER_S, MAX_RECOVERY_S, Traffic, recovery_s
from tests.chaos.postgres_pair import USER, PostgresServer, postgres_pair
from tests.chaos.server import Server
from tests.helpers.tcp_relay import TcpRelay

DATABASE = "relumine"
PAUSE_S = 3

LOSSES: Mapping[str, Callable[[TcpRelay], None]] = {"refuses": TcpRelay.cut, "says nothing": TcpRelay.silence}
"""What the address does after the loss, by what people see of it."""


def fail_over(
    relay: TcpRelay, lose: Callable[[TcpRelay], None], servers: tuple[PostgresServer, PostgresServer], outage_s: float
) -> None:
    """Lose the primary, and let the standby take over after the outage."""
    primary, standby = servers
    lose(relay)
    primary.kill()
    time.sleep(outage_s)  # the outage itself
    standby.promote()
    relay.switch(standby.socket)


def stored_uploads(standby: PostgresServer) -> set[tuple[str, int]]:
    """Return what the server that took over holds."""
    engine = sa.create_engine(standby.url.set(database=DATABASE), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return {(row.run_id, row.seq) for row in connection.execute(sa.text("SELECT run_id, seq FROM uploads"))}


def measure(seen: str, outage_s: float) -> bool:
    """Fail over once under traffic; print and return whether all promises held."""
    with postgres_pair(DATABASE) as (primary, standby):
        relay = TcpRelay(primary.socket)
        url = sa.URL.create("postgresql+psycopg", USER, host="127.0.0.1", port=relay.port, database=DATABASE)
        server = Server(url.render_as_string())
        server.start()
        traffic = Traffic(server.url)
        try:
            with ThreadPoolExecutor(CLIENTS) as pool:
                clients = [pool.submit(traffic.run, number) for number in range(CLIENTS)]
                time.sleep(PAUSE_S)  # traffic before
                fail_over(relay, LOSSES[seen], (primary, standby), outage_s)
                recovered_s = recovery_s(server.url)
                acknowledged_during = len(traffic.acknowledged)
                time.sleep(PAUSE_S)  # traffic afterwards
                traffic.stop()
                for client in clients:
                    client.result()
        finally:
            server.kill()
            relay.close()
        missing = set(traffic.acknowledged) - stored_uploads(standby)
    print(f"the address {seen} for {outage_s:.0f} s, {CLIENTS} clients: answers {dict(traffic.codes)},")
    print(f"  the slowest after {traffic.slowest_s:.2f} s (promised: 2 s, and what a busy machine adds);", end=" ")
    print(f"ready {recovered_s:.2f} s after the take-over;", end=" ")
    print(f"{len(traffic.acknowledged)} uploads acknowledged, {len(missing)} of them missing", flush=True)
    is_quick = traffic.slowest_s <= MAX_ANSWER_S and recovered_s <= MAX_RECOVERY_S
    goes_on = len(traffic.acknowledged) > acknowledged_during
    return is_quick and goes_on and not missing and set(traffic.codes) <= {200, 202, 404, 429, 503}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--outage-s", type=float, default=8)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rig; return 1 where a promise does not hold."""
    options = parser().parse_args(arguments)
    holds = [measure(seen, options.outage_s) for seen in LOSSES]
    return 0 if all(holds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
