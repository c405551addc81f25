"""The text that people read, to the letter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relumine_server.alerts import stall_detection, unwatched
from relumine_server.detection import messages
from relumine_server.detection.findings import Finding, Forecast
from relumine_server.detection.remedies import Target, remedies

EVIDENCE = {
    "units": 256, "units_silent": 61, "baseline_fraction": 0.02, "n": 3840, "n_unit": "examples", "p_bound": 3 / 3840,
    "learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 4380, "slope": 0.0},
    "input": {"changed_at_step": None}, "bias": {"mean": -0.1, "slope_per_step": 0.0, "share": 0.05},
    "shift": {"weight": 0.83, "input": 0.12, "bias": 0.05}, "weights": {"change": 0.1},
    "headroom": {"now": 1.0, "usual": 1.0}, "kill_ratio": 0.0, "update_to_weight": 0.01,
    "onset_step": 4400, "upstream": [], "upstream_names": [], "loss_effect": 0.01,
}  # fmt: skip
NOW = datetime(2026, 11, 23, tzinfo=UTC)
FORECAST = Forecast(5150, 4900, 5600, 0.8, 180.0)
UNCHANGED_RATE = {"now": 0.05, "before": 0.05, "changed_at_step": None, "slope": 0.0}


def finding(kind="dying", cause="high_learning_rate", *, layer="fc2", confidence=0.9, **evidence):
    """Return a critical finding at step 4,410 with the remedies that it gets from the detector."""
    values = EVIDENCE | evidence
    return Finding(
        layer_id=2 if layer else 0,
        layer=layer,
        kind=kind,
        transition="raised",
        severity="critical",
        cause=cause,
        confidence=confidence,
        step=4410,
        evidence=values,
        remedies=remedies(kind, cause, values, {}, None, Target(layer, "fc1", "fc1")),
    )


def message(kind="dying", cause="high_learning_rate", **options):
    """Return the text after the run and the title."""
    return messages.message(finding(kind, cause, **options), "a/b").partition(": ")[2]


def test_a_message_states_severity_what_how_many_since_when_the_forecast_the_cause_and_the_fix():
    dying = replace(finding(), forecast=FORECAST)
    assert messages.title(dying) == "fc2 is dying"
    assert messages.message(dying, "digits/baseline") == (
        "CRITICAL digits/baseline · fc2 is dying: 61 of 256 units (24%, plus 2% from the start) have been inactive for "
        "the last 3,840 examples. Forecast: half dead by step 5,150, in about 3 min. Likely cause: the learning rate "
        "rose from 0.05 to 0.30 at step 4,380. Fix: lower it to 0.05, its last healthy value."
    )
    unknown = replace(finding(cause="unknown", shift={}), forecast=FORECAST)
    assert messages.message(unknown, "a/b").startswith(
        "CRITICAL a/b · fc2 is dying: 61 of 256 units (24%, plus 2% from the start) have been inactive for the last "
        "3,840 examples. Forecast: half of the layer dead by step 5,150 (80% interval 4,900–5,600), in about 3 min. "
        "Fix: replace"
    )


def test_a_message_leaves_out_what_the_evidence_lacks():
    shift = dict.fromkeys(EVIDENCE["shift"])
    bare = finding(cause="unknown", baseline_fraction=None, shift=shift, loss_effect=None, n=None)
    assert messages.message(replace(bare, remedies=()), "a/b") == (
        "CRITICAL a/b · fc2 is dying: 61 of 256 units (24%) have been inactive."
    )


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        ({"n_unit": "positions"}, "have been inactive for the last 3,840 positions."),
        ({"n": 1}, "have been inactive for the last 1 example."),
        ({"n": 3_840_000}, "have been inactive for the last 3.84 million examples."),
        ({"units": 4, "units_silent": 1}, "1 of 4 units (25%, plus 2% from the start) has been inactive"),
        ({"baseline_fraction": 0.28}, "61 of 256 units (24%, plus 28% from the start) have been inactive"),
    ],
)
def test_inactive_units_are_counted_against_what_was_inactive_before(evidence, text):
    assert text in message(**evidence)


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        (
            {"kill_ratio": 0.37},
            "each optimizer step pushes the most fragile 10% of its units 37% of the way to never firing again.",
        ),
        (
            {"kill_ratio": 3.14},
            "one optimizer step is now large enough to silence the most fragile 10% of its units for good.",
        ),
        (
            {"headroom": {"now": -0.8, "usual": 0.4}},
            "on an average batch the most fragile 10% of its units no longer reach zero.",
        ),
        (
            {"headroom": {"now": 0.5, "usual": 2.0}},
            "the most fragile 10% of its units fire less and less: their peak fell to 25% of its usual height.",
        ),
    ],
)
def test_a_warning_before_units_are_inactive_says_what_is_happening_to_the_most_fragile_of_them(evidence, text):
    assert message(units_silent=0, **evidence).startswith(text)
    few = message(units_silent=5, cause="unknown", shift={}, **evidence)
    assert few.startswith("5 of 256 units (2%, plus 2% from the start) have been inactive for the last 3,840 exam")
    assert f", and {text}" in few


@pytest.mark.parametrize(
    ("cause", "evidence", "text"),
    [
        ("high_learning_rate", {}, "the learning rate rose from 0.05 to 0.30 at step 4,380. Fix: lower it"),
        (
            "high_learning_rate",
            {"learning_rate": UNCHANGED_RATE, "kill_ratio": 1.0},
            "Likely cause: a learning rate of 0.05 is too high. Fix: lower the learning rate to 0.005.",
        ),
        (
            "high_learning_rate",
            {"learning_rate": {"now": 0.01, "before": 0.05, "changed_at_step": 4380, "slope": 0.0}},
            "Likely cause: a temporary rise of the learning rate at step 4,380. Fix: lower the learning rate to 0.001.",
        ),
        (
            "negative_bias",
            {"shift": {"weight": 0.05, "input": 0.0, "bias": 0.95}},
            "the biases are falling (95% of the drop in mean pre-activation). Fix: check whether a loss term",
        ),
        (
            "negative_bias",
            {"shift": {"weight": 0.89, "input": 0.0, "bias": 0.11}},
            "No clear cause: the mean pre-activation is falling, mostly through its weights. Fix: check whether a loss",
        ),
        (
            "negative_bias",
            {"weights": {"change": -0.4}},
            "Likely cause: the weights shrank by 40% while the bias stayed at -0.1. Fix: lower the weight decay to 0.",
        ),
        ("bad_initialization", {}, "Likely cause: the initial weights were far too large. Fix: reinitialize the dead"),
        (
            "input_shift",
            {"input": {"changed_at_step": 4300}},
            "the model's input changed at step 4,300. Fix: check the data since then, and normalize it with the mean",
        ),
        (
            "upstream_collapse",
            {"upstream": [1], "upstream_names": ["layer 1 (ReLU after Linear 0)"]},
            "layer 1 (ReLU after Linear 0) was lost first. Fix: revive layer 1 (ReLU after Linear 0) first (revive_).",
        ),
    ],
)  # fmt: skip
def test_the_cause_is_one_clause_with_its_own_numbers_and_the_fix_has_its_value(cause, evidence, text):
    assert text in message(cause=cause, **evidence)


@pytest.mark.parametrize(
    ("mean", "text"),
    [
        (-4.0, "Likely cause: biases begin too low (mean -4)."),
        (0.3, "Likely cause: the first biases keep its units below zero."),
        (None, "Likely cause: the first biases keep its units below zero."),
    ],
)
def test_a_layer_that_was_born_dead_is_blamed_on_where_it_began(mean, text):
    born_dead = message("born_dead", "negative_bias", bias={"mean": mean, "slope_per_step": -1.0, "share": None})
    assert born_dead.startswith("61 of 256 units (24%) were not active on any of the first 3,840 examples. " + text)


@pytest.mark.parametrize("step", [4401, 4411])
@pytest.mark.parametrize("cause", ["high_learning_rate", "input_shift"])
def test_an_event_after_the_onset_is_not_named_as_the_one_that_led_to_it(cause, step):
    rates = EVIDENCE["learning_rate"] | {"changed_at_step": step}
    text = message(cause=cause, learning_rate=rates, input={"changed_at_step": step})
    assert "cause: the " in text
    assert "at step" not in text
    assert "before step" not in text


def test_a_born_dead_layer_behind_another_names_the_other():
    text = message("born_dead", "negative_bias", upstream=[1], upstream_names=["fc1"])
    assert "Likely cause: biases begin below zero, and fc1 before it is lost." in text


def test_a_dead_layer_is_revived_after_its_cause_is_gone():
    assert "Fix: lower it to 0.05, its last healthy value, then call revive_." in message("dead")


def test_a_doubtful_cause_is_only_possible():
    assert "Possible cause: the learning rate rose" in message(confidence=0.5)


@pytest.mark.parametrize(
    ("effect", "text"),
    [(0.84, "Loss is up 84%."), (54.0, "Loss is up 55×."), (1.4, "Loss is up 2.4×."),
     (1e9, "Loss is up more than 1,000,000×."), (0.0, "Loss is unaffected so far.")],
)  # fmt: skip
def test_the_effect_on_the_loss_is_stated_with_its_size(effect, text):
    assert message(loss_effect=effect).endswith(f" {text}")


@pytest.mark.parametrize("kind", ["dead", "constant_output"])
@pytest.mark.parametrize("cause", ["high_learning_rate", "input_shift"])
def test_a_fix_that_brings_no_unit_back_is_followed_by_one_that_does(kind, cause):
    layer = "fc2" if kind == "dead" else None
    rose = {"now": 0.3, "before": 0.05, "changed_at_step": 4380, "slope": 0.0}
    assert ", then call revive_." in message(kind, cause, layer=layer, learning_rate=rose, loss_effect=None)
    assert "revive_" not in message("dying", cause, learning_rate=rose)


def test_a_run_that_diverged_goes_back_to_a_checkpoint():
    rose = {"now": 0.3, "before": 0.05, "changed_at_step": 4380, "slope": 0.0}
    fix = "Fix: load a checkpoint from before step 4,380, and lower the learning rate to 0.05, its last healthy value."
    assert fix in message("diverged", layer=None, learning_rate=rose)
    unchanged = message("diverged", "unknown", layer=None, learning_rate=UNCHANGED_RATE)
    assert "load a checkpoint from before step 4,410, and lower the learning rate to 0.005." in unchanged


@pytest.mark.parametrize(("kind", "effect"), [("diverged", 0.0), ("dying", None), ("dying", float("nan"))])
def test_nothing_is_said_about_a_loss_that_is_not_known_or_not_finite(kind, effect):
    assert "Loss" not in message(kind, layer=None if kind == "diverged" else "fc2", loss_effect=effect)


@pytest.mark.parametrize(
    ("forecast", "silent"),
    [(FORECAST, 200), (replace(FORECAST, step=4400, low=4300), 61), (replace(FORECAST, step=4410, low=4300), 61)],
)
def test_nothing_is_forecast_that_has_happened(forecast, silent):
    dying = replace(finding(units_silent=silent), forecast=forecast)
    assert "Forecast" not in messages.message(dying, "a/b")


def test_the_end_of_a_problem_is_stated_with_its_reason():
    resolved = replace(finding(), transition="resolved", reason="units returned", step=5000)
    assert messages.message(resolved, "a/b") == "a/b · fc2 is dying: ended at step 5,000 (units returned)."


@pytest.mark.parametrize(
    ("kind", "title", "text"),
    [
        (
            "diverged",
            "The run diverged",
            "activations are no longer finite numbers. Likely cause: the learning rate",
        ),
        (
            "constant_output",
            "The output no longer depends on the input",
            "the model gives nearly the same output for each of 3,840 examples. Likely cause: the learning rate rose",
        ),
    ],
)
def test_a_problem_of_the_run_names_the_run(kind, title, text):
    problem = finding(kind, layer=None, units=None, units_silent=None)
    assert messages.title(problem) == title
    assert messages.message(problem, "a/b").startswith(f"CRITICAL a/b · {title}: {text}")


def test_a_layer_without_data_says_so_and_names_no_cause():
    assert message("no_data", "unknown") == (
        "its module still runs, but its activation is no longer seen, so nothing is known about its units. "
        "Fix: see what relumine.check(model, inputs) no longer finds."
    )


def test_a_stall_is_no_crash():
    heartbeat = stall_detection.Heartbeat(NOW, 90.0)
    stalled = stall_detection.finding(heartbeat, NOW + timedelta(minutes=12), 100, 600.0)
    assert messages.message(stalled, "a/b") == (
        "WARNING a/b · The run stopped reporting: no upload arrived for 12 min (longest pause so far: 2 min); it may "
        "report again. Fix: check whether the job still runs, and whether it reaches the server."
    )


def test_a_training_that_is_not_watched_says_why():
    assert messages.message(unwatched.finding("eval_mode", 40, 60), "a/b") == (
        "WARNING a/b · The training is not being watched: nothing was recorded since step 40, because the model trains "
        "in eval mode, in which nothing is recorded; call model.train()."
    )


def test_long_names_lose_their_middle():
    layer = f"encoder.{'stage.' * 40}act"
    text = messages.message(replace(finding(), layer=layer), "p" * 200)
    assert len(text) <= messages.MAX_MESSAGE_CHARS
    assert "ppp…ppp" in text
    assert "encoder.stage.stage.stag…e.stage.stage.stage.act is dying: 61 of 256 units" in text
