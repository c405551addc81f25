"""What each part of the sampling policy adds: the same trainings looked at more or less often, by one yardstick.

    python benchmarks/detection --sampling [--from DIR] [--keep DIR] [--seeds N]

Every policy is trained anew through the public SDK: a look says what changed since the last one, and not every look
measures everything, so dense records cannot be thinned into what a coarser policy would have sent. The default is that
of the kept corpus; that watching changes no training is checked on the way: losses must be equal to the last bit.
In time, for all policies: before the collapse (onset), at most 30 steps after it (abrupt), 100 steps (born dead).
Looks and kilobytes are per 1,000 steps, delays in steps after the collapse. The risk was fitted on looks of the
default, which favours it; policies are tried out here, so there is no report half.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from unittest import mock

import commandline
import torch
from cases import Case
from runs import Run, keep, kept
from score import ours
from scorer import HEADLINES, Median, Metric, Verdict, judge, scores
from training import train

from relumine import schedule
from relumine_server.detection.policy import Policy

FOLDER = Path(tempfile.gettempdir()) / "relumine-sampling"
PATIENCE = 10
"""Steps that count as one look in ``scorer.TIMELY_LOOKS``, whatever the policy."""
COLUMNS = {
    "timely F1": "timely F1",
    "onset: warned before": "onset warned",
    "  of high rates": "high rates",
    "onset: lead / time to collapse": "median lead",
    "healthy runs alarmed": "healthy alarmed",
    "abrupt: delay": "abrupt: steps",
    "born dead: delay": "born dead: steps",
}


@dataclass(frozen=True)
class Sampling:
    """When to look: a fixed interval, or the SDK's own way with some of its constants (``schedule``) changed."""

    name: str
    every: int | None = None
    constants: Mapping[str, float] = field(default_factory=dict)

    def patched(self) -> AbstractContextManager[object]:
        """A block in which the SDK looks like this."""
        return mock.patch.dict(vars(schedule), self.constants)


DEFAULT = Sampling("default")
SAMPLINGS = (
    Sampling("every 50", 50),
    Sampling("every 20", 20),
    Sampling("every 10", 10),
    Sampling("every step", 1),
    Sampling("no bursts", constants={"JUMP": inf}),
    Sampling("no first three steps", constants={"FIRST_STEPS": 0}),
    Sampling("no jitter", constants={"JITTER": 0.0}),
)


def main() -> None:
    """Train what is missing, then print a line per policy."""
    arguments = _arguments()
    torch.set_num_threads(1)
    known = [
        (run, _by_steps(case)) for run, case in commandline.known(arguments) if case.is_positive or case.is_negative
    ]
    for run, _case in sorted(known, key=lambda pair: pair[0].seed):
        for sampling in SAMPLINGS:
            _watched(run, sampling, arguments.keep)
    print(f"{len({run.recipe.base for run, _ in known})} recipes, {len(known)} runs")
    print(f"{'':22s}  looks     kB" + "".join(f"{name:>17s}" for name in COLUMNS.values()))
    for sampling in (DEFAULT, *SAMPLINGS):
        print(
            _line(sampling.name, [(_watched(run, sampling, arguments.keep), case) for run, case in known]), flush=True
        )


def _arguments() -> argparse.Namespace:
    options = commandline.parser(__doc__, tune_only=True)
    options.add_argument("--keep", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    return commandline.parsed(options)


def _watched(run: Run, sampling: Sampling, folder: Path) -> Run:
    """The training of a kept run, looked at by another policy; it is trained if it was not kept."""
    if sampling == DEFAULT:
        return run
    own = folder / sampling.name.replace(" ", "-")
    again = kept(own, run.recipe, run.seed)
    if again is None:
        with sampling.patched():
            again = train(run.recipe, run.seed, sampling.every)
        if repr(again.losses) != repr(run.losses):
            raise SystemExit(f"{run.recipe.name}, seed {run.seed}: another training than that of the corpus")
        keep(own, again)
    return again


def _by_steps(case: Case) -> Case:
    """The same truth, with delays measured on one grid for all: the first look after the collapse is the next step."""
    if not case.is_positive:
        return case
    return replace(case, samples=tuple(range(case.collapse + 1, case.recipe.steps + 1, PATIENCE)))


def _line(name: str, runs: Sequence[tuple[Run, Case]]) -> str:
    told = [judge(case, ours(run, Policy())) for run, case in runs]
    steps = sum(run.stats["steps"] for run, _ in runs) / 1000
    looks, sent = (sum(run.stats[what] for run, _ in runs) / steps for what in ("samples", "bytes"))
    return f"{name:22s}{looks:7.0f}{sent / 1000:7.0f}" + "".join(f"{cell:>17s}" for cell in _cells(told))


def _cells(told: Sequence[Verdict]) -> Iterator[str]:
    """The value, and its 95 % interval over recipes."""
    found = {score.name: score for score in scores(told, _metrics())}
    for name in COLUMNS:
        score, digits = found[name], 0 if name.endswith("delay") else 2
        yield f"{score.value:.{digits}f} {score.low:.{digits}f}–{score.high:.{digits}f}"


def _metrics() -> list[Metric]:
    return [
        *(metric for metric in HEADLINES if metric.name in COLUMNS),
        Median("abrupt: delay", lambda v: _delay(v, "abrupt")),
        Median("born dead: delay", lambda v: _delay(v, "born")),
    ]


def _delay(v: Verdict, kind: str) -> float | None:
    """Steps from the collapse to the alarm; a run that was missed was never told."""
    if v.case.kind != kind:
        return None
    return inf if v.found is None else max(v.found.step - v.case.collapse, 0)


if __name__ == "__main__":
    main()
