"""The scores over the whole path (SDK, HTTP, a server process, SQLite, the API), beside a replay of the stored records.

    python -m research.scoring.end_to_end --split tune [--every N]… [--every sdk] [--seeds N] [--only TEXT]
                                          [--compare DIR]…
    python -m research.scoring.end_to_end --split heldout_1|heldout_2|heldout_3 --why "who: what for"

Each interval (by default every 10th step, and the SDK's own) has its own server. Listed are runs whose alerts differ
from those of a replay of their stored records, and runs that are judged differently at the two intervals. Trainings are
stored per interval and per state of the server's code, so that an interrupted command goes on. ``--compare`` names
folders of ``research.corpus.collect`` with the same interval, trained without a server, to compare records with.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import httpx
import numpy as np
import torch

import relumine
import relumine_server
from benchmarks.common.server_process import relumine as relumine_process
from relumine.schemas.alert import Alert
from relumine.schemas.record_table import Row
from relumine.schemas.run import Run as RunView
from relumine_server.db.database import Database
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import replay
from relumine_server.runs import repository as run_repository
from relumine_server.timeseries.replay import stored_uploads
from research import cli
from research.corpus.cases import Case, case_of
from research.corpus.catalogue import SPLITS, trainings, twin_of
from research.corpus.recipe import Recipe
from research.corpus.run_store import Run, load_run, store_run, table_arrays
from research.corpus.training import run_id_of, train
from research.scoring.alarms import alarms_of
from research.scoring.end_to_end_report import JudgedRun, print_report
from research.scoring.final_alerts import (
    FinalAlert,
    alarms_of_alerts,
    describe_differences,
    describe_lost_findings,
    from_api,
    from_findings,
)
from research.scoring.holdout_log import HELD_OUT, accesses, log_access
from research.scoring.scorer import judge

FOLDER = Path(tempfile.gettempdir()) / "relumine-end-to-end"
INTERVALS = ("10", "sdk")
DEFAULT_SETTINGS: dict[str, str] = {}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--split", choices=SPLITS, default="tune")
    options.add_argument("--every", action="append", metavar="N", help="N or sdk, repeatable; default: 10 and sdk")
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--keep", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options.add_argument("--compare", type=Path, action="append", default=[], metavar="DIR", help="runs without server")
    options.add_argument("--only", action="append", metavar="TEXT", help="recipes whose name contains this")
    cli.add_reason(options)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, read the alerts, judge, print."""
    options = parser()
    namespace = options.parse_args(arguments)
    intervals = list(dict.fromkeys(namespace.every or INTERVALS))
    if not all(interval == "sdk" or interval.isdecimal() for interval in intervals):
        options.error("--every is a number of steps or sdk")
    cli.check_reason(options, namespace)
    torch.set_num_threads(1)
    chosen = _choose_trainings(namespace)
    folders = {interval: namespace.keep / f"{interval}-{_code_hash()}" for interval in intervals}
    alerts = {interval: _train_missing(folder, interval, chosen) for interval, folder in folders.items()}
    if namespace.split in HELD_OUT:
        log_access(namespace.why, namespace.split)
    judged = {}
    for interval, folder in folders.items():
        judged[_title(interval)] = _judge_all(folder, chosen, alerts[interval], namespace.compare)
    print_report(judged)
    if namespace.split in HELD_OUT:
        print(f"\nThe split {namespace.split} was scored {len(accesses(namespace.split))} times so far.")


def _title(interval: str) -> str:
    return "SDK's interval" if interval == "sdk" else f"every {interval}"


def _choose_trainings(arguments: argparse.Namespace) -> list[tuple[Recipe, int]]:
    """Return recipes and seeds; with each recipe its twin, which its ground truth needs."""
    recipes: dict[str, Recipe] = {}
    for recipe in trainings(arguments.split):
        if arguments.only and not any(text in recipe.name for text in arguments.only):
            continue
        twin = twin_of(recipe)
        if twin is not None:
            recipes[twin.name] = twin
        recipes[recipe.name] = recipe
    return [(recipe, seed) for seed in range(arguments.seeds) for recipe in recipes.values()]


def _code_hash() -> str:
    """Return a hash of the server's code: results of different code must not be mixed."""
    folder = Path(relumine_server.__file__).parent
    code = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))
    return sha256(code).hexdigest()[:8]


def _train_missing(folder: Path, interval: str, chosen: Sequence[tuple[Recipe, int]]) -> dict[str, list[Alert]]:
    """Train what is missing, each run reporting to a real server; return the alerts by run."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["RELUMINE_DIR"] = str(folder / "spool")
    every = None if interval == "sdk" else int(interval)
    database_url = f"sqlite:///{folder / 'relumine.db'}"
    with relumine_process(database_url, folder, DEFAULT_SETTINGS) as process, relumine.Client(process.url) as client:
        for number, (recipe, seed) in enumerate(chosen, start=1):
            if load_run(folder, recipe, seed) is None:
                start = time.perf_counter()
                # An interrupted training may have left a run of this id.
                httpx.delete(f"{process.url}/v1/runs/{run_id_of(recipe, seed)}")
                run = train(recipe, seed, every, process.url)
                _require_complete(run, client.run(run_id_of(recipe, seed)))
                store_run(folder, run)
                progress = f"{_title(interval)} {number}/{len(chosen)} {recipe.name} s{seed}"
                print(f"{progress} {time.perf_counter() - start:.1f} s", file=sys.stderr)
        run_ids = [run_id_of(recipe, seed) for recipe, seed in chosen]
        return {run_id: list(client.alerts(run_id=run_id)) for run_id in run_ids}


def _require_complete(run: Run, view: RunView) -> None:
    """Exit if the server does not have every sampled step."""
    stats = run.stats
    is_complete = stats["acked_steps"] == stats["sampled_steps"] and not stats["dropped_steps"] and not stats["errors"]
    if not is_complete or view.status != "finished" or view.dropped:
        raise SystemExit(f"{run.recipe.name}: sampled steps are missing: {stats}, the server answers {view}")


def _judge_all(
    folder: Path, chosen: Sequence[tuple[Recipe, int]], alerts: Mapping[str, list[Alert]], others: Sequence[Path]
) -> list[JudgedRun]:
    """Judge every run by its alerts and by its stored records; the server has ended."""
    database = Database.open(f"sqlite:///{folder / 'relumine.db'}")
    judged = []
    for recipe, seed in chosen:
        run = _load_with_stored_records(database, folder, recipe, seed)
        twin = twin_of(recipe)
        case = case_of(run, None if twin is None else load_run(folder, twin, seed))
        final_alerts = from_api(alerts[run_id_of(recipe, seed)])
        judged.append(_judge(run, case, final_alerts, _compare_records(run, others)))
    database.close()
    return judged


def _judge(run: Run, case: Case, alerts: list[FinalAlert], record_difference: str | None) -> JudgedRun:
    _readings, findings = replay(run.infos(), run.records(), DEFAULT)
    expected = from_findings(findings)
    return JudgedRun(
        run=replace(run, tables=[]),  # records of hundreds of runs need not stay in memory
        by_alerts=judge(case, alarms_of_alerts(alerts)),
        by_replay=judge(case, alarms_of(findings)),
        differences=describe_differences(alerts, expected),
        lost_findings=describe_lost_findings(findings, expected),
        record_difference=record_difference,
    )


def _compare_records(run: Run, folders: Sequence[Path]) -> str | None:
    """Describe the difference to the same run without a server; None if no folder has it with the same interval."""
    for folder in folders:
        other = load_run(folder, run.recipe, run.seed)
        if other is not None and other.every == run.every:
            return _describe_record_difference(run, other)
    return None


def _describe_record_difference(run: Run, other: Run) -> str:
    """Describe how records differ, whatever uploads they came in; empty if they are equal to the last bit."""
    records = {(row.step, row.layer_id): row for row in run.records()}
    other_records = {(row.step, row.layer_id): row for row in other.records()}
    only_in_run = {step for step, _ in records.keys() - other_records.keys()}
    only_in_other = {step for step, _ in other_records.keys() - records.keys()}
    if only_in_run or only_in_other:
        return f"{len(only_in_run)} sampled steps only with the server, {len(only_in_other)} only without it"
    different = sum(not _is_same(row, other_records[key]) for key, row in records.items())
    return f"{different} of {len(records)} records have other values" if different else ""


def _is_same(row: Row, other: Row) -> bool:
    columns = row.arrays()
    other_columns = other.arrays()
    for name in columns.keys() & other_columns.keys():
        if not np.array_equal(columns[name], other_columns[name], equal_nan=True):
            return False
    return row[2:] == other[2:]  # the first two fields are the table and the row's index in it


def _load_with_stored_records(database: Database, folder: Path, recipe: Recipe, seed: int) -> Run:
    """Return a stored run with the layers and records that the server has of it."""
    run = load_run(folder, recipe, seed)
    run_id = run_id_of(recipe, seed)
    if run is None:
        raise SystemExit(f"{recipe.name} has disappeared from {folder}")
    with database.read() as connection:
        layers = [info.model_dump() for info in run_repository.load_layers(connection, run_id)]
        tables = table_arrays(upload.records for upload in stored_uploads(connection, run_id))
    return replace(run, layers=layers, tables=tables)


if __name__ == "__main__":
    main()
