"""The fold: any split of a series, and any restart between, gives the same result to the last bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relumine.wire import LayerInfo
from relumine_server.detection import onset, state
from relumine_server.detection.replay import replay


def dying_series(train, seed, sizes=(17, 64, 5)):
    random = np.random.default_rng(seed)
    training = train({1: 0.3}, seed=seed)
    training.rates = {i: random.uniform(0.001, 0.9, size) for i, size in enumerate(sizes, start=1)}
    training.__post_init__()
    training.go(14)
    training.learning_rate = 0.5
    for rates in training.rates.values():
        rates[random.random(rates.size) < 0.7] = 0
    training.columns = {"shift_weight": -0.1, "shift_input": 0.013, "shift_bias": -0.07, "update_shift": -3.0}
    training.go(20, every=1)
    training.run = {"output_spread": 0.0, "loss": 2.0}
    training.nonfinite = int(seed % 2)
    training.go(4)
    training.nonfinite = 0
    return training.go(12)


def folded(training, cuts, policy, *, restart):
    current = state.describe(state.empty(), training.layers)
    readings, findings = [], []
    for start, stop in zip([0, *cuts], [*cuts, len(training.records)], strict=True):
        current, more_readings, more_findings = onset.advance(current, training.records[start:stop], policy)
        readings += more_readings
        findings += more_findings
        if restart:
            current = state.from_bytes(state.to_bytes(current))
    return current, readings, findings


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 5), restart=st.booleans(), data=st.data())
def test_any_split_into_uploads_gives_identical_readings_findings_and_state(train, policy, seed, restart, data):
    training = dying_series(train, seed)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(training.records)), max_size=12)))
    whole, readings, findings = folded(training, [], policy, restart=False)
    parts, part_readings, part_findings = folded(training, cuts, policy, restart=restart)
    assert part_readings == readings
    assert part_findings == findings
    assert state.to_bytes(parts) == state.to_bytes(whole)


def test_one_record_at_a_time_gives_what_all_at_once_gives(train, policy):
    training = dying_series(train, seed=3, sizes=(1, 2, 3, 511, 64, 130))
    whole = folded(training, [], policy, restart=False)
    single = folded(training, list(range(1, len(training.records))), policy, restart=True)
    assert whole[1:] == single[1:]
    assert {f.kind for f in whole[2]} >= {"dying", "dead", "diverged"}


def test_replay_is_the_fold_from_an_empty_state(train, policy):
    training = dying_series(train, seed=2)
    _state, readings, findings = folded(training, [], policy, restart=False)
    assert replay(training.layers, training.records, policy) == (readings, findings)


def test_the_state_handed_in_is_left_as_it_was(train, policy):
    training = dying_series(train, seed=1)
    before, _, _ = folded(training, [], policy, restart=False)
    kept = copy.deepcopy(before)
    onset.advance(before, training.go(5).records[-20:], policy)
    assert state.to_bytes(before) == state.to_bytes(kept)


def test_a_state_takes_at_most_32_bytes_a_unit_and_little_else():
    layers = [LayerInfo(layer_id=i, name=f"conv{i}", units=464) for i in range(1, 50)]
    fresh = state.describe(state.empty(), layers)
    assert len(state.to_bytes(fresh)) <= 32 * 49 * 464 + 49 * 1024


def test_bytes_of_another_version_are_refused():
    with pytest.raises(ValueError, match="no detector state"):
        state.from_bytes(b"RLD0" + bytes(64))


def test_a_layer_whose_units_changed_starts_afresh_and_the_others_keep_their_past(train, policy):
    training = train({1: 0.3, 2: 0.3}).go(12)
    before, _, _ = folded(training, [], policy, restart=False)
    changed = training.layers[0].model_copy(update={"units": 32})
    after = state.describe(before, [changed, training.layers[1]])
    assert (after.layers[1].records, after.layers[2].records) == (0, 12)
    kept = before.units[:, before.layers[2].span]
    assert np.array_equal(after.units[:, after.layers[2].span], kept)
    assert after.units[:, after.layers[1].span].shape == (8, 32)


def test_describing_a_layer_again_changes_nothing(train, policy):
    training = train({1: 0.3, 2: 0.3}).go(12)
    before, _, _ = folded(training, [], policy, restart=False)
    assert state.to_bytes(state.describe(before, training.layers)) == state.to_bytes(before)


def test_records_of_unknown_layers_or_of_the_wrong_length_are_passed_over(train, policy):
    training = train({1: 0.3, 2: 0.3}).go(3)
    known = [training.layers[0].model_copy(update={"units": 7})]
    readings, findings = replay(known, training.records, policy)
    assert {r.layer_id for r in readings} == {1}
    assert not findings
    assert readings[-1].state == "waiting"
