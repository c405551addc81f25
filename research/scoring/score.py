"""Scores of the detector and of published rules on stored runs, with intervals.

    python -m research.scoring.score --split tune [--from DIR] [--seeds N] [--runs] [--set nats=8]
    python -m research.scoring.score --split heldout_1|heldout_2|heldout_3 [--from DIR] --why "who: what for"

Each scoring of a held-out set is logged in ``holdout.log``. Other thresholds can be tried on the other splits only.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace

from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay
from research import cli
from research.corpus.cases import Case
from research.corpus.run_store import Run
from research.scoring.alarms import Alarm, alarms_of
from research.scoring.calibration import print_reliability
from research.scoring.goals import print_goals
from research.scoring.holdout_log import HELD_OUT, accesses
from research.scoring.published_rules import RULES
from research.scoring.scorer import HEADLINES, Metric, Score, Verdict, judge, most_common_cause, scores

OURS = "relumine"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = cli.corpus_parser(__doc__)
    options.add_argument("--runs", action="store_true", help="print a line per run with its case and its alarms")
    options.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another threshold")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    options = parser()
    namespace = cli.parse(options, arguments)
    if namespace.split in HELD_OUT and namespace.set:
        options.error(f"the split {namespace.split} is scored with the default policy")
    policy = _policy(namespace.set)
    pairs = cli.load_pairs(namespace)
    verdicts = {OURS: [judge(case, our_alarms(run, policy)) for run, case in pairs]}
    for name, rule in RULES.items():
        verdicts[name] = [judge(case, rule(run.infos(), run.records())) for run, case in pairs]
    if namespace.runs:
        _print_runs(verdicts[OURS])
    _print_cases(namespace.split, [case for _, case in pairs])
    table = {name: scores(judged, metrics(judged)) for name, judged in verdicts.items()}
    print_table(table)
    print_goals(table[OURS])
    _print_groups(verdicts[OURS])
    print_reliability(verdicts[OURS])
    if namespace.split in HELD_OUT:
        print(f"\nThe split {namespace.split} was scored {len(accesses(namespace.split))} times so far.")


def _policy(settings: list[str]) -> Policy:
    """Return the default policy with some thresholds replaced."""
    types = {field.name: type(getattr(Policy(), field.name)) for field in fields(Policy)}
    thresholds = {}
    for setting in settings:
        name, value = setting.split("=", 1)
        thresholds[name] = types[name](float(value))
    return replace(Policy(), **thresholds)


def our_alarms(run: Run, policy: Policy) -> list[Alarm]:
    """Return the alarms of our detector."""
    _readings, findings = replay(run.infos(), run.records(), policy)
    return alarms_of(findings)


def metrics(verdicts: list[Verdict]) -> list[Metric]:
    """Return the headlines with the score of guessing the cause among them."""
    position = [metric.name for metric in HEADLINES].index("cause right") + 1
    return [*HEADLINES[:position], most_common_cause(verdicts), *HEADLINES[position:]]


def _print_cases(split: str, cases: list[Case]) -> None:
    kinds = Counter(case.kind for case in cases)
    harmless = sum(case.is_positive and not case.is_harmful for case in cases)
    sparse = [case for case in cases if case.recipe.sparse]
    collapsed = sum(case.is_positive for case in sparse)
    recipes = {case.recipe.base for case in cases}
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    print(f"split {split}: {len(recipes)} recipes, {len(cases)} runs: {counts}; ", end="")
    print(f"{harmless} collapses are harmless; {collapsed} of {len(sparse)} runs of sparse nets collapsed")


def print_table(table: dict[str, list[Score]]) -> None:
    """Print a column of scores per name."""
    first_column = next(iter(table.values()))
    print("\n" + " " * 36 + "".join(f"{name:>20s}" for name in table))
    for row, score in enumerate(first_column):
        print(f"{score.name:36s}" + "".join(f"{_cell(column[row]):>20s}" for column in table.values()))


def _cell(score: Score) -> str:
    return "–" if score.is_empty else f"{score.value:.2f} [{score.low:.2f} {score.high:.2f}]"


def _print_groups(verdicts: list[Verdict]) -> None:
    """Print our counts by the kind of fault, and by model family."""
    print(f"\n{OURS} by:         collapsed   found  in time  cause right  |  healthy  alarmed")
    groups = sorted({verdict.case.recipe.group for verdict in verdicts if verdict.case.is_positive})
    families = sorted({verdict.case.recipe.family for verdict in verdicts})
    for name in (*groups, *families):
        members = [verdict for verdict in verdicts if name in (verdict.case.recipe.group, verdict.case.recipe.family)]
        collapsed = [verdict for verdict in members if verdict.case.is_positive]
        healthy = [verdict for verdict in members if verdict.case.is_negative]
        detected = sum(verdict.alarm is not None for verdict in collapsed)
        timely = sum(verdict.is_timely for verdict in collapsed)
        right = sum(verdict.is_cause_right for verdict in collapsed)
        alarmed = sum(bool(verdict.false) for verdict in healthy)
        print(f"  {name:16s}{len(collapsed):12d}{detected:8d}{timely:9d}{right:13d}  |{len(healthy):9d}{alarmed:9d}")


def _print_runs(verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        case = verdict.case
        truth = str(case.kind)
        if case.collapses:
            layer = next(layer for layer, step in case.collapses.items() if step == case.collapse)
            truth = f"{case.kind}, fault at {case.fault_step}, collapse {case.collapse} (layer {layer})"
        print(f"{case.recipe.name:48s} s{case.seed}  {truth:52s}  {describe(verdict)}")


def describe(verdict: Verdict) -> str:
    """Describe the alarms of a run, and whether they were right."""
    case = verdict.case
    mark = "FALSE " if case.is_positive or case.is_negative else ""
    parts = []
    for false in verdict.false:
        span = f"{false.step}–{false.resolved or ''}"
        parts.append(f"{mark}{false.kind} layer {false.layer_id} step {span} ({false.cause})")
    alarm = verdict.alarm
    if alarm is not None:
        timing = "in time" if verdict.is_timely else "LATE"
        cause = alarm.cause if verdict.is_cause_right else f"{alarm.cause} WRONG"
        parts.append(f"{alarm.kind} layer {alarm.layer_id} step {alarm.step} {timing}, {cause}")
    elif case.is_positive:
        parts.append("reported as info" if verdict.is_quiet else "MISSED")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
