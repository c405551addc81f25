"""The remedies that a training applied to an alert, read from the metrics of its run, with the outcome of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from relumine.schemas import alert as schema_alert
from relumine.schemas.limits import MAX_STEP
from relumine_server.db import tables
from relumine_server.detection import remedy_outcome
from relumine_server.detection.policy import DEFAULT
from relumine_server.policies import repository as policy_repository
from relumine_server.timeseries import codec, sessions
from relumine_server.timeseries import queries as series_queries

REMEDY_PREFIX = "remedy/"
MARK_PREFIX = "mark/"
"""Prefixes of the metrics by which the SDK reports a remedy that was applied, and a mark that sets a new baseline."""

SHARES = ("dying_fraction", "dead_fraction", "born_dead_fraction")
_NO_SHARES = [math.nan] * len(SHARES)
_DIVERGED = codec.STATES.index("diverged")
_PROBLEM_IS_OPEN: dict[str, bool | None] = {
    "raised": True, "pending": True, "escalated": True, "updated": True, "run_resumed": True,
    "resumed_acknowledged": True, "cleared": False, "resolved_by_user": None,
}  # fmt: skip
"""The detector's opinion that follows from an event; None where unknown: a person's resolution hides later findings."""


class AppliedRemedy(NamedTuple):
    """A remedy that was applied to an alert."""

    step: int
    alert_id: str
    action: str


def outcomes_of(connection: sa.Connection, alert: schema_alert.Alert) -> list[schema_alert.RemedyEffect]:
    """Return the remedies that were applied to an alert, oldest first, each judged by its layer's records since."""
    layer_remedies, mark_steps = _load_applied(connection, alert)
    remedies = [remedy for remedy in layer_remedies if remedy.alert_id == alert.id]
    if not remedies:
        return []
    policy = policy_repository.load(connection, alert.project) or DEFAULT
    fractions = _load_fractions(connection, alert, remedies[0].step)
    status_changes = _load_status_changes(connection, alert)
    problem = remedy_outcome.TreatedProblem(
        kind=alert.kind,
        units=int(alert.evidence.get("units") or 0),
        baseline_fraction=alert.evidence.get("baseline_fraction") or 0.0,
        ended_with_run=alert.state == "ended",
    )
    interruptions = sorted({remedy.step for remedy in layer_remedies} | mark_steps)
    effects = []
    for remedy in remedies:
        until = next((step for step in interruptions if step > remedy.step), None)
        judged = remedy_outcome.judge_outcome(
            problem,
            step=remedy.step,
            until_step=until,
            fractions=fractions,
            status_changes=status_changes,
            policy=policy,
        )
        effects.append(schema_alert.RemedyEffect(action=remedy.action, step=remedy.step, **judged._asdict()))
    return effects


def _load_applied(connection: sa.Connection, alert: schema_alert.Alert) -> tuple[list[AppliedRemedy], set[int]]:
    """Return every remedy for any alert of the layer, by step, and the steps of the run's marks.

    Each one once, however often its metric was sent, and none of steps that a newer session replaced.
    """
    remedy_prefix = f"{REMEDY_PREFIX}{alert.run_id}.{alert.layer_id}."
    remedies: set[AppliedRemedy] = set()
    mark_steps: set[int] = set()
    for step, name in _load_metric_names(connection, alert.run_id, (remedy_prefix, MARK_PREFIX)):
        if name.startswith(MARK_PREFIX):
            mark_steps.add(step)
        else:
            alert_id, _, action = name.removeprefix(REMEDY_PREFIX).partition("/")
            remedies.add(AppliedRemedy(step, alert_id, action))
    return sorted(remedies), mark_steps


def _load_metric_names(connection: sa.Connection, run_id: str, prefixes: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield step and name of the run's metrics with a prefix; the database filters out uploads without any."""
    c = tables.logged_metrics.c
    text = sa.cast(c["items"], sa.Text)
    has_prefix = sa.or_(*(text.contains(prefix, autoescape=True) for prefix in prefixes))
    spans = sessions.load_spans(connection, run_id)
    query = sa.select(c.session, c["items"]).where(c.run_id == run_id, c.rank == 0, has_prefix)
    for session, items in connection.execute(query):
        for step, name, _value in items:
            if name.startswith(prefixes) and spans.includes(session, step):
                yield step, name


def _load_fractions(
    connection: sa.Connection, alert: schema_alert.Alert, step: int
) -> list[remedy_outcome.LayerFractions]:
    """Return what the detector read of the alert's layer, from the opening of the alert or from ``step`` on.

    Records of the run itself have no shares. Records of a layer that came late are stored but were never read.
    """
    steps = (min(alert.opened_step, step), MAX_STEP)
    names = (*SHARES, "state")
    series = series_queries.read_series(connection, alert.run_id, [alert.layer_id], names, steps=steps)
    columns = series.get(alert.layer_id)
    if columns is None:
        return []
    fractions = []
    rows = zip(*(columns[name].tolist() for name in ("step", *names)), strict=True)
    for sampled_step, *shares, state in rows:
        if not alert.layer_id or not math.isnan(state):
            is_measured = state != _DIVERGED
            shares_or_nan = shares if is_measured else _NO_SHARES
            fractions.append(remedy_outcome.LayerFractions(int(sampled_step), *shares_or_nan))
    return fractions


def _load_status_changes(connection: sa.Connection, alert: schema_alert.Alert) -> list[remedy_outcome.StatusChange]:
    """Return the steps from which the detector considered the problem open or resolved, by the events of its alert."""
    c = tables.alert_events.c
    conditions = (c.run_id == alert.run_id, c.alert_id == alert.id, c.event.in_(list(_PROBLEM_IS_OPEN)))
    query = sa.select(c.step, c.event).where(*conditions).order_by(c.event_number)
    return [remedy_outcome.StatusChange(step, _PROBLEM_IS_OPEN[event]) for step, event in connection.execute(query)]
