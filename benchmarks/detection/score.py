"""Replays kept runs through the detector and the published rules, and prints how each of them did, with intervals.

    python benchmarks/detection/score.py --half tune --from DIR [--seeds N] [--runs] [--set nats=8]
    python benchmarks/detection/score.py --half report|second|third --from DIR --why "who: what for"

The report half, the second and the third are held out: each scoring of them is noted in looks.log. A policy can be
tried out on the tune half only.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import fields, replace

import commandline
from alarms import Alarm, alarms_of
from calibration import print_reliability
from cases import Case
from looks import HELD_OUT, looks
from rules import RULES
from runs import Run
from scorer import HEADLINES, Metric, Score, Verdict, judge, most_common_cause, scores
from targets import print_targets

from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay

OURS = "relumine"


def main() -> None:
    """Print the table."""
    arguments = _arguments()
    found = commandline.known(arguments)
    told = {OURS: [judge(case, ours(run, arguments.policy)) for run, case in found]}
    for name, rule in RULES.items():
        told[name] = [judge(case, rule(run.infos(), run.records())) for run, case in found]
    if arguments.runs:
        _print_runs(told[OURS])
    _print_truth(arguments.half, [case for _, case in found])
    table = {name: scores(verdicts, metrics(verdicts)) for name, verdicts in told.items()}
    print_table(table)
    print_targets(table[OURS])
    _print_groups(told[OURS])
    print_reliability(told[OURS])
    half = arguments.half if arguments.half in HELD_OUT else "report"
    print(f"\nThe {half} half was scored {len(looks(half))} times so far.")


def _arguments() -> argparse.Namespace:
    options = commandline.parser(__doc__)
    options.add_argument("--runs", action="store_true", help="a line per run of what was true and what was said")
    options.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another policy (tune only)")
    arguments = commandline.parsed(options)
    if arguments.half in HELD_OUT and arguments.set:
        options.error(f"the {arguments.half} half is judged by the policy as it stands")
    arguments.policy = _policy(arguments.set)
    return arguments


def _policy(settings: list[str]) -> Policy:
    kinds = {field.name: type(getattr(Policy(), field.name)) for field in fields(Policy)}
    pairs = [setting.split("=", 1) for setting in settings]
    return replace(Policy(), **{name: kinds[name](float(value)) for name, value in pairs})


def ours(run: Run, policy: Policy) -> list[Alarm]:
    """What our detector says of a run."""
    _readings, findings = replay(run.infos(), run.records(), policy)
    return alarms_of(findings)


def metrics(verdicts: list[Verdict]) -> list[Metric]:
    """The headlines, and among them what guessing the cause would give."""
    at = [metric.name for metric in HEADLINES].index("cause right") + 1
    return [*HEADLINES[:at], most_common_cause(verdicts), *HEADLINES[at:]]


def _print_truth(half: str, known: list[Case]) -> None:
    kinds = Counter(case.kind for case in known)
    harmless = sum(case.is_positive and not case.harmful for case in known)
    sparse = [case for case in known if case.recipe.sparse]
    ill = sum(case.is_positive for case in sparse)
    print(f"{half} half: {len({c.recipe.base for c in known})} recipes, {len(known)} runs: "
          + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
          + f"; {harmless} collapses cost nothing; {ill} of {len(sparse)} runs of sparse nets collapsed")  # fmt: skip


def print_table(table: dict[str, list[Score]]) -> None:
    """A column of scores per name."""
    names = [score.name for score in next(iter(table.values()))]
    print("\n" + " " * 32 + "".join(f"{name:>20s}" for name in table))
    for place, name in enumerate(names):
        print(f"{name:32s}" + "".join(f"{_cell(column[place]):>20s}" for column in table.values()))


def _cell(score: Score) -> str:
    if score.value != score.value:
        return "–"
    return f"{score.value:.2f} [{score.low:.2f} {score.high:.2f}]"


def _print_groups(verdicts: list[Verdict]) -> None:
    """Our own numbers by what was done, and by model family."""
    print(f"\n{OURS} by:         collapsed   found  in time  cause right  |  sound  alarmed")
    groups = {v.case.recipe.group for v in verdicts if v.case.is_positive}
    for name in (*sorted(groups), *sorted({v.case.recipe.family for v in verdicts})):
        own = [v for v in verdicts if name in (v.case.recipe.group, v.case.recipe.family)]
        ill, sound = [v for v in own if v.case.is_positive], [v for v in own if v.case.is_negative]
        print(
            f"  {name:16s}{len(ill):12d}{sum(v.found is not None for v in ill):8d}{sum(v.is_timely for v in ill):9d}"
            f"{sum(v.is_cause_right for v in ill):13d}  |{len(sound):7d}{sum(bool(v.false) for v in sound):9d}"
        )


def _print_runs(verdicts: list[Verdict]) -> None:
    for v in verdicts:
        case = v.case
        layers = [layer for layer, step in case.collapses.items() if step == case.collapse] if case.collapses else []
        true = f"{case.kind} at {case.at}, collapse {case.collapse} (layer {layers[0]})" if layers else case.kind
        print(f"{case.recipe.name:48s} s{case.seed}  {true:50s}  {in_words(v)}")


def in_words(v: Verdict) -> str:
    """What was said of a run, and whether it was right."""
    mark = "FALSE " if v.case.is_positive or v.case.is_negative else ""
    parts = [f"{mark}{a.kind} layer {a.layer_id} step {a.step}–{a.closed or ''} ({a.cause})" for a in v.false]
    if v.found is not None:
        marks = "in time" if v.is_timely else "LATE"
        cause = v.found.cause if v.is_cause_right else f"{v.found.cause} WRONG"
        parts.append(f"{v.found.kind} layer {v.found.layer_id} step {v.found.step} {marks}, {cause}")
    elif v.case.is_positive:
        parts.append("told as info" if v.is_quiet else "MISSED")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
