"""The health of a run: never better than its layers, its watching and its uploads allow, and not because it ended."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from relumine.schemas.watching import EXPLANATIONS

UNITS = 16
N = 64


def records(first_step, count, *, dies_at=None, loss=1.0, nonfinite_from=None, born_dead=0):
    rng = np.random.default_rng(0)
    silent = np.zeros(UNITS, int)
    parts = []
    for number in range(count):
        step = first_step + 10 * number
        nonfinite = int(nonfinite_from is not None and step >= nonfinite_from)
        active = rng.binomial(N, 0.4, UNITS)
        if dies_at is not None and step >= dies_at:
            active[:] = 0
        active[:born_dead] = 0
        silent = np.where(active > 0, 0, silent + N)
        columns = {} if nonfinite else {"active": active.tolist(), "silent": silent.tolist()}
        parts.append({"layer_id": 0, "first_step": step, "step": step, "n_examples": N, "loss": loss})
        layer = {"layer_id": 1, "first_step": step, "step": step, "n_examples": N, "nonfinite": nonfinite, **columns}
        parts.append(layer)
    return parts


@pytest.fixture
def run_of(call):
    """A function that uploads a run and returns it as the API answers it."""
    sent: dict[str, int] = {}

    def send(run, parts, **fields):
        sent[run] = sent.get(run, 0) + 1
        layers = [{"layer_id": 1, "name": "fc1", "units": UNITS}]
        body = {"run": {"id": run}, "session": "s1", "seq": sent[run], "layers": layers, "records": parts}
        assert call("POST", "/v1/uploads", json=body | fields).status_code == 202
        return call("GET", f"/v1/runs/{run}").json()

    return send


def health(run):
    return run["health"], run["health_reason"]


def test_a_run_without_a_sampled_step_is_unknown(run_of):
    assert health(run_of("r1", [])) == ("unknown", "nothing was analyzed so far")
    assert health(run_of("r1", [], final_status="finished")) == ("unknown", "nothing was analyzed so far")


def test_a_healthy_run_is_healthy_to_its_end(run_of):
    run = run_of("r1", records(1, 20), final_status="finished")
    assert health(run) == ("healthy", None)
    assert (run["layers"], run["layers_dead"], run["sampled_steps"], run["final_loss"]) == (1, 0, 20, 1.0)
    assert run["alert_counts"] == {"critical": 0, "warning": 0, "info": 0, "open": 0}


@pytest.mark.parametrize("final_status", ["finished", "failed"])
def test_a_dead_run_stays_damaged_after_its_end(run_of, final_status):
    running = run_of("r1", records(1, 40, dies_at=201))
    assert health(running) == ("damaged", "fc1 dead")
    ended = run_of("r1", [], final_status=final_status)
    assert health(ended) == ("damaged", "fc1 dead")
    assert (ended["layers_dead"], ended["alert_counts"]["open"]) == (1, 0)


def test_a_layer_whose_loss_of_units_is_no_alarm_is_not_among_the_lost(call, run_of):
    run = run_of("r1", records(1, 200, born_dead=8))
    alerts = call("GET", "/v1/alerts?run_id=r1").json()["items"]
    assert [(alert["kind"], alert["severity"]) for alert in alerts] == [("born_dead", "info")]
    assert (health(run), run["layers_dead"]) == (("healthy", None), 0)


def test_an_alert_that_a_person_closes_does_not_revive_the_layer(call, run_of):
    run_of("r1", records(1, 40, dies_at=201))
    for alert in call("GET", "/v1/alerts?run_id=r1&state=firing").json()["items"]:
        call("POST", f"/v1/alerts/{alert['id']}/resolve", json={"author": "Ada"})
    assert health(call("GET", "/v1/runs/r1").json()) == ("damaged", "fc1 dead")


def test_a_layer_that_is_active_again_is_healthy_again(run_of):
    assert run_of("r1", records(1, 40, dies_at=201))["health"] == "damaged"
    assert health(run_of("r1", records(401, 60))) == ("healthy", None)


def test_a_run_that_diverged_stays_diverged_after_its_end(run_of):
    run_of("r1", records(1, 20, nonfinite_from=151))
    assert health(run_of("r1", [], final_status="finished")) == ("diverged", "values are not finite")


def test_a_run_that_is_not_watched_is_unwatched_until_it_is_again(run_of):
    watching = {"state": "unwatched", "reason": "eval_mode", "last_step": 191}
    status, reason = health(run_of("r1", records(1, 20), watching=watching))
    assert (status, bool(reason)) == ("unwatched", True)
    assert run_of("r1", records(201, 2), watching={"state": "watching"})["health"] == "healthy"


@pytest.mark.parametrize(
    ("watching", "reason"),
    [({"state": "unwatched"}, "no_reason_given"), ({"state": "watching", "reason": "eval_mode"}, "eval_mode")],
)
@pytest.mark.parametrize("final_status", [None, "finished"])
def test_a_client_that_contradicts_itself_is_not_watching(call, run_of, watching, reason, final_status):
    run = run_of("r1", records(1, 20), watching=watching, final_status=final_status)
    assert (run["health"], run["health_reason"]) == ("unwatched", EXPLANATIONS[reason])
    assert run["watching"] == {"state": "unwatched", "reason": reason, "last_step": None}
    (alert,) = call("GET", "/v1/alerts?run_id=r1").json()["items"]
    assert (alert["kind"], EXPLANATIONS[reason] in alert["message"]) == ("no_data", True)


def test_a_run_without_a_record_of_a_layer_is_unknown(run_of):
    of_run = [record for record in records(1, 20) if not record["layer_id"]]
    run = run_of("r1", of_run, watching={"state": "watching"}, final_status="finished")
    assert (run["sampled_steps"], health(run)) == (20, ("unknown", "no layer was recorded so far"))
    assert health(run_of("r1", records(201, 20))) == ("healthy", None)


@pytest.mark.parametrize("goes_on", ["metrics", "run records", "nothing but uploads"])
def test_layers_that_are_no_longer_recorded_leave_the_health_unknown(call, run_of, goes_on):
    assert health(run_of("r1", records(1, 20))) == ("healthy", None)
    for number in range(25):
        step = 201 + 10 * number
        metrics = [{"step": step, "name": "loss", "value": 1.0}] if goes_on == "metrics" else []
        parts = records(step, 1)[:1] if goes_on == "run records" else []
        run = run_of("r1", parts, metrics=metrics)
    assert (health(run), run["last_layer_step"]) == (("unknown", "no layer was recorded since step 191"), 191)
    for alert in call("GET", "/v1/alerts?run_id=r1").json()["items"]:
        assert alert["kind"] != "stalled"
    ended = run_of("r1", [], final_status="finished")
    assert health(ended) == ("unknown", "no layer was recorded since step 191")
    assert health(run_of("r1", records(501, 2))) == ("healthy", None)


def test_a_client_that_reports_the_watching_is_believed(run_of):
    run_of("r1", records(1, 20), watching={"state": "watching"})
    for _ in range(25):
        run = run_of("r1", [], watching={"state": "watching"})
    assert health(run) == ("healthy", None)


@pytest.mark.parametrize("stored", ['{"state":"unwatched","reason":"of a newer version"}', "{}", "[1]", "{"])
def test_a_damaged_report_of_the_watching_is_no_health_and_costs_no_upload(call, run_of, database, stored):
    run_of("r1", records(1, 20), watching={"state": "unwatched", "reason": "eval_mode"})
    if stored == "{" and database.engine.dialect.name != "sqlite":
        pytest.skip("Postgres stores no text that is no JSON")
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE runs SET watching = :stored WHERE run_id = 'r1'"), {"stored": stored})
    assert health(run_of("r1", records(201, 2))) == (
        "unknown",
        "what the client reported of the watching is damaged",
    )
    assert run_of("r1", records(221, 2), watching={"state": "watching"})["health"] == "healthy"


def test_lost_uploads_leave_the_health_unknown(run_of):
    run = run_of("r1", records(1, 20), dropped={"spool_full": 5}, final_status="finished")
    assert health(run) == ("unknown", "5 of 25 sampled steps were not delivered")


def test_runs_are_found_by_their_health_and_by_a_part_of_their_name(call, run_of):
    run_of("dead-one", records(1, 40, dies_at=201))
    run_of("fine-one", records(1, 20))
    run_of("empty", [])

    def found(query):
        return [run["run_id"] for run in call("GET", f"/v1/runs?{query}").json()["items"]]

    assert found("health=damaged") == ["dead-one"]
    assert found("health=healthy") == ["fine-one"]
    assert found("q=ONE") == ["fine-one", "dead-one"]
    assert found("q=%25") == []
    assert call("GET", "/v1/runs?health=fine").status_code == 422
