"""The contribution of each kind of evidence: the same stored runs, scored with one thing switched off at a time.

    python -m research.scoring.ablation [--from DIR] [--seeds N] [--only TEXT]

There are three ways to switch something off: a threshold that can no longer be reached, a feature of the risk without
weight (the others are not fitted again), or records that lack a statistic or sampled steps (``degraded_records``).
Removed steps are treated as never sampled, with silence counted again over the others: that is what the SDK would have
sent at a wider interval, but for its jitter, and with its bursts thinned alike. Without learning rates the sampled
steps are still those that the SDK chose because it saw them. ``worse`` and ``better`` count runs whose verdict changed
against the unchanged run: in time or not, or alarmed or not if healthy. Delays are in sampled steps of the unchanged
run. Policies are tried here, so held-out sets cannot be used.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any
from unittest import mock

from relumine.schemas.upload import LayerInfo
from relumine_server.detection import risk
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay
from research import cli
from research.corpus.cases import Case
from research.scoring import degraded_records
from research.scoring.alarms import alarms_of
from research.scoring.degraded_records import SHIFTS, Edit, PlainRecord, thinned, without
from research.scoring.scorer import HEADLINES, Verdict, judge, scores

COLUMNS = {
    "F1": "F1",
    "timely F1": "timely F1",
    "onset: warned before": "onset warned",
    "  of high rates": "high rates",
    "healthy runs alarmed": "healthy alarmed",
    "twins alarmed": "twins alarmed",
    "onset: lead / time to collapse": "median lead",
    "cause right": "cause right",
}
NEVER = 10**9
POLICY = Policy()


@dataclass(frozen=True)
class Variant:
    """A detector or records with one thing switched off."""

    name: str
    thresholds: dict[str, Any]
    edit: Edit = degraded_records.unchanged
    feature: str | None = None

    def applied(self) -> AbstractContextManager[object]:
        """Return a block in which the risk does without the feature."""
        weights = risk.RISK_WEIGHTS if self.feature is None else risk.RISK_WEIGHTS._replace(**{self.feature: 0.0})
        return mock.patch.object(risk, "RISK_WEIGHTS", weights)

    def policy(self) -> Policy | None:
        """Return the policy; None if it no longer has such a threshold."""
        names = {field.name for field in fields(Policy)}
        return replace(POLICY, **self.thresholds) if self.thresholds.keys() <= names else None


def _threshold(name: str, **thresholds: float) -> Variant:
    return Variant(name, thresholds)


def _records(name: str, edit: Edit) -> Variant:
    return Variant(name, {}, edit)


def _feature(name: str) -> Variant:
    return Variant(f"{name} in the risk", {}, feature=name)


COMPLETE = Variant("everything", {})
VARIANTS = (
    _threshold("risk", risk=inf, risk_sure=inf),
    _threshold("sure risk at one step", risk_sure=inf),
    _threshold("second step confirms", confirm_records=1),
    _threshold("rate jump arms", armed_steps=-1),
    _threshold("rate jump at all", rate_jump=inf),
    _threshold("input novelty", novelty=inf),
    _threshold("strict tier", nats_strict=inf),
    _threshold("early tier (all strict)", nats=POLICY.nats_strict),
    _threshold("longest earlier silence", silence_factor=0.0),
    _threshold("dense steps need more", dense_factor=1.0),
    _threshold("rate capped", rate_cap=1.0),
    _threshold("warm-up and baseline", warmup_records=0),
    _threshold("handful of units", least_units=1),
    _threshold("harmless death is info", harmless_records=NEVER),
    _threshold("confirmed death", dead_share=2.0),
    _threshold("born dead", born_dead_layer=2.0),
    _threshold("born dead far below zero", born_dead_sigma=inf),
    *map(_feature, risk.RiskFeatures._fields),
    _records("no update_shift", without("update_shift")),
    _records("no bias", without("bias")),
    _records("no shift_*", without(*SHIFTS)),
    _records("no learning rates", without("learning_rate", "learning_rates")),
    _records("no loss", without("loss")),
    _records("no record of the run", degraded_records.without_run),
    _records("no silence counters", without("silent", "longest_silence")),
    _records("no mean, var, max", without("mean", "var", "max")),
    _records("active alone", degraded_records.only_active),
    _records("every 2nd sampled step", thinned(2)),
    _records("every 4th sampled step", thinned(4)),
)


@dataclass(frozen=True)
class PreparedRun:
    """A stored run, ready to be scored many times."""

    case: Case
    infos: Sequence[LayerInfo]
    records: Sequence[PlainRecord]

    def judge(self, policy: Policy, edit: Edit) -> Verdict:
        """Return the verdict on the detector's alarms for the edited records."""
        _readings, findings = replay(self.infos, degraded_records.to_table(edit(self.records)), policy)
        return judge(self.case, alarms_of(findings))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = cli.corpus_parser(__doc__, splits=("tune", "kinds", "further_kinds"))
    options.add_argument("--only", action="append", metavar="TEXT", help="variants whose name contains this")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per variant."""
    namespace = cli.parse(parser(), arguments)
    runs = []
    for run, case in cli.load_pairs(namespace):
        if case.is_positive or case.is_negative:
            runs.append(PreparedRun(case, run.infos(), degraded_records.to_plain(run.records())))
    print(f"{len({run.case.recipe.base for run in runs})} recipes, {len(runs)} runs")
    print(f"{'without':26s}" + "".join(f"{name:>17s}" for name in COLUMNS.values()) + "   worse  better")
    complete = [run.judge(POLICY, degraded_records.unchanged) for run in runs]
    print(_line(COMPLETE.name, complete, complete), flush=True)
    for variant in VARIANTS:
        if namespace.only and not any(text in variant.name for text in namespace.only):
            continue
        policy = variant.policy()
        if policy is None:
            print(f"{variant.name:26s}no such threshold", flush=True)
            continue
        with variant.applied():
            verdicts = [run.judge(policy, variant.edit) for run in runs]
        print(_line(variant.name, verdicts, complete), flush=True)


def _line(name: str, verdicts: Sequence[Verdict], complete: Sequence[Verdict]) -> str:
    worse = 0
    better = 0
    for verdict, reference in zip(verdicts, complete, strict=True):
        worse += _is_right(reference) and not _is_right(verdict)
        better += _is_right(verdict) and not _is_right(reference)
    return f"{name:26s}" + "".join(f"{cell:>17s}" for cell in _cells(verdicts)) + f"{worse:8d}{better:8d}"


def _cells(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield the value of each column with its 95 % interval over recipes."""
    metrics = [metric for metric in HEADLINES if metric.name in COLUMNS]
    by_name = {score.name: score for score in scores(verdicts, metrics)}
    for name in COLUMNS:
        score = by_name[name]
        yield "–" if score.is_empty else f"{score.value:.2f} {score.low:.2f}–{score.high:.2f}"


def _is_right(verdict: Verdict) -> bool:
    """Return whether it is in time, or quiet if it should be, and without a false alarm."""
    return not verdict.false and (not verdict.case.is_positive or verdict.is_timely or verdict.is_quiet)


if __name__ == "__main__":
    main()
