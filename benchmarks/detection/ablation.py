"""What each family of evidence adds: the same kept runs, judged with one thing switched off at a time.

    python benchmarks/detection/ablation.py [--from DIR] [--seeds N] [--only TEXT]

Two ways to switch off: a threshold that can no longer be reached (``dataclasses.replace`` of the policy), or records
that lack a statistic or a look (``edits``). Looks are left out as if never taken, with silence counted anew over those
that stay: what the SDK would have sent at a wider interval, but for its jitter, and with its bursts thinned alike.
Without learning rates the looks are still those that the SDK took because it saw them. ``worse`` and ``better`` count
runs whose verdict changed against everything being there: in time or not, or alarmed or not where nothing was ill.
Delays are in the looks of the untouched run. Policies are tried out here, so there is no report half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any

import commandline
import edits
from alarms import alarms_of
from cases import Case
from edits import Edit, Note
from scorer import HEADLINES, Verdict, judge, scores

from relumine.wire import LayerInfo
from relumine_server.detection.policy import Policy
from relumine_server.detection.replay import replay

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
    """One thing that is switched off."""

    name: str
    policy: dict[str, Any]
    edit: Edit = edits.nothing

    def settings(self) -> Policy | None:
        """The policy; None where it has no such threshold any more."""
        known = {threshold.name for threshold in fields(Policy)}
        return replace(POLICY, **self.policy) if self.policy.keys() <= known else None


def _off(name: str, **policy: float) -> Variant:
    return Variant(name, policy)


def _less(name: str, edit: Edit) -> Variant:
    return Variant(name, {}, edit)


WHOLE = Variant("everything", {})
VARIANTS = (
    _off("risk", risk=inf, risk_sure=inf),
    _off("sure risk at one look", risk_sure=inf),
    _off("second look confirms", confirm_records=1),
    _off("rate jump arms", armed_steps=-1),
    _off("rate jump at all", rate_jump=inf),
    _off("input novelty", novelty=inf),
    _off("strict tier", nats_strict=inf),
    _off("early tier (all strict)", nats=POLICY.nats_strict),
    _off("longest earlier silence", silence_factor=0.0),
    _off("dense looks need more", dense_factor=1.0),
    _off("rate capped", rate_cap=1.0),
    _off("warm-up and baseline", warmup_records=0),
    _off("handful of units", least_units=1),
    _off("harmless death is info", harmless_records=NEVER),
    _off("confirmed death", dead_share=2.0),
    _off("born dead", born_dead_layer=2.0),
    _off("born dead far below zero", born_dead_sigma=inf),
    _less("no update_shift", edits.without("update_shift")),
    _less("no bias", edits.without("bias")),
    _less("no shift_*", edits.without(*edits.SHIFTS)),
    _less("no learning rates", edits.without("learning_rate", "learning_rates")),
    _less("no loss", edits.without("loss")),
    _less("no record of the run", edits.without_run),
    _less("no silence counters", edits.without("silent", "longest_silence")),
    _less("no mean, var, max", edits.without("mean", "var", "max")),
    _less("active alone", edits.only_active),
    _less("every 2nd look", edits.thinned(2)),
    _less("every 4th look", edits.thinned(4)),
)


@dataclass(frozen=True)
class Known:
    """A kept run, ready to be judged again and again."""

    case: Case
    infos: Sequence[LayerInfo]
    notes: Sequence[Note]

    def judged(self, policy: Policy, edit: Edit) -> Verdict:
        """The verdict on what the detector says of the edited records."""
        _readings, findings = replay(self.infos, edits.records_of(edit(self.notes)), policy)
        return judge(self.case, alarms_of(findings))


def main() -> None:
    """Print a line per variant."""
    options = commandline.parser(__doc__, tune_only=True)
    options.add_argument("--only", action="append", metavar="TEXT", help="variants whose name contains this")
    arguments = commandline.parsed(options)
    runs = [
        Known(case, run.infos(), edits.notes_of(run.records()))
        for run, case in commandline.known(arguments)
        if case.is_positive or case.is_negative
    ]
    print(f"{len({run.case.recipe.base for run in runs})} recipes, {len(runs)} runs")
    print(f"{'without':26s}" + "".join(f"{name:>17s}" for name in COLUMNS.values()) + "   worse  better")
    whole = [run.judged(POLICY, edits.nothing) for run in runs]
    print(_line(WHOLE.name, whole, whole), flush=True)
    for variant in VARIANTS:
        if not arguments.only or any(text in variant.name for text in arguments.only):
            policy = variant.settings()
            told = policy and [run.judged(policy, variant.edit) for run in runs]
            print(_line(variant.name, told, whole) if told else f"{variant.name:26s}no such threshold", flush=True)


def _line(name: str, told: Sequence[Verdict], whole: Sequence[Verdict]) -> str:
    pairs = [(_is_right(before), _is_right(now)) for before, now in zip(whole, told, strict=True)]
    worse, better = (sum(pair == change for pair in pairs) for change in ((True, False), (False, True)))
    return f"{name:26s}" + "".join(f"{cell:>17s}" for cell in _cells(told)) + f"{worse:8d}{better:8d}"


def _cells(told: Sequence[Verdict]) -> Iterator[str]:
    """The value, and its 95 % interval over recipes."""
    found = {score.name: score for score in scores(told, [m for m in HEADLINES if m.name in COLUMNS])}
    for name in COLUMNS:
        score = found[name]
        yield "–" if score.value != score.value else f"{score.value:.2f} {score.low:.2f}–{score.high:.2f}"


def _is_right(v: Verdict) -> bool:
    """In time, or quiet where quiet is due; and nothing false beside it."""
    return not v.false and (not v.case.is_positive or v.is_timely or v.is_quiet)


if __name__ == "__main__":
    main()
