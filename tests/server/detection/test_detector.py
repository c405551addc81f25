"""``advance`` is a fold: any split of a series, and any restart between, gives the same result to the last bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relumine.schemas.upload import LayerInfo
from relumine_server.detection import detector, state
from relumine_server.detection.replay import replay


def dying_training(train, seed, sizes=(17, 64, 5)):
    random = np.random.default_rng(seed)
    training = train({1: 0.3}, seed=seed)
    training.rates = {i: random.uniform(0.001, 0.9, size) for i, size in enumerate(sizes, start=1)}
    training.restart()
    training.sample(14)
    training.learning_rate = 0.5
    for rates in training.rates.values():
        rates[random.random(rates.size) < 0.7] = 0
    training.columns = {"shift_weight": -0.1, "shift_input": 0.013, "shift_bias": -0.07, "update_shift": -3.0}
    training.sample(20, every=1)
    training.run_signals = {"output_spread": 0.0, "loss": 2.0}
    training.nonfinite = int(seed % 2)
    training.sample(4)
    training.nonfinite = 0
    return training.sample(12)


def advance_in_parts(training, cuts, policy, *, restart):
    """Fold the records split at ``cuts``; with ``restart`` the state goes through its bytes after each part."""
    current = state.describe(state.empty(), training.layers)
    readings, findings = [], []
    for start, stop in zip([0, *cuts], [*cuts, len(training.records)], strict=True):
        current, new_readings, new_findings = detector.advance(current, training.records[start:stop], policy)
        readings += new_readings
        findings += new_findings
        if restart:
            current = state.from_bytes(state.to_bytes(current))
    return current, readings, findings


def test_any_split_into_uploads_gives_identical_readings_findings_and_state(train, policy):
    trainings = [dying_training(train, seed) for seed in range(6)]
    at_once = [advance_in_parts(training, [], policy, restart=False) for training in trainings]

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 5), restart=st.booleans(), data=st.data())
    def check(seed, restart, data):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(trainings[seed].records)), max_size=12)))
        expected, readings, findings = at_once[seed]
        actual, actual_readings, actual_findings = advance_in_parts(trainings[seed], cuts, policy, restart=restart)
        assert actual_readings == readings
        assert actual_findings == findings
        assert state.to_bytes(actual) == state.to_bytes(expected)

    check()


def test_one_record_at_a_time_gives_the_same_as_all_at_once(train, policy):
    training = dying_training(train, seed=3, sizes=(1, 2, 3, 511, 64, 130))
    at_once = advance_in_parts(training, [], policy, restart=False)
    one_by_one = advance_in_parts(training, list(range(1, len(training.records))), policy, restart=True)
    assert at_once[1:] == one_by_one[1:]
    assert {f.kind for f in at_once[2]} >= {"dying", "dead", "diverged"}


def test_replay_is_the_fold_from_an_empty_state(train, policy):
    training = dying_training(train, seed=2)
    _state, readings, findings = advance_in_parts(training, [], policy, restart=False)
    assert replay(training.layers, training.records, policy) == (readings, findings)


def test_advance_does_not_change_the_given_state(train, policy):
    training = dying_training(train, seed=1)
    given_state, _, _ = advance_in_parts(training, [], policy, restart=False)
    expected = copy.deepcopy(given_state)
    detector.advance(given_state, training.sample(5).records[-20:], policy)
    assert state.to_bytes(given_state) == state.to_bytes(expected)


def test_a_state_takes_at_most_32_bytes_per_unit_and_1_kib_per_layer():
    layers = [LayerInfo(layer_id=i, name=f"conv{i}", units=464) for i in range(1, 50)]
    initial = state.describe(state.empty(), layers)
    assert len(state.to_bytes(initial)) <= 32 * 49 * 464 + 49 * 1024


def test_bytes_of_another_version_are_refused():
    with pytest.raises(ValueError, match="no detector state"):
        state.from_bytes(b"RLD0" + bytes(64))


def test_a_layer_whose_units_changed_starts_from_nothing_and_the_others_keep_their_memory(train, policy):
    training = train({1: 0.3, 2: 0.3}).sample(12)
    previous, _, _ = advance_in_parts(training, [], policy, restart=False)
    resized = training.layers[0].model_copy(update={"units": 32})
    updated = state.describe(previous, [resized, training.layers[1]])
    assert (updated.layers[1].records, updated.layers[2].records) == (0, 12)
    units = previous.units[:, previous.layers[2].unit_slice]
    assert np.array_equal(updated.units[:, updated.layers[2].unit_slice], units)
    assert updated.units[:, updated.layers[1].unit_slice].shape == (8, 32)


def test_describing_a_layer_again_changes_nothing(train, policy):
    training = train({1: 0.3, 2: 0.3}).sample(12)
    previous, _, _ = advance_in_parts(training, [], policy, restart=False)
    assert state.to_bytes(state.describe(previous, training.layers)) == state.to_bytes(previous)


def test_records_of_unknown_layers_or_of_the_wrong_length_are_ignored(train, policy):
    training = train({1: 0.3, 2: 0.3}).sample(3)
    described = [training.layers[0].model_copy(update={"units": 7})]
    readings, findings = replay(described, training.records, policy)
    assert {r.layer_id for r in readings} == {1}
    assert not findings
    assert readings[-1].state == "waiting"
