"""The text that people read, to the letter."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import get_args

import pytest

from relumine.schemas.alert import Cause, Kind
from relumine_server.detection import messages
from relumine_server.detection.findings import Finding, Forecast, Remedy

EVIDENCE = {
    "units": 256, "units_silent": 61, "baseline_fraction": 0.02, "n": 3840, "n_unit": "examples", "p_bound": 3 / 3840,
    "learning_rate": {"now": 0.3, "before": 0.05, "changed_at_step": 4380, "slope": 0.0},
    "bias": {"mean": -0.1, "slope_per_step": 0.0, "share": 0.05},
    "shift": {"weight": 0.83, "input": 0.12, "bias": 0.05},
    "update_to_weight": 0.01, "upstream": [], "loss_effect": 0.01,
}  # fmt: skip
FINDING = Finding(
    layer_id=2,
    layer="fc2",
    kind="dying",
    transition="raised",
    severity="warning",
    cause="high_learning_rate",
    confidence=0.9,
    step=4410,
    evidence=EVIDENCE,
    forecast=Forecast(5150, 4900, 5600, 0.8, 180.0),
    remedies=(Remedy("lower_learning_rate", "lr", 0.05, "it was alive at that rate"),),
)
ACTIONS = (
    "lower_learning_rate", "reset_bias", "reinitialize", "replace_relu", "normalize_input", "treat_upstream",
    "clip_gradient",
)  # fmt: skip


def with_evidence(**changes):
    return replace(FINDING, evidence=EVIDENCE | changes)


def test_a_message_states_what_how_many_when_why_and_what_to_do():
    assert messages.title(FINDING) == "fc2 is dying"
    assert messages.message(FINDING, "digits/baseline") == (
        "digits/baseline · fc2 is dying (step 4,410). 61 of 256 units (24 %; baseline 2 %) silent on 3,840 examples. "
        "Half dead near step 5,150 (80 %: 4,900–5,600), about 3 min. "
        "Likely cause: lr 0.05 → 0.3 at step 4,380 (weights 83 % of the shift). Do: lr ≤ 0.05. Loss unaffected so far."
    )


def test_a_message_leaves_out_what_the_evidence_lacks():
    finding = replace(
        with_evidence(baseline_fraction=None, shift=dict.fromkeys(EVIDENCE["shift"]), loss_effect=None, n=None),
        cause="unknown", forecast=None, remedies=(),
    )  # fmt: skip
    assert messages.message(finding, "a/b") == (
        "a/b · fc2 is dying (step 4,410). 61 of 256 units (24 %) silent. Cause unknown."
    )


def test_positions_are_called_positions():
    assert "silent on 3,840 positions." in messages.message(with_evidence(n_unit="positions"), "a/b")


def test_a_warning_before_any_unit_is_silent_states_the_kill_ratio():
    text = messages.message(with_evidence(units_silent=2, kill_ratio=3.14), "a/b")
    assert text.startswith(
        "a/b · fc2 is dying (step 4,410). One update took 3.1 times what a tenth of the units had left."
    )


def test_a_warning_from_little_headroom_states_the_headroom():
    headroom = {"now": -0.31, "usual": 1.44}
    text = messages.message(with_evidence(units_silent=5, kill_ratio=0.1, headroom=headroom), "a/b")
    assert (
        "(step 4,410). 5 of 256 units silent; the weakest tenth reaches -0.3 σ at most (usually +1.4 σ). Half" in text
    )


def test_a_warning_with_the_usual_headroom_states_the_size_of_updates():
    headroom = {"now": 1.2, "usual": 1.0}
    text = messages.message(with_evidence(units_silent=0, kill_ratio=0.12, headroom=headroom), "a/b")
    assert "(step 4,410). One update takes 12 % of what the weakest tenth has left. Half" in text


def test_a_doubtful_cause_is_only_possible():
    assert "Possible cause: " in messages.message(replace(FINDING, confidence=0.5), "a/b")


def test_the_effect_on_the_loss_is_stated_with_its_size():
    assert messages.message(with_evidence(loss_effect=0.84), "a/b").endswith("Loss up 84 % since.")
    assert messages.message(with_evidence(loss_effect=33.4), "a/b").endswith("Loss 34.4 times as high since.")
    assert messages.message(with_evidence(loss_effect=4999.0), "a/b").endswith("Loss 5,000 times as high since.")


def test_the_end_of_a_problem_is_stated_with_its_reason():
    resolved = replace(FINDING, transition="resolved", reason="units returned", step=5000)
    assert messages.message(resolved, "a/b") == "a/b · fc2 is dying: over since step 5,000 (units returned)."


def test_a_problem_of_the_run_names_the_run():
    finding = replace(
        with_evidence(units=None, units_silent=None), layer_id=0, layer=None, kind="diverged", forecast=None,
    )  # fmt: skip
    assert messages.title(finding) == "The run: values are not finite"
    assert messages.message(finding, "a/b").startswith(
        "a/b · The run: values are not finite (step 4,410). Likely cause"
    )


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_cause_and_remedy_has_a_text_for_every_kind(kind):
    for cause, action, value in product(get_args(Cause), ACTIONS, (None, 0.01)):
        finding = replace(FINDING, kind=kind, cause=cause, remedies=(Remedy(action, None, value, ""),))
        text = messages.message(finding, "a/b")
        combination = (kind, cause, action, value, text)
        assert "None" not in text, combination
        assert "_" not in text, combination
        assert "Do: " in text, combination


@pytest.mark.parametrize(
    ("action", "value", "text"),
    [
        ("check_loss", None, "Do: check which loss term or target pushes the units down."),
        ("lower_weight_decay", 0.0, "Do: weight decay ≤ 0."),
    ],
)
def test_a_remedy_for_falling_biases_names_what_drives_them_down(action, value, text):
    finding = replace(FINDING, remedies=(Remedy(action, None, value, "so"),))
    assert text in messages.message(finding, "a/b")
