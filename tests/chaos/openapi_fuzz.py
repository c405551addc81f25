"""Schemathesis with all its checks on every route: on an open server, with an ingest key and with an admin key.

    python -m tests.chaos.openapi_fuzz [--cases 10000] [--callers open ingest admin] [--database sqlite|postgres]

Data that the OpenAPI document allows and data that it forbids, in the phases coverage, fuzzing and stateful. No answer
may be a 5xx, a status or a content type that the document does not name, or an error that is no problem. Prints for
each caller how many cases were sent to how many operations, what was found, and the server's own count of its answers.
Repeated with other seeds until there were as many cases as asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.harness import ROOT
from tests.chaos.server import DATABASES, UNDER_ATTACK, Server

CHECKS_OFF = {
    "positive_data_acceptance": "valid_data_is_accepted checks the same, and allows refusals for the meaning",
}
CHECKS_OFF_IF_OPEN = {"ignored_auth": "an open server asks for no key"}
CALLERS = ("open", "ingest", "admin")
PHASES = "coverage,fuzzing,stateful"
UNITS = 3


def upload(run: str, project: str) -> dict[str, Any]:
    """Return a run with a layer that is born dead, so that there is an alert."""
    record = {"layer_id": 1, "n_examples": 100, "active": [0] * UNITS}
    return {
        "run": {"id": run, "project": project},
        "session": "s1",
        "seq": 1,
        "layers": [{"layer_id": 1, "name": "act1", "units": UNITS}],
        "records": [{**record, "first_step": step, "step": step} for step in range(1, 6)],
        "metrics": [{"step": 1, "name": "loss", "value": 1.0}],
    }


def create_resources(client: httpx.Client) -> None:
    """Create one resource of each kind, under the names that schemathesis tries first."""
    for run in ("0", "r1", "00", "A"):
        client.post("/v1/uploads", json=upload(run, "0")).raise_for_status()
    client.post("/v1/webhooks", json={"url": "https://example.invalid/hook", "project": "0"}).raise_for_status()


def create_key(client: httpx.Client, scope: str) -> str:
    """Create an API key."""
    return str(client.post("/v1/keys", json={"scope": scope}).raise_for_status().json()["key"])


@contextmanager
def serving(database: str, caller: str) -> Iterator[tuple[Server, dict[str, str], httpx.Client]]:
    """Run a server with resources; yield it with the headers of the caller, and a client that may do everything."""
    with DATABASES[database]() as (database_url, _ways):
        is_open = str(caller == "open").lower()
        server = Server(database_url, settings=UNDER_ATTACK | {"INSECURE_NO_AUTH": is_open})
        server.start()
        client = httpx.Client(base_url=server.url, timeout=60)
        try:
            headers = {}
            if caller != "open":
                client.headers["authorization"] = f"Bearer {create_key(client, 'admin')}"
                headers = {"Authorization": f"Bearer {create_key(client, caller)}"}
            create_resources(client)
            yield server, headers, client
        finally:
            client.close()
            server.kill()


def run_schemathesis(server: Server, caller: str, headers: dict[str, str], examples: int, seed: int) -> dict[str, Any]:
    """Run schemathesis once; return its report with what it printed."""
    checks_off = [*CHECKS_OFF, *(CHECKS_OFF_IF_OPEN if caller == "open" else ())]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"]
        command += ["--checks", "all", "--exclude-checks", ",".join(checks_off)]
        command += ["--phases", PHASES, "--seed", str(seed), "--max-examples", str(examples)]
        command += ["--continue-on-failure", "--no-color", "--request-timeout", "60"]
        command += ["--report", "json", "--report-json-path", str(report)]
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.chaos.openapi_fuzz_checks", "PYTHONPATH": python_path}
        completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if not report.exists():
            raise SystemExit(completed.stdout + completed.stderr)
        content: dict[str, Any] = json.loads(report.read_text())
    return content | {"printed": completed.stdout}


def count_answers(client: httpx.Client) -> Counter[str]:
    """Return the server's count of its answers by class of status."""
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(client.get("/metrics").raise_for_status().text):
        for sample in family.samples:
            if sample.name == "relumine_requests_total":
                counts[f"{sample.labels['status'][0]}xx"] += int(sample.value)
    return counts


def fuzz(database: str, caller: str, cases: int, examples: int, seed: int) -> bool:
    """Send at least so many cases as one caller; return whether nothing was found."""
    sent = 0
    tested = 0
    total = 0
    failures: Counter[str] = Counter()
    with serving(database, caller) as (server, headers, client):
        while sent < cases and not +failures:
            report = run_schemathesis(server, caller, headers, examples, seed)
            sent += report["test_cases"]["generated"]
            tested = report["operations"]["tested"]
            total = report["operations"]["total"]
            for failure in report["failures"]:
                failures[failure["title"]] += failure["count"]
            failures["errors of schemathesis"] += len(report["errors"])
            if report["failures"]:
                print(report["printed"])
            seed += 1
        answers = count_answers(client)
    print(
        f"{database}, {caller}: {sent:,} cases, {tested} of {total} operations, found {dict(+failures) or 'nothing'}; "
        f"answered {dict(sorted(answers.items()))}",
        flush=True,
    )
    return not +failures and tested == total and not answers["5xx"]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=int, default=10_000, help="of each caller, at least")
    options.add_argument("--examples", type=int, default=30, help="per operation and phase, in one run of schemathesis")
    options.add_argument("--callers", nargs="+", choices=CALLERS, default=list(CALLERS))
    options.add_argument("--database", choices=tuple(DATABASES), default="sqlite")
    options.add_argument("--seed", type=int, default=1)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Fuzz as each caller."""
    options = parser().parse_args(arguments)
    amount = (options.cases, options.examples, options.seed)
    results = [fuzz(options.database, caller, *amount) for caller in options.callers]
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
