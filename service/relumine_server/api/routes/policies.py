"""Routes of policies: the thresholds of a project, and backtests of others on its stored runs."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import Field, StringConstraints

from relumine.schemas import policy as schema_policy
from relumine_server.api import problem_details
from relumine_server.api.dependencies import BacktestsDep, DatabaseDep, KeyProject
from relumine_server.api.schemas.common import RUN_ID, ProjectName, RequestBody, ShortName
from relumine_server.api.strict_query import StrictQueryRoute
from relumine_server.detection import policy as detection_policy
from relumine_server.detection.policy import Policy
from relumine_server.errors import Busy, InvalidPolicy, ProjectNotFound, RunNotFound
from relumine_server.policies import repository as policy_repository
from relumine_server.policies.backtest import MAX_RUNS

router = APIRouter(prefix="/v1", tags=["policy"], route_class=StrictQueryRoute)

Number = int | Annotated[float, Field(allow_inf_nan=False)]
Thresholds = Annotated[
    dict[Annotated[str, StringConstraints(max_length=100)], Number],
    Field(
        max_length=200,
        description="Thresholds by the names that the policy of a project lists; all others are at their default.",
    ),
]


class PolicyChange(RequestBody):
    """The thresholds that a project changes; all others are at their default."""

    thresholds: Thresholds


class BacktestRequest(RequestBody):
    """The thresholds to try, as a project would set them, on the newest runs of the project or on those given."""

    project: ShortName
    thresholds: Thresholds
    run_ids: Annotated[list[Annotated[str, StringConstraints(pattern=RUN_ID)]] | None, Field(max_length=MAX_RUNS)] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=MAX_RUNS)] = MAX_RUNS


@router.get("/projects/{project:path}/policy", responses=problem_details.responses(ProjectNotFound))
def read_policy(project: ProjectName, database: DatabaseDep) -> schema_policy.Policy:
    """Read the thresholds in force in a project."""
    with database.read() as connection:
        policy = policy_repository.load(connection, project)
    if policy is None:
        raise ProjectNotFound
    return _view(project, policy)


@router.put("/projects/{project:path}/policy", responses=problem_details.responses(ProjectNotFound, InvalidPolicy))
def set_policy(project: ProjectName, change: PolicyChange, database: DatabaseDep) -> schema_policy.Policy:
    """Replace the thresholds that a project changes; they are in force within two seconds."""
    policy = detection_policy.build(change.thresholds)

    def write(connection: sa.Connection) -> schema_policy.Policy:
        if policy_repository.load(connection, project) is None:
            raise ProjectNotFound
        policy_repository.save(connection, project, policy)
        return _view(project, policy)

    return database.write(write)


@router.post("/policy/backtest", responses=problem_details.responses(ProjectNotFound, RunNotFound, InvalidPolicy, Busy))
def backtest_policy(
    request: BacktestRequest, backtests: BacktestsDep, key_project: KeyProject
) -> schema_policy.Backtest:
    """Replay stored runs under the policy in force and under another one, and compare the problems that each raises."""
    if key_project not in (None, request.project):
        raise ProjectNotFound
    proposed = detection_policy.build(request.thresholds)
    return backtests.compare(request.project, proposed, request.run_ids, request.limit)


def _view(project: str, policy: Policy) -> schema_policy.Policy:
    return schema_policy.Policy(
        project=project,
        thresholds=detection_policy.in_force(policy),
        changed=detection_policy.changed(policy),
        known={name: _threshold(threshold) for name, threshold in detection_policy.THRESHOLDS.items()},
    )


def _threshold(threshold: detection_policy.Threshold) -> schema_policy.Threshold:
    return schema_policy.Threshold(
        default=threshold.default,
        min=threshold.minimum,
        max=threshold.maximum,
        integer=threshold.is_integer,
        reason=threshold.reason,
    )
