"""The sampling schedule and the byte budget."""

from __future__ import annotations

import itertools

from relumine._export.upload_builder import BYTES_PER_S, FREE_BYTES, ByteBudget
from relumine._monitor.sampling import BURST_STEPS, MAX_INTERVAL, YOUNG_STEPS, SamplingSchedule


def sampled(schedule: SamplingSchedule, lrs, spent_s=lambda count: 0.0, elapsed_s=lambda step: 0.0) -> list[int]:
    steps = []
    for step, lr in enumerate(lrs, start=1):
        if schedule.is_due(step, spent_s=spent_s(len(steps)), elapsed_s=elapsed_s(step)):
            steps.append(step)
        schedule.observe_lr(step, lr)
    return steps


def default_schedule():
    return SamplingSchedule(None, 0.01)


def gaps_of(steps: list[int]) -> list[int]:
    return [later - earlier for earlier, later in itertools.pairwise(steps)]


def test_the_interval_is_about_ten_steps_and_jittered():
    steps = sampled(default_schedule(), [0.1] * 3000)
    gaps = gaps_of([step for step in steps if step > YOUNG_STEPS])
    assert 9 <= sum(gaps) / len(gaps) <= 11
    assert len(set(gaps)) > 3


def test_a_young_training_is_sampled_about_every_five_steps():
    gaps = gaps_of([step for step in sampled(default_schedule(), [0.1] * YOUNG_STEPS) if step > 12])
    assert 4 <= sum(gaps) / len(gaps) <= 6
    assert len(set(gaps)) >= 3


def test_the_first_three_steps_are_sampled_and_every_third_until_the_twelfth():
    assert sampled(default_schedule(), [0.1] * 14) == [1, 2, 3, 6, 9, 12]


def test_a_training_that_is_resumed_is_young_again():
    fresh, resumed = default_schedule(), default_schedule()
    resumed.origin = 50_000
    fresh_steps = [step for step in range(1, 3000) if fresh.is_due(step, spent_s=0.0, elapsed_s=0.0)]
    steps = range(50_001, 53_000)
    assert [step - 50_000 for step in steps if resumed.is_due(step, spent_s=0.0, elapsed_s=0.0)] == fresh_steps


def test_the_start_is_sampled_whatever_it_costs():
    steps = sampled(default_schedule(), [0.1] * 90, spent_s=lambda _n: 1e9)
    assert steps == [1, 2, 3, 6, 9, 12]


def test_a_jump_of_the_learning_rate_is_followed_by_a_burst():
    steps = sampled(default_schedule(), [0.1] * 100 + [0.2] * 200)
    assert set(range(102, 102 + BURST_STEPS - 1)) <= set(steps)
    assert len([step for step in steps if step > 160]) < 35


def test_a_warm_up_ramp_and_a_cosine_are_no_jump():
    ramp = [0.001 * step for step in range(1, 200)]
    schedule = default_schedule()
    sampled(schedule, ramp)
    assert schedule.bursts == 0


def test_a_learning_rate_that_keeps_jumping_does_not_make_every_step_a_sampled_one():
    steps = sampled(default_schedule(), [0.001 if (step // 5) % 2 else 0.1 for step in range(3000)])
    assert len(steps) < 1000


def test_a_fixed_interval_never_changes():
    assert sampled(SamplingSchedule(7, 0.01), [0.1] * 10 + [1.0] * 25) == [1, 8, 15, 22, 29]


def test_sampling_stays_within_its_share_of_the_time_after_the_free_seconds():
    steps = 20_000
    count = len(
        sampled(default_schedule(), [0.1] * steps, spent_s=lambda n: 0.004 * n, elapsed_s=lambda step: 0.01 * step)
    )
    allowed_s = 1.0 + 0.01 * 0.01 * steps
    assert 0.8 * allowed_s <= 0.004 * count <= allowed_s + 0.1


def test_no_more_than_a_hundred_steps_pass_between_two_sampled_ones_whatever_they_cost():
    steps = sampled(default_schedule(), [0.1] * 5000, spent_s=lambda _n: 1e9, elapsed_s=lambda _step: 0.0)
    gaps = [after - before for before, after in zip(steps, steps[1:], strict=False)]
    assert max(gaps) == MAX_INTERVAL
    assert 5000 - steps[-1] < MAX_INTERVAL


def test_a_burst_is_sampled_in_full_whatever_it_costs_and_paid_back():
    """Steps of 1 ms, 0.4 ms per sampled step, the free second spent: 1 % of 1,000 steps are 10 ms, 25 sampled steps."""
    schedule, step_s, sample_s = default_schedule(), 0.001, 0.0004
    spent, steps = 1.0, []
    for step in range(1, 12_001):
        if schedule.is_due(step, spent_s=spent, elapsed_s=step * step_s):
            steps.append(step)
            spent += sample_s
        schedule.observe_lr(step, 0.1 if step < 3000 else 0.3)
    burst = [step for step in steps if 3000 < step <= 3000 + BURST_STEPS]
    assert burst == list(range(3001, 3001 + BURST_STEPS))
    in_debt = [step for step in steps if 3100 <= step < 4100]
    assert 10 <= len(in_debt) <= 11  # no more than the longest interval asks for
    assert spent - 1.0 <= 0.01 * 12_000 * step_s + sample_s


def test_the_server_may_lengthen_any_interval_up_to_a_hundred_steps():
    for every in (None, 7):
        schedule = SamplingSchedule(every, 0.01)
        schedule.request_interval(50)
        assert len(sampled(schedule, [0.1] * 1000)) <= 28
        schedule = SamplingSchedule(every, 0.01)
        schedule.request_interval(100_000)
        steps = sampled(schedule, [0.1] * 1000)
        assert max(after - before for before, after in zip(steps, steps[1:], strict=False)) <= MAX_INTERVAL


def test_the_server_may_ask_for_a_burst_and_no_more_than_one_at_a_time():
    schedule = default_schedule()
    before = sampled(schedule, [0.1] * 300)
    asked = []
    for step in range(301, 601):
        schedule.request_interval(2)
        if schedule.is_due(step, spent_s=1e9, elapsed_s=0.0):
            asked.append(step)
    assert len(before) < 70
    # A burst of every second step, another one after a rest of 200 steps, and the longest interval between them.
    assert BURST_STEPS // 2 <= len(asked) <= BURST_STEPS + 2


def test_a_fixed_interval_is_not_shortened_by_the_server():
    schedule = SamplingSchedule(7, 0.01)
    schedule.request_interval(1)
    assert sampled(schedule, [0.1] * 30) == [1, 8, 15, 22, 29]


def test_the_same_training_is_sampled_at_the_same_steps():
    assert sampled(default_schedule(), [0.1] * 1000) == sampled(default_schedule(), [0.1] * 1000)


def test_saved_bytes_may_be_spent_later_and_no_more():
    budget = ByteBudget()
    assert budget.allows(0.0, planned=FREE_BYTES)
    budget.spend(FREE_BYTES)
    assert not budget.allows(0.9, planned=BYTES_PER_S)
    assert budget.allows(1.0, planned=BYTES_PER_S)
