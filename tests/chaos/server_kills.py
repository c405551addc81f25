"""kill -9 again and again while eight clients upload: every acknowledged upload is stored, once and completely.

    python -m tests.chaos.server_kills [--database sqlite|postgres] [--kills 20]

On SQLite the server is killed; on Postgres the server and a random backend take turns: Postgres then ends all
connections and recovers. Prints for each database how many uploads were acknowledged, how many of them are missing,
stored twice or in part, and how long it took until uploads were accepted again. Compaction runs all the while.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

import httpx
import sqlalchemy as sa

from relumine_server.db import tables
from relumine_server.timeseries import codec
from tests.chaos.server import DATABASES, Key, Kill, Server, UploadLog

CLIENTS = 8
RECORDS = 64
UNITS = 16
ACCEPT_TIMEOUT_S = 180  # a busy machine starts a server slowly; how long it took is printed


def upload_body(run: str, seq: int) -> dict[str, object]:
    """Return one upload of a healthy layer."""
    steps = range((seq - 1) * RECORDS + 1, seq * RECORDS + 1)
    records = [
        {"layer_id": 1, "first_step": step, "step": step, "n_examples": 8, "active": [4] * UNITS} for step in steps
    ]
    layers = [{"layer_id": 1, "name": "act1", "units": UNITS}]
    return {"run": {"id": run}, "session": "s1", "seq": seq, "layers": layers, "records": records}


def upload_until(url: str, run: str, stop: threading.Event, log: UploadLog) -> None:
    """Send uploads in order until ``stop`` is set, each until it is acknowledged."""
    with httpx.Client(base_url=url, timeout=10) as client:
        for seq in itertools.count(1):
            content = json.dumps(upload_body(run, seq))  # once: a retry must not take the cores from a starting server
            while not stop.is_set() and not upload(client, (run, seq), content, log):
                time.sleep(0.1)  # between two attempts at a server that was just killed
            if stop.is_set():
                return


def upload(client: httpx.Client, key: Key, content: str, log: UploadLog) -> bool:
    """Send an upload; return whether it was acknowledged."""
    try:
        answer = client.post("/v1/uploads", content=content)
    except httpx.HTTPError as error:
        log.retried[type(error).__name__] += 1
        return False
    if answer.status_code == 202:
        log.acknowledged.append(key)
        return True
    log.count_refusal(answer.status_code)
    return False


def seconds_until_accepted(server: Server, seq: int, start: float, log: UploadLog) -> float:
    """Return the seconds from ``start`` until the server accepts an upload."""
    content = json.dumps(upload_body("probe", seq))
    with httpx.Client(base_url=server.url, timeout=10) as client:
        while time.monotonic() - start < ACCEPT_TIMEOUT_S:
            if upload(client, ("probe", seq), content, log):
                return time.monotonic() - start
            time.sleep(0.02)  # between two attempts
    answers = dict(log.retried + log.unexpected)
    raise RuntimeError(f"no upload was accepted within {ACCEPT_TIMEOUT_S} s; all clients were answered {answers}")


def upload_and_kill(database_url: str, kills: Sequence[Kill], workers: int = 1) -> tuple[UploadLog, list[float]]:
    """Upload while the kills happen; return the answers, and the seconds from each kill until uploads were accepted."""
    server = Server(database_url, workers=workers)
    server.start()
    stop = threading.Event()
    log = UploadLog()
    recovery_s: list[float] = []
    runs = [f"run{index}" for index in range(CLIENTS)]
    threads = [threading.Thread(target=upload_until, args=(server.url, run, stop, log)) for run in runs]
    try:
        for thread in threads:
            thread.start()
        for number, kill in enumerate(kills, start=1):
            time.sleep(random.uniform(0.3, 1.5))  # each kill meets the server at another moment of its work
            start = time.monotonic()
            kill(server)
            recovery_s.append(seconds_until_accepted(server, number, start, log))
        time.sleep(0.5)  # the last server acknowledges something, too
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        server.kill()
    return log, recovery_s


def check_stored(database_url: str, log: UploadLog) -> tuple[str, bool]:
    """Describe what is stored; return also whether every acknowledged upload is there, once and completely."""
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        uploads = count_rows(connection, tables.uploads)
        unit_rows = count_rows(connection, tables.unit_stats)
        records = Counter(stored_records(connection))
        chunks = connection.scalar(sa.select(sa.func.count()).where(tables.chunks.c.statistic == "step"))
        integrity = "ok"
        if engine.name == "sqlite":
            integrity = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
    engine.dispose()

    records_of = Counter(_key_of(run, step) for run, step in records)
    missing = set(log.acknowledged) - uploads.keys()
    twice = {_key_of(run, step) for (run, step), times in records.items() if times > 1}
    twice |= {key for key, rows in unit_rows.items() if rows > RECORDS}
    twice |= {key for key, times in uploads.items() if times > 1}
    partial = set()
    for key in uploads.keys() | records_of.keys() | unit_rows.keys():
        is_complete = uploads[key] and records_of[key] == RECORDS and unit_rows[key] >= RECORDS
        if not is_complete:
            partial.add(key)

    text = f"{len(set(log.acknowledged)):,} uploads acknowledged ({chunks:,} chunks written meanwhile), "
    text += f"{len(missing)} of them missing, {len(twice)} stored twice, {len(partial)} stored in part"
    if engine.name == "sqlite":
        text += f"; integrity_check {integrity}"
    return text, not (missing or twice or partial) and integrity == "ok"


def count_rows(connection: sa.Connection, table: sa.Table) -> Counter[Key]:
    """Return the number of rows of each upload in a table."""
    keys = connection.execute(sa.select(table.c.run_id, table.c.seq))
    return Counter((run, seq) for run, seq in keys)


def _key_of(run: str, step: int) -> Key:
    return run, (step - 1) // RECORDS + 1


def stored_records(connection: sa.Connection) -> Iterator[tuple[str, int]]:
    """Yield run and step of every stored record, in a segment or in a chunk."""
    segment = tables.segments.c
    stored = sa.select(segment.run_id, segment.record_count, segment.data, segment.readings)
    for run, *values in connection.execute(stored):
        steps = codec.decode([values], ["step"])["step"]
        yield from ((run, int(step)) for step in steps)
    chunk = tables.chunks.c
    compacted = sa.select(chunk.run_id, chunk.data, chunk.last, chunk.record_count).where(chunk.statistic == "step")
    for run, data, last, count in connection.execute(compacted):
        yield from ((run, int(step)) for step in codec.decode_chunk("step", data, last, count))


def report(name: str, kills: int) -> bool:
    """Disturb a database of one kind and print the outcome; return whether all promises held."""
    with DATABASES[name]() as (database_url, ways):
        order = list(itertools.islice(itertools.cycle(ways), kills))
        log, recovery_s = upload_and_kill(database_url, [ways[way] for way in order])
        text, is_good = check_stored(database_url, log)
    for way in dict.fromkeys(order):
        waits = [seconds for killed, seconds in zip(order, recovery_s, strict=True) if killed == way]
        text += f"; {way} killed: ready in {median(waits):.2f} s, at most {max(waits):.2f} s"
    if log.unexpected:
        text += f"; unexpected answers {dict(log.unexpected)}"
    print(f"{name}: {kills} kills, {CLIENTS} clients: {text}", flush=True)
    return is_good and not log.unexpected


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", choices=tuple(DATABASES), action="append", help="default: both")
    options.add_argument("--kills", type=int, default=20)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, restart, count."""
    options = parser().parse_args(arguments)
    results = [report(name, options.kills) for name in options.database or DATABASES]
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
