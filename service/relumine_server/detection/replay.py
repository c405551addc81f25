"""The detector over a stored run: the readings and findings that a policy would have given."""

from __future__ import annotations

from collections.abc import Sequence

from relumine.schemas.alert import problem_of
from relumine.schemas.record_table import RecordTable, Row
from relumine.schemas.upload import LayerInfo
from relumine_server.detection import detector, state
from relumine_server.detection.findings import Finding, Reading
from relumine_server.detection.new_session import begin_session
from relumine_server.detection.policy import Policy
from relumine_server.detection.state import DetectorState


class RunReplay:
    """The detector over the stored uploads of a run, in the order of its sessions, as when they arrived."""

    def __init__(self, layers: Sequence[LayerInfo], policy: Policy) -> None:
        self.state: DetectorState = state.describe(state.empty(), layers)
        self._policy = policy
        self._session = ""
        self._is_new = False
        self._first_step: int | None = None
        self._earliest_step: int | None = None

    def advance(self, session: str, records: RecordTable) -> tuple[list[Reading], list[Finding]]:
        """Process the records of the next upload, and return readings and findings."""
        if session != self._session:
            self._session = session
            self._is_new = True
            self._earliest_step = self._first_step
        if not len(records):
            return [], []
        findings: list[Finding] = []
        if self._is_new:
            self.state, findings = begin_session(self.state, records[0], self._earliest_step, self._policy)
            self._is_new = False
        first_step = int(records.scalars["step"].min())
        self._first_step = first_step if self._first_step is None else min(self._first_step, first_step)
        self.state, readings, new_findings = detector.advance(self.state, records, self._policy)
        return readings, findings + new_findings


def replay(layers: Sequence[LayerInfo], records: Sequence[Row], policy: Policy) -> tuple[list[Reading], list[Finding]]:
    """Return readings and findings of ``records``, in series order, from an empty state."""
    initial = state.describe(state.empty(), layers)
    _state, readings, findings = detector.advance(initial, records, policy)
    return readings, findings


def first_raised_steps(findings: Sequence[Finding]) -> dict[tuple[int, str], int]:
    """Return the step at which each problem was first raised, by layer id and problem.

    For a problem that was ``info`` first, it is the step at which it became a warning or critical.
    """
    steps: dict[tuple[int, str], int] = {}
    only_info: set[tuple[int, str]] = set()
    for finding in findings:
        key = (finding.layer_id, problem_of(finding.kind))
        if finding.transition == "resolved":
            continue
        if key not in steps or (key in only_info and finding.severity != "info"):
            steps[key] = finding.step
        if finding.severity == "info":
            only_info.add(key)
        else:
            only_info.discard(key)
    return steps
