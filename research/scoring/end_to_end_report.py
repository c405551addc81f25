"""The tables of ``end_to_end``: scores by alerts and by replay, and the runs that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from research.corpus.cases import Case
from research.corpus.run_store import Run
from research.scoring.score import describe, metrics, print_table
from research.scoring.scorer import Verdict, scores


@dataclass(frozen=True)
class JudgedRun:
    """A run, judged by its alerts in the API and by the findings of a replay of its stored records."""

    run: Run
    by_alerts: Verdict
    by_replay: Verdict
    differences: list[str]
    lost_findings: list[str]
    record_difference: str | None
    """Difference to the records without a server; empty if there is none, None if there is nothing to compare."""

    @property
    def label(self) -> str:
        """Recipe and seed."""
        return f"{self.run.recipe.name} s{self.run.seed}"

    @property
    def is_judged_differently(self) -> bool:
        """True if the verdict by alerts differs from that by replay."""
        by_alerts = (*_outcome(self.by_alerts), self.by_alerts.lead, self.by_alerts.delay)
        by_replay = (*_outcome(self.by_replay), self.by_replay.lead, self.by_replay.delay)
        return by_alerts != by_replay


def print_report(judged: Mapping[str, Sequence[JudgedRun]]) -> None:
    """Print everything; ``judged`` is by the sampling interval."""
    verdicts: dict[str, list[Verdict]] = {}
    for title, runs in judged.items():
        _print_interval(title, runs)
        verdicts[f"{title}, API"] = [run.by_alerts for run in runs]
        verdicts[f"{title}, replay"] = [run.by_replay for run in runs]
    print_table({name: scores(column, metrics(column)) for name, column in verdicts.items()})
    if len(judged) == 2:
        _print_differences_between(judged)


def _print_interval(title: str, runs: Sequence[JudgedRun]) -> None:
    """Print how many sampled steps arrived, and every run whose records, alerts or verdicts differ."""
    sampled = sum(run.run.stats["sampled_steps"] for run in runs)
    compared = [run for run in runs if run.record_difference is not None]
    equal_records = sum(not run.record_difference for run in compared)
    equal_alerts = sum(not run.differences for run in runs)
    judged_differently = [run for run in runs if run.is_judged_differently]
    print(f"\n{title}: {len(runs)} runs, {sampled:,} sampled steps, all stored")
    print(f"  records equal to those without a server: {equal_records} of {len(compared)} runs")
    for run in compared:
        if run.record_difference:
            print(f"    {run.label}: {run.record_difference}")
    print(f"  alerts equal to those of a replay of the stored records: {equal_alerts} of {len(runs)} runs")
    for run in runs:
        for line in run.differences:
            print(f"    {run.label}: {line}")
    print(f"  judged differently by alerts and by findings: {len(judged_differently)} of {len(runs)} runs")
    for run in judged_differently:
        print(
            f"    {run.label}\n      alerts    {_describe(run.by_alerts)}\n      findings  {_describe(run.by_replay)}"
        )
        for line in run.lost_findings:
            print(f"      because {line}")


def _print_differences_between(judged: Mapping[str, Sequence[JudgedRun]]) -> None:
    """Print the runs that are judged differently at two intervals, with their sampled steps from fault to collapse."""
    pairs = list(zip(*judged.values(), strict=True))
    equal = sum(np.array_equal(first.run.losses, second.run.losses, equal_nan=True) for first, second in pairs)
    different = [pair for pair in pairs if _outcome(pair[0].by_alerts) != _outcome(pair[1].by_alerts)]
    print(f"\nThe same training to the last bit at both intervals: {equal} of {len(pairs)}; ", end="")
    print(f"judged differently: {len(different)}")
    for pair in different:
        print(f"  {pair[0].label}: {pair[0].by_alerts.case.kind}")
        for title, run in zip(judged, pair, strict=True):
            print(f"    {title:16s}{_describe_sampling(run.by_alerts.case)}{_describe(run.by_alerts)}")


def _describe_sampling(case: Case) -> str:
    if not case.is_positive:
        return ""
    sampled = case.sampled_between(case.fault_step, case.collapse)
    return f"{sampled} sampled steps to the collapse at {case.collapse}; "


def _outcome(verdict: Verdict) -> tuple[object, ...]:
    """Return what the scores count; not how early a timely alarm was."""
    flags = (verdict.is_timely, verdict.is_cause_right, verdict.is_layer_right)
    return (verdict.alarm is None, verdict.is_quiet, *flags, len(verdict.false))


def _describe(verdict: Verdict) -> str:
    return describe(verdict) or "nothing"
