"""The words people read, to the letter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relumine_server.detection import wording
from relumine_server.detection.findings import Finding, Forecast, Remedy

EVIDENCE = {
    "units": 256, "units_silent": 61, "baseline_fraction": 0.02, "n": 3840, "n_unit": "examples", "p_bound": 3 / 3840,
    "learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 4380, "slope": 0.0},
    "bias": {"mean": -0.1, "slope_per_step": 0.0, "share": 0.05},
    "shift": {"weight": 0.83, "input": 0.12, "bias": 0.05},
    "update_to_weight": 0.01, "upstream": [], "loss_effect": 0.01,
}  # fmt: skip
FINDING = Finding(
    2, "fc2", "dying", "raised", "warning", "high_learning_rate", 0.9, 4410, EVIDENCE,
    Forecast(5150, 4900, 5600, 0.8, 180.0), (Remedy("lower_learning_rate", "lr", 0.05, "it was alive at that rate"),),
)  # fmt: skip


def but(**changes):
    return replace(FINDING, evidence=EVIDENCE | changes)


def test_a_good_message_says_what_how_many_when_why_and_what_to_do():
    assert wording.title(FINDING) == "fc2 is dying"
    assert wording.message(FINDING, "digits/baseline") == (
        "digits/baseline · fc2 is dying (step 4,410). 61 of 256 units (24 %; baseline 2 %) silent on 3,840 examples. "
        "Half dead near step 5,150 (80 %: 4,900–5,600), about 3 min. "
        "Likely cause: lr 0.05 → 0.3 at step 4,380 (weights 83 % of the shift). Do: lr ≤ 0.05. Loss unaffected so far."
    )


def test_what_the_evidence_lacks_is_not_said():
    finding = replace(
        but(baseline_fraction=None, shift=dict.fromkeys(EVIDENCE["shift"]), loss_effect=None, n=None),
        cause="unknown", forecast=None, remedies=(),
    )  # fmt: skip
    assert wording.message(finding, "a/b") == (
        "a/b · fc2 is dying (step 4,410). 61 of 256 units (24 %) silent. Cause unknown."
    )


def test_positions_are_called_positions():
    assert "silent on 3,840 positions." in wording.message(but(n_unit="positions"), "a/b")


def test_a_warning_before_any_unit_is_silent_says_what_it_rests_on():
    text = wording.message(but(units_silent=2, kill_ratio=3.14), "a/b")
    assert text.startswith(
        "a/b · fc2 is dying (step 4,410). One update took 3.1 times what a tenth of the units had left."
    )


def test_a_warning_from_little_headroom_says_how_little():
    text = wording.message(but(units_silent=5, kill_ratio=0.1, headroom={"now": -0.31, "usual": 1.44}), "a/b")
    assert (
        "(step 4,410). 5 of 256 units silent; the weakest tenth reaches -0.3 σ at most (usually +1.4 σ). Half" in text
    )


def test_a_warning_under_as_much_headroom_as_ever_names_the_updates():
    text = wording.message(but(units_silent=0, kill_ratio=0.12, headroom={"now": 1.2, "usual": 1.0}), "a/b")
    assert "(step 4,410). One update takes 12 % of what the weakest tenth has left. Half" in text


def test_a_doubtful_cause_is_only_possible():
    assert "Possible cause: " in wording.message(replace(FINDING, confidence=0.5), "a/b")


def test_harm_is_told_with_its_size():
    assert wording.message(but(loss_effect=0.84), "a/b").endswith("Loss up 84 % since.")
    assert wording.message(but(loss_effect=33.4), "a/b").endswith("Loss 34.4 times as high since.")
    assert wording.message(but(loss_effect=4999.0), "a/b").endswith("Loss 5,000 times as high since.")


def test_the_end_of_an_alert_names_its_reason():
    ended = replace(FINDING, transition="resolved", reason="units returned", step=5000)
    assert wording.message(ended, "a/b") == "a/b · fc2 is dying: over since step 5,000 (units returned)."


def test_the_run_itself_is_named_as_such():
    finding = replace(
        but(units=None, units_silent=None), layer_id=0, layer=None, kind="diverged", forecast=None,
    )  # fmt: skip
    assert wording.title(finding) == "The run: values are not finite"
    assert wording.message(finding, "a/b").startswith("a/b · The run: values are not finite (step 4,410). Likely cause")


@pytest.mark.parametrize("kind", ["dying", "dead", "born_dead", "constant_output", "diverged", "no_data", "stalled"])
@pytest.mark.parametrize(
    "cause",
    ["high_learning_rate", "negative_bias", "bad_initialization", "input_shift", "upstream_collapse", "unknown"],
)
@pytest.mark.parametrize(
    "action",
    [
        "lower_learning_rate",
        "reset_bias",
        "reinitialize",
        "replace_relu",
        "normalize_input",
        "treat_upstream",
        "clip_gradient",
    ],
)
@pytest.mark.parametrize("value", [None, 0.01])
def test_every_kind_cause_and_remedy_has_words(kind, cause, action, value):
    finding = replace(FINDING, kind=kind, cause=cause, remedies=(Remedy(action, None, value, ""),))
    text = wording.message(finding, "a/b")
    assert "None" not in text
    assert "_" not in text
    assert "Do: " in text


@pytest.mark.parametrize(
    ("action", "value", "told"),
    [
        ("check_loss", None, "Do: see which loss term or target pushes the units down."),
        ("lower_weight_decay", 0.0, "Do: weight decay ≤ 0."),
    ],
)
def test_what_drives_biases_down_is_named_in_what_to_do(action, value, told):
    found = replace(FINDING, remedies=(Remedy(action, None, value, "so"),))
    assert told in wording.message(found, "a/b")
