"""Scores on the kinds in which the detector failed, by kind: found, in time, lead, cause, false alarms, traps passed.

    python -m research.scoring.kinds [--from DIR] [--seeds N] [--runs]
    python -m research.scoring.kinds --split kinds_reported --why "who: what for" [--from DIR]

``stays open``: runs with a trap that passes in which an alarm is open more than ten sampled steps after its end.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

from relumine_server.detection.policy import Policy
from research import cli
from research.corpus.cases import Case
from research.corpus.kinds import kind_of
from research.scoring.alarms import Alarm
from research.scoring.score import describe, our_alarms
from research.scoring.scorer import HEADLINES, Verdict, judge, scores

SPLITS = ("kinds", "kinds_reported")
MAX_RECORDS_OPEN = 10
"""Sampled steps after the end of a trap within which its alarms are to be closed."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    options = cli.corpus_parser(__doc__, splits=SPLITS)
    options.set_defaults(split="kinds")
    options.add_argument("--runs", action="store_true", help="print a line per run with its case and its alarms")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per kind, then the headlines over all of them."""
    namespace = cli.parse(parser(), arguments)
    judged = []
    for run, case in cli.load_pairs(namespace):
        alarms = our_alarms(run, Policy())
        judged.append((judge(case, alarms), alarms))
    if namespace.runs:
        for verdict, alarms in judged:
            _print_run(verdict, alarms)
    _print_kinds(judged)
    for score in scores([verdict for verdict, _ in judged], HEADLINES):
        if not score.is_empty:
            print(f"{score.name:36s}{score.value:6.2f} [{score.low:.2f} {score.high:.2f}]")


def stays_open(case: Case, alarms: Sequence[Alarm]) -> bool:
    """Return whether an alarm is open for longer than it should be after the end of a trap that passes."""
    ends = [change.end for change in case.recipe.benign if change.end is not None]
    if not ends:
        return False
    later_steps = [step for step in case.sampled_steps if step > max(ends)]
    if len(later_steps) <= MAX_RECORDS_OPEN:
        return False
    limit = later_steps[MAX_RECORDS_OPEN]
    return any(alarm.resolved is None or alarm.resolved > limit for alarm in alarms if not alarm.is_info)


def _print_kinds(judged: Sequence[tuple[Verdict, list[Alarm]]]) -> None:
    print("kind        collapsed  found  in time  lead  cause right  first layer | healthy  alarmed  stays open")
    for kind in dict.fromkeys(kind_of(verdict.case.recipe) for verdict, _ in judged):
        members = [(verdict, alarms) for verdict, alarms in judged if kind_of(verdict.case.recipe) == kind]
        collapsed = [verdict for verdict, _ in members if verdict.case.is_positive]
        leads = [verdict.lead for verdict in collapsed if verdict.case.kind == "onset"]
        numbers = [
            len(collapsed),
            sum(verdict.alarm is not None for verdict in collapsed),
            sum(verdict.is_timely for verdict in collapsed),
            f"{statistics.median(leads):.2f}" if leads else "–",
            sum(verdict.is_cause_right for verdict in collapsed),
            sum(verdict.is_layer_right for verdict in collapsed),
            sum(verdict.case.is_negative for verdict, _ in members),
            sum(bool(verdict.false) for verdict, _ in members if verdict.case.is_negative),
            sum(stays_open(verdict.case, alarms) for verdict, alarms in members if verdict.case.is_negative),
        ]
        cells = zip(numbers, (9, 7, 9, 6, 13, 13, 10, 9, 12), strict=True)
        print(f"{kind:12s}" + "".join(f"{number:>{width}}" for number, width in cells))


def _print_run(verdict: Verdict, alarms: Sequence[Alarm]) -> None:
    case = verdict.case
    truth = str(case.kind)
    if case.collapses:
        truth = f"{case.kind}, fault at {case.fault_step}, collapse {case.collapse}"
    mark = " STAYS OPEN" if case.is_negative and stays_open(case, alarms) else ""
    infos = " ".join(f"(info {alarm.kind} {alarm.layer_id} at {alarm.step})" for alarm in alarms if alarm.is_info)
    print(f"{case.recipe.name:46s} s{case.seed}  {truth:40s}  {describe(verdict)}{mark} {infos}")


if __name__ == "__main__":
    main()
