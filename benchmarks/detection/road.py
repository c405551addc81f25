"""The scores over the whole road: SDK, HTTP, a server process, SQLite, the API; beside them its records replayed here.

    python benchmarks/detection/road.py --half tune [--every N]… [--every sdk] [--seeds N] [--only TEXT] [--beside DIR]…
    python benchmarks/detection/road.py --half report|second --why "who: what for"

Each pace (by default a look at every 10th step, and the SDK's own) has a server of its own. Listed are runs whose
alerts are not what a replay of their stored records gives, and those that the two paces are judged differently on.
What was trained is kept per pace and per state of the server's code, so that an interrupted run goes on.
``--beside`` names what corpus.py kept of the same pace, without a server: are the records the same?
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import get_args

import httpx
import numpy as np
import torch
from alarms import alarms_of
from cases import Case, case_of
from catalogue import Half, trainings, twin_of
from looks import HELD_OUT, looks, note_look
from recipe import Recipe
from runs import Run, keep, kept, tables_of
from score import in_words, metrics, print_table
from scorer import Verdict, judge, scores
from standing import Standing, alarms_in, lost_words, of_alerts, of_findings, unlike
from training import run_id_of, train

import relumine
import relumine_server
from relumine.table import Row
from relumine.views import Alert
from relumine.views import Run as RunView
from relumine_server.detection.policy import DEFAULT
from relumine_server.detection.replay import replay
from relumine_server.storage import journal, runs
from relumine_server.storage.store import Store

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos.rig import server

FOLDER = Path(tempfile.gettempdir()) / "relumine-road"
PACES = ("10", "sdk")


@dataclass(frozen=True)
class Judged:
    """A run, judged by what the API told of it and by what its records say when they are replayed as findings."""

    run: Run
    told: Verdict
    replayed: Verdict
    unlike: list[str]
    lost: list[str]
    beside: str | None
    """How its records differ from those without a server; empty where they do not, None where that is not known."""


def main() -> None:
    """Train what is missing, ask, judge, print."""
    arguments = _arguments()
    torch.set_num_threads(1)
    chosen = _chosen(arguments)
    folders = {pace: arguments.keep / f"{pace}-{_code()}" for pace in arguments.every}
    alerts = {pace: _drive(folder, pace, chosen) for pace, folder in folders.items()}
    if arguments.half in HELD_OUT:
        note_look(arguments.why, arguments.half)
    judged = {pace: _judge(folders[pace], chosen, alerts[pace], arguments.beside) for pace in folders}
    for pace, found in judged.items():
        _print_pace(_name(pace), found)
    verdicts = {}
    for pace, found in judged.items():
        verdicts[f"{_name(pace)}, API"] = [one.told for one in found]
        verdicts[f"{_name(pace)}, replay"] = [one.replayed for one in found]
    print_table({name: scores(own, metrics(own)) for name, own in verdicts.items()})
    if len(judged) == 2:
        _print_between(judged)
    half = arguments.half if arguments.half in HELD_OUT else "report"
    print(f"\nThe {half} half was scored {len(looks(half))} times so far.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=get_args(Half), default="tune")
    parser.add_argument("--every", action="append", metavar="N", help="N or sdk, may be repeated; default: 10 and sdk")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    parser.add_argument(
        "--beside", type=Path, action="append", default=[], metavar="DIR", help="runs kept by corpus.py"
    )
    parser.add_argument("--only", action="append", metavar="TEXT", help="recipes whose name contains this")
    parser.add_argument("--why", help="who looks at a half that is held out, and what for")
    arguments = parser.parse_args()
    arguments.every = list(dict.fromkeys(arguments.every or PACES))
    if not all(pace == "sdk" or pace.isdecimal() for pace in arguments.every):
        parser.error("--every is a number of steps or sdk")
    if arguments.half in HELD_OUT and not arguments.why:
        parser.error(f"the {arguments.half} half needs --why")
    return arguments


def _chosen(arguments: argparse.Namespace) -> list[tuple[Recipe, int]]:
    """The trainings that were asked for; with a recipe its twin, which its truth needs."""
    wanted = [
        recipe
        for recipe in trainings(arguments.half)
        if not arguments.only or any(text in recipe.name for text in arguments.only)
    ]
    whole = {recipe.name: recipe for one in wanted for recipe in (twin_of(one), one) if recipe is not None}
    return [(recipe, seed) for seed in range(arguments.seeds) for recipe in whole.values()]


def _code() -> str:
    """A name for this state of the server: what another one told is not to be mixed in."""
    folder = Path(relumine_server.__file__).parent
    code = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))
    return sha256(code).hexdigest()[:8]


def _drive(folder: Path, pace: str, chosen: Sequence[tuple[Recipe, int]]) -> dict[str, list[Alert]]:
    """Train what is missing, each run reporting to a real server; the alerts of all of them by run."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["RELUMINE_DIR"] = str(folder / "spool")
    sources = (Path(package.__file__ or "").parents[1] for package in (relumine, relumine_server))
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, sources))  # the server runs the code that replays here
    every = None if pace == "sdk" else int(pace)
    with server(folder=str(folder)) as url, relumine.Client(url) as client:
        for place, (recipe, seed) in enumerate(chosen, start=1):
            if kept(folder, recipe, seed) is None:
                began = time.perf_counter()
                httpx.delete(f"{url}/v1/runs/{run_id_of(recipe, seed)}")  # left by a training that was cut short
                run = train(recipe, seed, every, url)
                _require_arrived(run, client.run(run_id_of(recipe, seed)))
                keep(folder, run)
                took = time.perf_counter() - began
                print(f"{_name(pace)} {place}/{len(chosen)} {recipe.name} s{seed} {took:.1f} s", file=sys.stderr)
        names = [run_id_of(recipe, seed) for recipe, seed in chosen]
        return {run_id: list(client.alerts(run_id=run_id)) for run_id in names}


def _require_arrived(run: Run, seen: RunView) -> None:
    stats = run.stats
    whole = stats["sent"] == stats["samples"] and not stats["dropped"] and not stats["errors"]
    if not whole or seen.state != "finished" or seen.dropped:
        raise SystemExit(f"{run.recipe.name}: not all looks arrived: {stats}, the server says {seen}")


def _judge(
    folder: Path, chosen: Sequence[tuple[Recipe, int]], alerts: Mapping[str, list[Alert]], beside: Sequence[Path]
) -> list[Judged]:
    """Every run by its alerts and by its stored records, now that the server has ended."""
    store = Store.open(f"sqlite:///{folder / 'relumine.db'}")
    found = []
    for recipe, seed in chosen:
        run, twin = _stored(store, folder, recipe, seed), twin_of(recipe)
        case = case_of(run, None if twin is None else kept(folder, twin, seed))
        others = [other for place in beside if (other := kept(place, recipe, seed)) and other.every == run.every]
        apart = _apart(run, others[0]) if others else None
        found.append(_judge_run(run, case, of_alerts(alerts[run_id_of(recipe, seed)]), apart))
    store.close()
    return found


def _judge_run(run: Run, case: Case, told: list[Standing], beside: str | None) -> Judged:
    _readings, findings = replay(run.infos(), run.records(), DEFAULT)
    due = of_findings(findings)
    slim = replace(run, tables=[])  # records of hundreds of runs need not stay in memory
    by_alerts, by_findings = judge(case, alarms_in(told)), judge(case, alarms_of(findings))
    return Judged(slim, by_alerts, by_findings, unlike(told, due), lost_words(findings, due), beside)


def _apart(one: Run, other: Run) -> str:
    """How the records differ, however they were shared out to uploads; empty where they are equal to the last bit."""
    own, others = ({(row.step, row.layer_id): row for row in run.records()} for run in (one, other))
    only, missing = own.keys() - others.keys(), others.keys() - own.keys()
    if only or missing:
        return f"{len({step for step, _ in only})} looks only here, {len({step for step, _ in missing})} only there"
    unlike = sum(not _are_same(row, others[key]) for key, row in own.items())
    return f"{unlike} of {len(own)} records measure something else" if unlike else ""


def _are_same(one: Row, other: Row) -> bool:
    ours, theirs = one.arrays(), other.arrays()
    same_units = all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours.keys() & theirs.keys())
    return one[2:] == other[2:] and same_units  # from the third field on: before it stand the table and a place in it


def _stored(store: Store, folder: Path, recipe: Recipe, seed: int) -> Run:
    """A kept run with the layers and records that the server has of it."""
    run, run_id = kept(folder, recipe, seed), run_id_of(recipe, seed)
    if run is None:
        raise SystemExit(f"{recipe.name} is gone from {folder}")
    with store.read() as connection:
        layers = [info.model_dump() for info in runs.load_layers(connection, run_id)]
        tables = tables_of(table for _session, _seq, table in journal.tables(connection, run_id))
    return replace(run, layers=layers, tables=tables)


def _print_pace(name: str, found: Sequence[Judged]) -> None:
    """What arrived, and every run whose records, alerts or verdicts are not what they are without the road."""
    known, less = [one for one in found if one.beside is not None], [one for one in found if _differs(one)]
    as_replayed = sum(not one.unlike for one in found)
    print(f"\n{name}: {len(found)} runs, {sum(one.run.stats['samples'] for one in found):,} looks, all stored")
    print(f"  records equal to those without a server: {sum(not one.beside for one in known)} of {len(known)} runs")
    print("".join(f"    {_label(one)}: {one.beside}\n" for one in known if one.beside), end="")
    print(f"  alerts equal to those of a replay of the stored records: {as_replayed} of {len(found)} runs")
    print("".join(f"    {_label(one)}: {line}\n" for one in found for line in one.unlike), end="")
    print(f"  judged differently by alerts and by the findings behind them: {len(less)} of {len(found)} runs")
    for one in less:
        print(f"    {_label(one)}\n      alerts    {_said(one.told)}\n      findings  {_said(one.replayed)}")
        print("".join(f"      since {line}\n" for line in one.lost), end="")


def _print_between(judged: Mapping[str, Sequence[Judged]]) -> None:
    """Runs that are judged differently at the two paces, with the looks that each had from fault to collapse."""
    pairs = list(zip(*judged.values(), strict=True))
    same = sum(np.array_equal(one.run.losses, other.run.losses, equal_nan=True) for one, other in pairs)
    apart = [pair for pair in pairs if _essence(pair[0].told) != _essence(pair[1].told)]
    print(
        f"\nThe same training to the last bit at both paces: {same} of {len(pairs)}; judged differently: {len(apart)}"
    )
    for pair in apart:
        print(f"  {_label(pair[0])}: {pair[0].told.case.kind}")
        for pace, one in zip(judged, pair, strict=True):
            print(f"    {_name(pace):12s}{_looks_on_the_way(one.told.case)}{_said(one.told)}")


def _looks_on_the_way(case: Case) -> str:
    if not case.is_positive:
        return ""
    return f"{case.samples_after(case.at, case.collapse)} looks to the collapse at {case.collapse}; "


def _essence(verdict: Verdict) -> tuple[object, ...]:
    """What the scores count; not how early an alarm in time was."""
    named = (verdict.is_timely, verdict.is_cause_right, verdict.is_layer_right)
    return (verdict.found is None, verdict.is_quiet, *named, len(verdict.false))


def _differs(one: Judged) -> bool:
    told, replayed = one.told, one.replayed
    return (*_essence(told), told.lead, told.delay) != (*_essence(replayed), replayed.lead, replayed.delay)


def _said(verdict: Verdict) -> str:
    return in_words(verdict) or "nothing"


def _label(one: Judged) -> str:
    return f"{one.run.recipe.name} s{one.run.seed}"


def _name(pace: str) -> str:
    return "SDK's pace" if pace == "sdk" else f"every {pace}"


if __name__ == "__main__":
    main()
