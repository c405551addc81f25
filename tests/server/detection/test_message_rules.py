"""No message contradicts itself or its evidence, whatever the cause, the numbers and the names."""

from __future__ import annotations

import math
from itertools import islice, product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relumine.schemas.alert import SEVERITIES, Cause, Kind
from relumine_server.detection import messages
from relumine_server.detection.findings import Finding, Forecast
from relumine_server.detection.remedies import Target, remedies
from research.scoring.message_rules import violations

STEP = 4410
KINDS = [kind for kind in get_args(Kind) if kind != "stalled"]
RUN_KINDS = ("constant_output", "diverged")


def evidence_of(*, units, silent, baseline, n, rates, bias, shares, change, input_step, loss_effect, kill_ratio, peaks):
    now, previous, changed_at = rates
    return {
        "units": units, "units_silent": silent, "baseline_fraction": baseline, "n": n, "n_unit": "examples",
        "learning_rate": {"now": now, "before": previous, "changed_at_step": changed_at, "slope": None},
        "input": {"changed_at_step": input_step}, "bias": {"mean": bias[0], "slope_per_step": bias[1], "share": None},
        "shift": dict(zip(("weight", "input", "bias"), shares, strict=True)), "weights": {"change": change},
        "headroom": {"now": peaks[0], "usual": peaks[1]}, "kill_ratio": kill_ratio, "upstream": [1],
        "upstream_names": ["layer 1 (ReLU after Linear 0)"], "loss_effect": loss_effect,
    }  # fmt: skip


def finding_of(kind, cause, evidence, *, severity="critical", confidence=0.9, forecast=None, layer="fc2"):
    layer = None if kind in RUN_KINDS else layer
    if layer is None:
        evidence = evidence | dict.fromkeys(("units", "units_silent", "baseline_fraction"))
    return Finding(
        layer_id=2,
        layer=layer,
        kind=kind,
        transition="raised",
        severity=severity,
        cause=cause,
        confidence=confidence,
        step=STEP,
        evidence=evidence,
        forecast=forecast if kind == "dying" else None,
        remedies=remedies(kind, cause, evidence, {}, None, Target(layer, "0", "layer 1 (ReLU after Linear 0)")),
    )


def check(finding, run_label="digits/baseline"):
    text = messages.message(finding, run_label)
    assert violations(finding, text) == [], text


SHARES = [
    (None, None, None),
    (0.89, 0.0, 0.11),
    (0.0, 0.0, 1.0),
    (0.1, 0.85, 0.05),
    (0.34, 0.33, 0.33),
    (1.0, 0.0, 0.5),
]
RATES = [(0.3, 0.05, 4380), (0.05, 0.05, None), (0.01, 0.05, 4380), (0.3, 0.05, None), (None, None, None)]
LOSS_EFFECTS = [None, 0.0, 0.2, 54.0, math.nan]
BIASES = [(-4.0, -1e-3), (0.3, 1e-3), (None, None)]
STRIDE = 7
"""Of the grid; with no factor of any of its sides, so that every pair of values comes up."""
COUNTS = [(256, 61, 0.02), (64, 12, 0.28), (64, 0, 0.0), (64, 64, None), (4096, 1, 0.0)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_message_contradicts_its_evidence(kind):
    grid = product(get_args(Cause), SHARES, RATES, COUNTS, LOSS_EFFECTS, BIASES)
    part = islice(grid, KINDS.index(kind), None, STRIDE)
    for index, (cause, shares, rates, (units, silent, baseline), loss_effect, bias) in enumerate(part):
        evidence = evidence_of(
            units=units,
            silent=silent,
            baseline=baseline,
            n=(3840, 1, None)[index % 3],
            rates=rates,
            bias=bias,
            shares=shares,
            change=(None, -0.4, 0.1)[index % 3],
            input_step=(None, 4300)[index % 2],
            loss_effect=loss_effect,
            kill_ratio=(None, 0.0, 0.37, 5.0)[index % 4],
            peaks=((None, None), (-0.8, 0.4), (0.5, 2.0))[index % 3],
        )
        forecast = (None, Forecast(5150, 4900, 5600, 0.8, 180.0), Forecast(4411, 4410, 4500, 0.8, None))[index % 3]
        check(finding_of(kind, cause, evidence, forecast=forecast, severity=SEVERITIES[index % 3]))


def numbers(low, high):
    return st.none() | st.floats(low, high, allow_nan=False)


STEPS = st.none() | st.integers(0, STEP)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="·"), min_size=1, max_size=200)
EVIDENCE = st.builds(
    lambda size, **values: evidence_of(units=size[1], silent=size[0], **values),
    size=st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)).map(sorted),
    baseline=numbers(0, 1),
    n=st.none() | st.integers(1, 2**53),
    rates=st.tuples(numbers(0, 1e9), numbers(0, 1e9), STEPS),
    bias=st.tuples(numbers(-1e9, 1e9), numbers(-1, 1)),
    shares=st.tuples(numbers(0, 1), numbers(0, 1), numbers(0, 1)),
    change=numbers(-1, 1e6),
    input_step=STEPS,
    loss_effect=numbers(-1e12, 1e12),
    kill_ratio=numbers(0, 100),
    peaks=st.tuples(numbers(-6, 6), numbers(-6, 6)),
)
FORECASTS = st.none() | st.builds(
    lambda steps, eta_s: Forecast(steps[1], steps[0], steps[2], 0.8, eta_s),
    st.tuples(*[st.integers(0, 2**53)] * 3).map(sorted),
    numbers(0, 1e9),
)


@given(
    kind=st.sampled_from(KINDS), cause=st.sampled_from(get_args(Cause)), evidence=EVIDENCE, forecast=FORECASTS,
    confidence=st.floats(0, 1), severity=st.sampled_from(SEVERITIES),
)  # fmt: skip
def test_no_message_breaks_a_rule_whatever_its_numbers(kind, cause, evidence, forecast, confidence, severity):
    check(finding_of(kind, cause, evidence, severity=severity, confidence=confidence, forecast=forecast))


@given(kind=st.sampled_from(KINDS), cause=st.sampled_from(get_args(Cause)), layer=NAMES, run=NAMES, evidence=EVIDENCE)
def test_no_message_is_too_long_whatever_its_names(kind, cause, layer, run, evidence):
    finding = finding_of(kind, cause, evidence, layer=layer, forecast=Forecast(5150, 4900, 5600, 0.8, 180.0))
    text = messages.message(finding, f"{run}/{run}")
    assert len(text) <= messages.MAX_MESSAGE_CHARS
    assert "Fix: " in text


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        (
            "CRITICAL a · fc2 is dying: 48 of 64 units (75%, plus 28% from the start) have been inactive. Fix: x.",
            "more units",
        ),
        ("CRITICAL a · fc2 is dying: Likely cause: the learning rate rose from 0.3 to 0.05. Fix: x.", "rises to less"),
        ("CRITICAL a · fc2 is dying: Likely cause: the biases are falling. Fix: x.", "bias against its shares"),
        ("CRITICAL a · fc2 is dying: Loss is unaffected so far. Fix: x.", "unaffected loss"),
        ("CRITICAL a · fc2 is dying: Cause: unknown (0% sure). Fix: x.", "internal words"),
        ("CRITICAL a · fc2 is dying: the weakest tenth reaches -0.8 σ. Fix: x.", "internal words"),
        ("a · fc2 is dying (step 4,410). Fix: x.", "begin with its severity"),
        ("CRITICAL a · fc2 is dying: Likely cause: x at step 4,411. Fix: x.", "cause in the future"),
    ],
)
def test_the_rules_find_the_contradictions_of_earlier_messages(text, broken):
    evidence = evidence_of(
        units=64, silent=12, baseline=0.28, n=1, rates=RATES[0], bias=(-1.0, 0.0), shares=SHARES[1], change=None,
        input_step=None, loss_effect=54.0, kill_ratio=None, peaks=(None, None),
    )  # fmt: skip
    assert any(broken in rule for rule in violations(finding_of("dying", "negative_bias", evidence), text))
