"""Which steps are looked at."""

from __future__ import annotations

from relumine.schedule import BURST_STEPS, BYTES_GRANT, BYTES_PER_S, ByteBudget, Schedule


def sampled(schedule: Schedule, rates, spent_s=lambda looks: 0.0, elapsed_s=lambda step: 0.0) -> list[int]:
    looks = []
    for step, rate in enumerate(rates, start=1):
        if schedule.is_due(step, spent_s=spent_s(len(looks)), elapsed_s=elapsed_s(step)):
            looks.append(step)
        schedule.see_rate(step, rate)
    return looks


def auto(seed=1):
    return Schedule(None, 0.01, seed)


def test_the_grid_is_about_ten_steps_and_jittered():
    looks = sampled(auto(), [0.1] * 2000)
    gaps = [b - a for a, b in zip(looks[4:], looks[5:], strict=False)]
    assert 9 <= sum(gaps) / len(gaps) <= 11
    assert len(set(gaps)) > 3


def test_the_first_three_steps_are_seen():
    assert sampled(auto(), [0.1] * 5)[:3] == [1, 2, 3]


def test_a_jump_of_the_rate_is_followed_by_a_burst():
    looks = sampled(auto(), [0.1] * 100 + [0.2] * 200)
    assert set(range(102, 102 + BURST_STEPS - 1)) <= set(looks)
    assert len([step for step in looks if step > 160]) < 20


def test_a_warm_up_ramp_and_a_cosine_are_no_jump():
    ramp = [0.001 * step for step in range(1, 200)]
    schedule = auto()
    sampled(schedule, ramp)
    assert schedule.bursts == 0


def test_a_rate_that_jumps_for_ever_does_not_make_every_step_a_sampled_one():
    looks = sampled(auto(), [0.001 if (step // 5) % 2 else 0.1 for step in range(3000)])
    assert len(looks) < 1000


def test_a_fixed_interval_is_kept_whatever_happens():
    assert sampled(Schedule(7, 0.01, 1), [0.1] * 10 + [1.0] * 25) == [1, 8, 15, 22, 29]


def test_looking_stays_within_its_share_of_the_time_beyond_the_grant():
    steps = 20_000
    looks = sampled(auto(), [0.1] * steps, spent_s=lambda n: 0.05 * n, elapsed_s=lambda step: 0.01 * step)
    allowed_s = 1.0 + 0.01 * 0.01 * steps
    assert 0.8 * allowed_s <= 0.05 * len(looks) <= allowed_s + 0.1


def test_a_burst_is_paid_back_so_that_a_thousand_steps_stay_within_the_budget():
    """Steps of 1 ms, looks of 0.4 ms, the grant spent: 1 % of 1,000 steps are 10 ms, 25 looks."""
    schedule, step_s, look_s = auto(), 0.001, 0.0004
    spent, looks = 1.0, []
    for step in range(1, 6001):
        if schedule.is_due(step, spent_s=spent, elapsed_s=step * step_s):
            looks.append(step)
            spent += look_s
        schedule.see_rate(step, 0.1 if step < 3000 else 0.3)
    burst = [step for step in looks if 3000 <= step < 3000 + BURST_STEPS + 1]
    assert burst[:20] == list(range(3001, 3021))
    cost = look_s * sum(3000 <= step < 4000 for step in looks)
    assert cost <= 0.01 * 1000 * step_s + 2 * look_s  # a look is whole: one that was due before, one that runs over
    assert spent - 1.0 <= 0.01 * 6000 * step_s + look_s


def test_the_server_may_thin_the_grid_and_a_fixed_interval_but_not_thicken_them():
    for every in (None, 7):
        schedule = Schedule(every, 0.01, 1)
        schedule.at_least = 50
        looks = sampled(schedule, [0.1] * 1000)
        assert len(looks) <= 25
        schedule = Schedule(every, 0.01, 1)
        schedule.at_least = 1
        assert len(sampled(schedule, [0.1] * 1000)) == len(sampled(Schedule(every, 0.01, 1), [0.1] * 1000))


def test_bytes_that_were_saved_may_be_spent_later_and_no_more():
    budget = ByteBudget()
    assert budget.allows(0.0, planned=BYTES_GRANT)
    budget.spend(BYTES_GRANT)
    assert not budget.allows(0.9, planned=BYTES_PER_S)
    assert budget.allows(1.0, planned=BYTES_PER_S)
