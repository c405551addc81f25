"""Policies: the thresholds of a project, and what others would have raised on its stored runs."""

from __future__ import annotations

import ast
import inspect
from functools import lru_cache
from itertools import pairwise
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import Field, StringConstraints

from relumine import policies as views
from relumine_server.api import problems
from relumine_server.api.depends import BacktestsDep, OwnProject, StoreDep
from relumine_server.api.projects import ProjectName
from relumine_server.api.schemas import RUN_ID, Sent, ShortName
from relumine_server.backtest import RUNS
from relumine_server.detection.policy import Policy
from relumine_server.errors import Busy, InvalidPolicy, ProjectNotFound, RunNotFound
from relumine_server.storage import policies, thresholds

router = APIRouter(prefix="/v1", tags=["policy"])

Number = int | Annotated[float, Field(allow_inf_nan=False)]
Thresholds = Annotated[
    dict[Annotated[str, StringConstraints(max_length=100)], Number],
    Field(
        max_length=200, description="Numbers by the names that the policy of a project lists; the others are default."
    ),
]


class PolicyChange(Sent):
    """All that a project has different from the default; what is left out is at its default."""

    thresholds: Thresholds


class BacktestRequest(Sent):
    """The thresholds to try, as a project would set them, and the runs to try them on: the newest, or these."""

    project: ShortName
    thresholds: Thresholds
    run_ids: Annotated[list[Annotated[str, StringConstraints(pattern=RUN_ID)]] | None, Field(max_length=RUNS)] = None
    limit: Annotated[int, Field(ge=1, le=RUNS)] = RUNS


@router.get("/projects/{project}/policy", responses=problems.responses(ProjectNotFound))
def read_policy(project: ProjectName, store: StoreDep) -> views.Policy:
    """The thresholds in force in a project."""
    with store.read() as connection:
        found = policies.load(connection, project)
    if found is None:
        raise ProjectNotFound
    return _view(project, found)


@router.put("/projects/{project}/policy", responses=problems.responses(ProjectNotFound, InvalidPolicy))
def set_policy(project: ProjectName, change: PolicyChange, store: StoreDep) -> views.Policy:
    """Replace what a project changed; it is in force within two seconds."""
    wanted = thresholds.build(change.thresholds)

    def work(connection: sa.Connection) -> views.Policy:
        if policies.load(connection, project) is None:
            raise ProjectNotFound
        policies.save(connection, project, wanted)
        return _view(project, wanted)

    return store.write(work)


@router.post("/policy/backtest", responses=problems.responses(ProjectNotFound, RunNotFound, InvalidPolicy, Busy))
def backtest_policy(request: BacktestRequest, backtests: BacktestsDep, own: OwnProject) -> views.Backtest:
    """Fold stored runs under the policy in force and under another one, and compare what each would have raised."""
    if own not in (None, request.project):
        raise ProjectNotFound
    proposed = thresholds.build(request.thresholds)
    return backtests.compare(request.project, proposed, request.run_ids, request.limit)


def _view(project: str, policy: Policy) -> views.Policy:
    return views.Policy(
        project=project,
        thresholds=thresholds.in_force(policy),
        changed=thresholds.changed(policy),
        known={name: _known(name, default) for name, default in thresholds.DEFAULTS.items()},
    )


def _known(name: str, default: float) -> views.Threshold:
    least, most = thresholds.range_of(name)
    whole, reason = thresholds.is_whole(name), _reasons().get(name, "")
    return views.Threshold(default=default, least=least, most=most, whole=whole, reason=reason)


@lru_cache(maxsize=1)
def _reasons() -> dict[str, str]:
    """What stands below each threshold in the source; nothing where only compiled files were shipped.

    A reason that goes on where the one before stopped (…) is told with it.
    """
    try:
        source = ast.parse(inspect.getsource(Policy))
    except OSError:
        return {}
    told: dict[str, str] = {}
    before = ""
    for threshold, text in pairwise(source.body[0].body):  # type: ignore[attr-defined]  # it is the class
        if isinstance(threshold, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            said = str(text.value.value)
            before = f"{before.removesuffix('…').strip()} {said}" if said.startswith("…") else said
            told[ast.unparse(threshold.target)] = before
    return told
