"""The contribution of each part of the sampling policy: the same trainings sampled more or less often.

    python -m research.scoring.sampling [--from DIR] [--keep DIR] [--seeds N] [--only TEXT]

Every policy is trained again through the public SDK: a sampled step carries the change since the previous one, and not
every sampled step measures everything, so dense records cannot be thinned into those of a coarser policy. The default
is that of the stored corpus. That watching changes no training is checked on the way: losses must be equal to the last
bit. In time, for all policies, is before the collapse (onset), at most 30 steps after it (abrupt), or 100 steps (born
dead). Sampled steps and kilobytes are per 1,000 steps, delays in steps after the collapse. The risk was fitted on the
sampled steps of the default, which favours it. Policies are tried here, so held-out sets cannot be used.
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

import torch

from relumine._monitor import sampling as sdk_sampling
from relumine.schemas.upload import UploadResponse
from relumine.testing import InMemoryTransport
from relumine_server.detection import detector
from relumine_server.detection import state as detection_state
from relumine_server.detection.policy import Policy
from research import cli
from research.corpus.cases import Case
from research.corpus.run_store import Run, load_run, store_run
from research.corpus.training import train
from research.scoring.score import our_alarms
from research.scoring.scorer import HEADLINES, Median, Metric, Verdict, judge, scores

FOLDER = Path(tempfile.gettempdir()) / "relumine-sampling"
DOUBT = 0.3
"""Risk at which a burst is asked for."""
ASKED = 3
"""Steps between sampled steps of a burst that is asked for: closer ones count as dense, and for less."""
INTERVAL = 10
"""Steps that count as one sampled step in ``scorer.MAX_DELAY``, whatever the policy."""
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
class SamplingPolicy:
    """A fixed interval, or the SDK's schedule with some of its constants changed.

    ``answered_every``: the detector answers so often, in steps, and may ask for a burst.
    """

    name: str
    every: int | None = None
    constants: Mapping[str, float] = field(default_factory=dict)
    answered_every: int | None = None

    def applied(self) -> AbstractContextManager[object]:
        """Return a block in which the SDK uses this policy."""
        return mock.patch.dict(vars(sdk_sampling), self.constants)


class AskingTransport(InMemoryTransport):
    """A transport that asks for dense sampling while a layer is in doubt, as a server might.

    A layer is in doubt at a risk of ``DOUBT`` and more, as long as no alarm was raised.
    """

    def __init__(self) -> None:
        super().__init__()
        self._state = detection_state.empty()

    def post(self, body: bytes) -> UploadResponse:
        """Keep the upload and advance the detector over it."""
        response = super().post(body)
        upload = self.uploads[-1]
        described = detection_state.describe(self._state, upload.layers)
        self._state, _readings, _findings = detector.advance(described, upload.records, Policy())
        is_alarmed = any(problem.severity != "info" for problem in self._state.open_problems.values())
        is_in_doubt = any(memory.risk >= DOUBT for memory in self._state.layers.values())
        return response.model_copy(update={"sample_every": ASKED if is_in_doubt and not is_alarmed else None})


DEFAULT = SamplingPolicy("default")
POLICIES = (
    SamplingPolicy("every 50", 50),
    SamplingPolicy("every 20", 20),
    SamplingPolicy("every 10", 10),
    SamplingPolicy("every step", 1),
    SamplingPolicy("no bursts", constants={"JUMP_FACTOR": inf}),
    SamplingPolicy("no first three steps", constants={"FIRST_STEPS": 0, "START_STEPS": 0}),
    SamplingPolicy("no shorter start", constants={"START_STEPS": 3}),
    SamplingPolicy("no shorter interval", constants={"YOUNG_STEPS": 0}),
    SamplingPolicy("no jitter", constants={"JITTER": 0.0}),
    SamplingPolicy("bursts on request", answered_every=10),
)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = cli.corpus_parser(__doc__, splits=("tune",))
    options.add_argument("--keep", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options.add_argument("--only", action="append", metavar="TEXT", help="policies whose name contains this")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, then print a line per policy."""
    namespace = cli.parse(parser(), arguments)
    torch.set_num_threads(1)
    pairs = []
    for run, case in cli.load_pairs(namespace):
        if case.is_positive or case.is_negative:
            pairs.append((run, _with_step_delays(case)))
    policies = [p for p in POLICIES if not namespace.only or any(text in p.name for text in namespace.only)]
    for run, _case in sorted(pairs, key=lambda pair: pair[0].seed):
        for policy in policies:
            _load_or_train(run, policy, namespace.keep)
    print(f"{len({run.recipe.base for run, _ in pairs})} recipes, {len(pairs)} runs")
    print(f"{'':22s}sampled     kB" + "".join(f"{name:>17s}" for name in COLUMNS.values()))
    for policy in (DEFAULT, *policies):
        resampled = [(_load_or_train(run, policy, namespace.keep), case) for run, case in pairs]
        print(_line(policy.name, resampled), flush=True)


def _load_or_train(run: Run, policy: SamplingPolicy, folder: Path) -> Run:
    """Return the training of a stored run under another policy; train it if it is not stored."""
    if policy == DEFAULT:
        return run
    of_policy = folder / policy.name.replace(" ", "-")
    stored = load_run(of_policy, run.recipe, run.seed)
    if stored is not None:
        return stored
    memory = InMemoryTransport() if policy.answered_every is None else AskingTransport()
    with policy.applied():
        trained = train(run.recipe, run.seed, policy.every, memory=memory, upload_every=policy.answered_every)
    if repr(trained.losses) != repr(run.losses):
        raise SystemExit(f"{run.recipe.name}, seed {run.seed}: the losses differ from those of the corpus")
    store_run(of_policy, trained)
    return trained


def _with_step_delays(case: Case) -> Case:
    """Return the case with delays on one grid for all policies, whose first point is the step after the collapse."""
    if not case.is_positive:
        return case
    return replace(case, sampled_steps=tuple(range(case.collapse + 1, case.recipe.steps + 1, INTERVAL)))


def _line(name: str, pairs: Sequence[tuple[Run, Case]]) -> str:
    verdicts = [judge(case, our_alarms(run, Policy())) for run, case in pairs]
    thousands = sum(run.stats["steps"] for run, _ in pairs) / 1000
    sampled = sum(run.stats["sampled_steps"] for run, _ in pairs) / thousands
    kilobytes = sum(run.stats["upload_bytes"] for run, _ in pairs) / thousands / 1000
    return f"{name:22s}{sampled:7.0f}{kilobytes:7.0f}" + "".join(f"{cell:>17s}" for cell in _cells(verdicts))


def _cells(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield the value of each column with its 95 % interval over recipes."""
    by_name = {score.name: score for score in scores(verdicts, _metrics())}
    for name in COLUMNS:
        score = by_name[name]
        digits = 0 if name.endswith("delay") else 2
        yield f"{score.value:.{digits}f} {score.low:.{digits}f}–{score.high:.{digits}f}"


def _metrics() -> list[Metric]:
    return [
        *(metric for metric in HEADLINES if metric.name in COLUMNS),
        Median("abrupt: delay", lambda verdict: _delay(verdict, "abrupt")),
        Median("born dead: delay", lambda verdict: _delay(verdict, "born_dead")),
    ]


def _delay(verdict: Verdict, kind: str) -> float | None:
    """Return the steps from the collapse to the alarm, infinite if there was none."""
    if verdict.case.kind != kind:
        return None
    return inf if verdict.alarm is None else max(verdict.alarm.step - verdict.case.collapse, 0)


if __name__ == "__main__":
    main()
