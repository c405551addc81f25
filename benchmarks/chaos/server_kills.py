"""kill -9 again and again, while eight clients send: what was acknowledged is there, once and whole.

    python benchmarks/chaos/server_kills.py [--database sqlite|postgres] [--kills 20]

On SQLite the server is killed; on Postgres the server and a random backend of it in turn: then Postgres ends all
connections and recovers. Prints for each database how many uploads were acknowledged, how many of them are missing,
held twice or in part, and how long it took until uploads were taken again. Compaction runs all the while.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeAlias

import httpx
import sqlalchemy as sa
from rig import free_port

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import running

from relumine_server.storage import encoding
from relumine_server.storage import tables as t

CLIENTS, RECORDS, UNITS = 8, 64, 16
AGAIN = (429, 503, 507)

Key: TypeAlias = tuple[str, int]


class Server:
    """A server process that is killed and started again on the same database."""

    def __init__(self, folder: str, database_url: str | None = None, workers: int = 1) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = os.environ | {
            "RELUMINE_DATABASE_URL": database_url or f"sqlite:///{folder}/relumine.db",
            "RELUMINE_PORT": str(self.port),
            "RELUMINE_UPKEEP_EVERY_S": "0.3",  # kills meet compaction, too
            "RELUMINE_REQUESTS_PER_SECOND": "0",  # all clients have one address
            "RELUMINE_WORKERS": str(workers),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until it was ready."""
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "relumine_server", "serve"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while time.monotonic() - began < 60:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1).status_code == 200:
                    return time.monotonic() - began
            except httpx.HTTPError:
                time.sleep(0.02)  # between two looks at a starting server
        raise RuntimeError("not ready in a minute")

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        return 0 if self._process is None else self._process.pid

    def end(self) -> tuple[int, float]:
        """SIGTERM; the exit code, and seconds until it came."""
        if self._process is None:
            raise RuntimeError("not started")
        began = time.monotonic()
        self._process.terminate()
        return self._process.wait(60), time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """SIGKILL, and a new process."""
        self.kill()
        self.start()


Kill: TypeAlias = Callable[[Server], None]


@dataclass
class Told:
    """What the server answered."""

    acknowledged: list[Key] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)
    strange: Counter[str] = field(default_factory=Counter)


def body(run: str, seq: int) -> dict[str, object]:
    """One upload."""
    steps = range((seq - 1) * RECORDS + 1, seq * RECORDS + 1)
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 8, "active": [4] * UNITS} for step in steps
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    return {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}


def send(url: str, run: str, stop: threading.Event, told: Told) -> None:
    """Send uploads in order until told to stop, each until it was acknowledged."""
    with httpx.Client(base_url=url, timeout=10) as client:
        for seq in itertools.count(1):
            content = json.dumps(body(run, seq))  # once: trying again must not take the cores from a starting server
            while not stop.is_set() and not send_one(client, (run, seq), content, told):
                time.sleep(0.1)  # between two tries at a server that was just killed
            if stop.is_set():
                return


def send_one(client: httpx.Client, key: Key, content: str, told: Told) -> bool:
    """Whether an upload was acknowledged."""
    try:
        answer = client.post("/v1/uploads", content=content)
    except httpx.HTTPError as error:
        told.again[type(error).__name__] += 1
        return False
    if answer.status_code == 202:
        told.acknowledged.append(key)
        return True
    (told.again if answer.status_code in AGAIN else told.strange)[str(answer.status_code)] += 1
    return False


def seconds_until_taken(server: Server, seq: int, began: float, told: Told) -> float:
    """Seconds from ``began`` until the server took an upload."""
    content = json.dumps(body("probe", seq))
    with httpx.Client(base_url=server.url, timeout=10) as client:
        while time.monotonic() - began < 60:
            if send_one(client, ("probe", seq), content, told):
                return time.monotonic() - began
            time.sleep(0.02)  # between two tries
    raise RuntimeError("no upload was taken in a minute")


def endure(database_url: str, kills: Sequence[Kill], workers: int = 1) -> tuple[Told, list[float]]:
    """Send, kill, and wait until it is ready again, as often as there are kills; seconds of each wait."""
    server, stop, told, ready = Server("", database_url, workers), threading.Event(), Told(), []
    server.start()
    threads = [threading.Thread(target=send, args=(server.url, f"run{i}", stop, told)) for i in range(CLIENTS)]
    try:
        for thread in threads:
            thread.start()
        for number, kill in enumerate(kills, start=1):
            time.sleep(random.uniform(0.3, 1.5))  # each kill meets the server at another moment of its work
            began = time.monotonic()
            kill(server)
            ready.append(seconds_until_taken(server, number, began, told))
        time.sleep(0.5)  # the last server acknowledges something, too
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        server.kill()
    return told, ready


def check(database_url: str, told: Told) -> tuple[str, bool]:
    """What the database holds, in words, and whether that is all that was acknowledged, once and whole."""
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        u, r = t.uploads.c, t.unit_rows.c
        held = Counter((run, seq) for run, seq in connection.execute(sa.select(u.run_id, u.seq)))
        units = Counter((run, seq) for run, seq in connection.execute(sa.select(r.run_id, r.seq)))
        records = Counter(stored_records(connection))
        chunks = connection.scalar(sa.select(sa.func.count()).where(t.chunks.c.statistic == "step"))
        sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar() if engine.name == "sqlite" else "ok"
    engine.dispose()
    whole = Counter((run, (step - 1) // RECORDS + 1) for run, step in records)
    missing = set(told.acknowledged) - held.keys()
    twice = {(run, (step - 1) // RECORDS + 1) for (run, step), times in records.items() if times > 1}
    twice |= {key for key in units if units[key] > RECORDS} | {key for key in held if held[key] > 1}
    part = {key for key in held.keys() | whole.keys() | units.keys() if not held[key] or whole[key] != RECORDS}
    part |= {key for key in held if units[key] < RECORDS}
    said = f"{len(set(told.acknowledged)):,} uploads acknowledged ({chunks:,} chunks made meanwhile), "
    said += f"{len(missing)} of them missing, {len(twice)} held twice, {len(part)} held in part"
    if engine.name == "sqlite":
        said += f"; integrity_check {sound}"
    return said, not (missing or twice or part) and sound == "ok"


def stored_records(connection: sa.Connection) -> Iterator[tuple[str, int]]:
    """Run and step of every stored record, whether in a segment or in a chunk by now."""
    s, c = t.segments.c, t.chunks.c
    for run, *stored in connection.execute(sa.select(s.run_id, s.records, s.columns, s.readings)):
        steps = encoding.decode([encoding.Stored(*stored)], ["step"])["step"]
        yield from ((run, int(step)) for step in steps)
    query = sa.select(c.run_id, c.data, c.latest, c.records).where(c.statistic == "step")
    for run, data, latest, records in connection.execute(query):
        yield from ((run, int(step)) for step in encoding.decode_chunk("step", data, latest, records))


@contextmanager
def sqlite() -> Iterator[tuple[str, dict[str, Kill]]]:
    """The address of a new database, and the ways in which it is disturbed."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/relumine.db", {"server": Server.restart}


@contextmanager
def postgres() -> Iterator[tuple[str, dict[str, Kill]]]:
    """The same on a durable Postgres: its backends are killed, too."""
    with running() as cluster:
        url = cluster.new_database()
        yield url, {"server": Server.restart, "backend": lambda _server: cluster.kill_a_backend(url)}


def report(name: str, kills: int) -> bool:
    """Disturb a database of one kind and print what became of it; whether it kept what it promises."""
    with {"sqlite": sqlite, "postgres": postgres}[name]() as (database_url, ways):
        order = list(itertools.islice(itertools.cycle(ways), kills))
        told, ready = endure(database_url, [ways[way] for way in order])
        said, good = check(database_url, told)
    for way in dict.fromkeys(order):
        waits = [seconds for one, seconds in zip(order, ready, strict=True) if one == way]
        said += f"; {way} killed: ready in {median(waits):.2f} s, at most {max(waits):.2f} s"
    strange = f"; answered strangely {dict(told.strange)}" if told.strange else ""
    print(f"{name}: {kills} kills, {CLIENTS} clients: {said}{strange}", flush=True)
    return good and not told.strange


def main() -> None:
    """Kill, restart, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), action="append")
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    kept = [report(name, options.kills) for name in options.database or ("sqlite", "postgres")]
    raise SystemExit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
