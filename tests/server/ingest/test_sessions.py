"""Sessions of a run: ordered by their arrival, whatever clocks say; two trainings under one id are both judged."""

from __future__ import annotations

import numpy as np
import pytest

UNITS = 16
N = 64
REPLAYED = {"relumine-replayed": "true"}
LAYER = {"layer_id": 1, "name": "fc", "units": UNITS}


def records(first_step, count, *, dies_at=None, seed=0):
    """Sampled steps, ten apart; from the step ``dies_at`` on all units are silent."""
    rng = np.random.default_rng(seed)
    silent = np.zeros(UNITS, int)
    parts = []
    for number in range(count):
        step = first_step + 10 * number
        active = rng.binomial(N, 0.4, UNITS)
        if dies_at is not None and step >= dies_at:
            active[:] = 0
        silent = np.where(active > 0, 0, silent + N)
        columns = {"active": active.tolist(), "silent": silent.tolist()}
        parts.append({"layer_id": 0, "first_step": step, "step": step, "n_examples": N, "loss": 1.0})
        parts.append({"layer_id": 1, "first_step": step, "step": step, "n_examples": N, "n_positions": N, **columns})
    return parts


@pytest.fixture
def send(call):
    """A function that sends the next uploads of a session, and returns the last answer."""
    next_seq: dict[tuple[str, str], int] = {}

    def send_records(session, parts, *, run="r1", project="p", headers=None, per_upload=4, **fields):
        answer = None
        for start in range(0, max(len(parts), 1), per_upload):
            seq = next_seq.get((run, session), 0) + 1
            next_seq[run, session] = seq
            body = {
                "run": {"id": run, "project": project}, "session": session, "seq": seq, "layers": [LAYER],
                "records": parts[start : start + per_upload],
            }  # fmt: skip
            is_last = start + per_upload >= len(parts)
            response = call("POST", "/v1/uploads", json=body | (fields if is_last else {}), headers=headers or {})
            assert response.status_code == 202, response.text
            answer = response.json()
        return answer

    return send_records


def open_kinds(call, run="r1"):
    return {alert["kind"] for alert in call("GET", f"/v1/alerts?run_id={run}&state=firing").json()["items"]}


def recorded_steps(call, run="r1"):
    return call("GET", f"/v1/runs/{run}/layers/1/series?statistics=active_rate").json()["step"]


def test_a_session_from_a_clock_behind_is_judged_and_shown(call, send):
    send("zzzz", records(1, 12))
    send("aaaa", records(121, 12, dies_at=121), final_status=None)
    assert "dead" in open_kinds(call) or "dying" in open_kinds(call)
    assert recorded_steps(call)[-1] == 231


def test_an_empty_upload_of_another_session_does_not_end_the_judging_of_the_training(call, send):
    send("mmmm", records(1, 12))
    send("zzzz", [])
    answer = send("mmmm", records(121, 20, dies_at=121))
    assert answer["analyzed"]
    assert open_kinds(call) & {"dead", "dying"}


def test_of_two_trainings_under_one_id_both_are_judged_and_the_answer_says_so(call, send):
    send("first", records(1, 12))
    send("second", records(1, 12, seed=1))
    for number in range(10):
        dying = send("first", records(121 + 20 * number, 2, dies_at=121))
        healthy = send("second", records(121 + 20 * number, 2, seed=2))
    assert dying["is_shared"]
    assert healthy["is_shared"]
    assert open_kinds(call) & {"dead", "dying"}
    assert call("GET", "/v1/runs/r1").json()["is_shared"]


def test_of_two_trainings_under_one_id_neither_hides_that_the_other_is_not_watched(call, send):
    def reported(session, reason=None):
        watching = {"state": "watching" if reason is None else "unwatched", "reason": reason}
        send(session, records(1000, 1), watching=watching)
        return call("GET", "/v1/runs/r1").json()["health"], unwatched_states(call)

    send("first", records(1, 12))
    send("second", records(1, 12))
    assert reported("first", "eval_mode") == ("unwatched", ["pending"])
    assert reported("second") == ("unwatched", ["pending"])
    assert reported("first", "eval_mode") == ("unwatched", ["pending"])
    assert reported("first") == ("healthy", ["resolved"])
    assert reported("second", "no_forward") == ("unwatched", ["pending"])
    assert reported("second") == ("healthy", ["resolved"])
    assert reported("first", "eval_mode")[0] == "unwatched"
    assert reported("third") == ("healthy", ["resolved"])


def unwatched_states(call):
    alerts = call("GET", "/v1/alerts?run_id=r1&kind=no_data").json()["items"]
    return [alert["state"] for alert in alerts]


def test_the_run_ends_with_the_last_of_two_trainings(call, send):
    send("first", records(1, 12))
    send("second", records(1, 12), final_status="finished")
    assert call("GET", "/v1/runs/r1").json()["status"] == "finished"
    send("first", records(121, 2))
    assert call("GET", "/v1/runs/r1").json()["status"] == "running"
    send("first", records(141, 2), final_status="failed")
    assert call("GET", "/v1/runs/r1").json()["status"] == "failed"


@pytest.mark.parametrize("back", [10, 500, 212_000, 5_000_000, 2**50])
def test_a_run_is_taken_up_at_any_step_before_its_end(call, send, back):
    end = 2**50 + 1_000
    send("s1", records(1, 4))
    send("s1", records(end, 4))
    send("s2", records(end - back, 12, dies_at=end - back + 60))
    steps = recorded_steps(call)
    assert steps[-1] == end - back + 110
    assert open_kinds(call) & {"dead", "dying"}


def test_a_training_that_starts_again_from_scratch_takes_over_no_problem(call, send):
    send("s1", records(1, 30, dies_at=151))
    assert open_kinds(call)
    send("s2", records(1, 12))
    assert not open_kinds(call)


def test_a_training_that_goes_on_from_a_checkpoint_keeps_its_problem(call, send):
    send("s1", records(1, 30, dies_at=151))
    kinds = open_kinds(call)
    send("s2", records(271, 1, dies_at=0))
    assert open_kinds(call) == kinds


def test_a_training_on_disk_that_is_sent_afterwards_comes_before_the_one_that_followed_it(call, send):
    send("resumed", records(301, 12))
    send("offline", records(1, 30, dies_at=200), headers=REPLAYED, final_status="failed")
    run = call("GET", "/v1/runs/r1").json()
    assert (run["status"], run["last_step"]) == ("running", 411)
    assert not open_kinds(call), "what an older training shows afterwards is no news"
    assert recorded_steps(call) == [*range(1, 300, 10), *range(301, 420, 10)]


def test_sessions_on_disk_are_ordered_by_their_steps_in_whatever_order_they_are_sent(call, send):
    for session, first_step in (("c", 401), ("a", 1), ("b", 201)):
        send(session, records(first_step, 20), headers=REPLAYED)
    assert recorded_steps(call) == [*range(1, 600, 10)]


def test_a_run_id_belongs_to_the_project_that_created_it_and_another_project_has_its_own(call, send):
    send("s1", records(1, 12), project="ours")
    answer = send("s1", records(1, 30, dies_at=151), project="theirs", run="r1")
    assert answer["run_id"] != "r1"
    assert open_kinds(call, answer["run_id"])
    assert not open_kinds(call, "r1")
    theirs = call("GET", f"/v1/runs/{answer['run_id']}").json()
    assert theirs["project"] == "theirs"
    assert call("GET", "/v1/runs/r1").json()["project"] == "ours"


def test_another_rank_does_not_replace_the_description_of_a_layer(call, send):
    send("s1", records(1, 12))
    other = {"layer_id": 1, "name": "other", "units": 3}
    body = {"run": {"id": "r1", "project": "p"}, "session": "s1", "rank": 1, "seq": 1, "layers": [other]}
    assert call("POST", "/v1/uploads", json=body).status_code == 202
    (layer,) = call("GET", "/v1/runs/r1/layers").json()["items"]
    assert (layer["name"], layer["units"]) == ("fc", UNITS)


def test_the_counts_of_dropped_steps_take_no_room_per_process(call):
    for rank in range(1, 40):
        for seq, count in ((1, 2), (2, 5)):
            body = {"run": {"id": "r1"}, "session": f"s{rank}", "rank": rank, "seq": seq, "dropped": {"refused": count}}
            assert call("POST", "/v1/uploads", json=body).status_code == 202
    assert call("GET", "/v1/runs/r1").json()["dropped"] == {"refused": 39 * 5}


def test_the_reasons_of_dropped_steps_take_a_bounded_room_and_every_step_counts(call):
    for session in range(20):
        dropped = {f"{session}-{number:0>190}": 3 for number in range(32)}
        body = {"run": {"id": "r1"}, "session": f"s{session}", "seq": 1, "dropped": dropped}
        assert call("POST", "/v1/uploads", json=body).status_code == 202
    stored = call("GET", "/v1/runs/r1").json()["dropped"]
    assert (len(stored), sum(stored.values())) == (33, 20 * 32 * 3)


def test_logged_metrics_do_not_move_the_last_step(call, send):
    send("s1", records(1, 4))
    send("s1", records(41, 1), metrics=[{"step": 2**53 - 1, "name": "loss", "value": 1.0}])
    assert call("GET", "/v1/runs/r1").json()["last_step"] == 41


def test_the_answer_counts_the_layers_that_the_server_knows(send):
    assert send("s1", records(1, 1))["known_layers"] == 1
