"""Stable-Baselines3: PPO with ReLUs, its policy and its optimizer watched.

pip install stable-baselines3                       # not a dependency of Relumine
relumine-server serve                               # in another terminal
python examples/stable_baselines3_ppo.py [--dying]  # --dying: the learning rate is 300 times too high
"""

from __future__ import annotations

import argparse

from stable_baselines3 import PPO
from torch import nn

import relumine

STEPS = 4_096


def main(*, dying: bool) -> None:
    """Learn to balance a pole."""
    agent = PPO(
        "MlpPolicy",
        "CartPole-v1",
        learning_rate=0.1 if dying else 0.0003,
        n_steps=256,
        policy_kwargs={"activation_fn": nn.ReLU},  # the default of PPO is Tanh, which cannot die
        seed=0,
        device="cpu",
    )
    name = "ppo-dying" if dying else "ppo"
    with relumine.watch(agent.policy, agent.policy.optimizer, project="examples", name=name) as monitor:
        agent.learn(STEPS)  # rollouts run without gradients and are not counted

    for alert in monitor.alerts():
        print(f"[{alert.severity}] {alert.message}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dying", action="store_true")
    main(**vars(parser.parse_args()))
