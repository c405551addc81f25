"""Which steps are looked at."""

from __future__ import annotations

from relumine.schedule import BURST_STEPS, Schedule


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
