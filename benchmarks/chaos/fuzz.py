"""Schemathesis with all its checks on every route: on an open server, with an ingest key and with an admin key.

    python benchmarks/chaos/fuzz.py [--cases 10000] [--callers open ingest admin] [--database sqlite|postgres]

Data that the OpenAPI document allows and data that it does not, in the phases coverage, fuzzing and stateful. Nothing
may be answered with a 5xx, a status or a content that the document does not name, or an error that is no problem.
Prints for each caller how many cases were sent to how many operations, what was found, and what the server counted of
its answers. Repeated with other seeds until there were as many cases as asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from server_kills import Server, postgres, sqlite

HERE = Path(__file__).parent
CHECKS_OFF = {
    "positive_data_acceptance": "fuzz_checks.good_data_is_taken says the same, and knows refusals for the meaning",
}
OPEN_OFF = {"ignored_auth": "an open server asks nobody for a key"}
CALLERS = ("open", "ingest", "admin")
PHASES = "coverage,fuzzing,stateful"
UNITS = 3


def upload(run: str, project: str) -> dict[str, Any]:
    """A run with a layer that is born dead, so that there is an alert."""
    record = {"layer_id": 1, "n_examples": 100, "active": [0] * UNITS}
    return {
        "run": {"id": run, "project": project},
        "session": "s1",
        "seq": 1,
        "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
        "records": [{**record, "first_step": step, "step": step} for step in range(1, 6)],
        "numbers": [{"step": 1, "name": "loss", "value": 1.0}],
    }


def furnish(client: httpx.Client) -> None:
    """Something of everything, under the names that schemathesis tries first."""
    for run in ("0", "r1", "00", "A"):
        client.post("/v1/uploads", json=upload(run, "0")).raise_for_status()
    client.post("/v1/webhooks", json={"url": "https://example.invalid/hook", "project": "0"}).raise_for_status()


@contextmanager
def serving(database: str, caller: str) -> Iterator[tuple[Server, dict[str, str], httpx.Client]]:
    """A furnished server, the headers of the caller, and somebody who may do everything."""
    with {"sqlite": sqlite, "postgres": postgres}[database]() as (url, _):
        os.environ["RELUMINE_INSECURE_NO_AUTH"] = str(caller == "open").lower()
        server = Server("", url)
        server.start()
        client = httpx.Client(base_url=server.url, timeout=60)
        try:
            headers = {}
            if caller != "open":
                client.headers["authorization"] = f"Bearer {made(client, 'admin')}"
                headers = {"Authorization": f"Bearer {made(client, caller)}"}
            furnish(client)
            yield server, headers, client
        finally:
            client.close()
            server.kill()


def made(client: httpx.Client, scope: str) -> str:
    """A key."""
    return str(client.post("/v1/keys", json={"scope": scope}).raise_for_status().json()["key"])


def schemathesis(server: Server, caller: str, headers: dict[str, str], examples: int, seed: int) -> dict[str, Any]:
    """One run of it; its report, with what it printed."""
    off = [*CHECKS_OFF, *(OPEN_OFF if caller == "open" else ())]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"]
        command += ["--checks", "all", "--exclude-checks", ",".join(off), "--phases", PHASES, "--seed", str(seed)]
        command += ["--max-examples", str(examples), "--continue-on-failure", "--no-color", "--request-timeout", "60"]
        command += ["--report", "json", "--report-json-path", str(report)]
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "fuzz_checks", "PYTHONPATH": paths}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if not report.exists():
            raise SystemExit(done.stdout + done.stderr)
        found: dict[str, Any] = json.loads(report.read_text())
    return found | {"printed": done.stdout}


def answers(client: httpx.Client) -> Counter[str]:
    """What the server answered, by class of status."""
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(client.get("/metrics").raise_for_status().text):
        for sample in family.samples:
            if sample.name == "relumine_requests_total":
                counted[f"{sample.labels['status'][0]}xx"] += int(sample.value)
    return counted


def fuzz(database: str, caller: str, cases: int, examples: int, seed: int) -> bool:
    """Send at least so many cases as one caller; whether nothing was found."""
    sent, failures, tested, total = 0, Counter[str](), 0, 0
    with serving(database, caller) as (server, headers, client):
        while True:
            report = schemathesis(server, caller, headers, examples, seed)
            sent += report["test_cases"]["generated"]
            tested, total = report["operations"]["tested"], report["operations"]["total"]
            for failure in report["failures"]:
                failures[failure["title"]] += failure["count"]
            failures["errors of schemathesis"] += len(report["errors"])
            if report["failures"]:
                print(report["printed"])
            seed += 1
            if sent >= cases or +failures:
                break
        counted = answers(client)
    print(
        f"{database}, {caller}: {sent:,} cases, {tested} of {total} operations, found {dict(+failures) or 'nothing'}; "
        f"answered {dict(sorted(counted.items()))}",
        flush=True,
    )
    return not +failures and tested == total and not counted["5xx"]


def main() -> None:
    """Fuzz as each caller."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="of each caller, at least")
    parser.add_argument("--examples", type=int, default=30, help="per operation and phase, in one run of schemathesis")
    parser.add_argument(
        "--callers", nargs="+", choices=("open", "ingest", "admin"), default=["open", "ingest", "admin"]
    )
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    good = [fuzz(options.database, c, options.cases, options.examples, options.seed) for c in options.callers]
    raise SystemExit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
