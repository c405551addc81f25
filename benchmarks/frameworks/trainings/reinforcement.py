"""Stable-Baselines3: agents that act without gradients and train with them, some with several optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.logger import KVWriter, Logger
from torch import nn

from benchmarks.frameworks.training import Observe, Trained

ROLLOUTS = 6
EPOCHS = 2
ROLLOUT_STEPS = 64
BATCH = 32


class _TrainingValues(KVWriter):
    """Keeps the logged values of the training, without times."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def write(self, key_values: Mapping[str, Any], _key_excluded: Any, step: int = 0) -> None:
        del step
        self.values += [float(value) for key, value in sorted(key_values.items()) if key.startswith("train/")]

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def train_ppo(observe: Observe) -> Trained:
    """Train PPO; its policy is called by other methods than ``forward``."""
    agent = PPO(
        "MlpPolicy",
        "CartPole-v1",
        n_steps=ROLLOUT_STEPS,
        batch_size=BATCH,
        n_epochs=EPOCHS,
        policy_kwargs={"activation_fn": nn.ReLU},
        seed=0,
        device="cpu",
    )
    observe(agent.policy, agent.policy.optimizer)
    losses = _learn(agent, ROLLOUTS * ROLLOUT_STEPS)
    return Trained(agent.policy, losses, ROLLOUTS * EPOCHS * ROLLOUT_STEPS // BATCH)


def train_sac(observe: Observe) -> Trained:
    """Train SAC: actor and critics with an optimizer each."""
    agent = SAC(
        "MlpPolicy",
        "Pendulum-v1",
        learning_starts=40,
        batch_size=BATCH,
        policy_kwargs={"net_arch": [32, 32]},
        seed=0,
        device="cpu",
    )
    observe(agent.policy, [agent.actor.optimizer, agent.critic.optimizer])
    losses = _learn(agent, 80)
    return Trained(agent.policy, losses, agent._n_updates)  # noqa: SLF001 - it has no public name


def train_td3(observe: Observe) -> Trained:
    """Train TD3: the actor steps at every second step of the critics only."""
    agent = TD3(
        "MlpPolicy",
        "Pendulum-v1",
        learning_starts=40,
        batch_size=BATCH,
        policy_kwargs={"net_arch": [32, 32]},
        seed=0,
        device="cpu",
    )
    observe(agent.policy, [agent.actor.optimizer, agent.critic.optimizer])
    losses = _learn(agent, 81)  # an odd number of updates: after the last step of the critics no forward follows
    return Trained(agent.policy, losses, agent._n_updates)  # noqa: SLF001 - it has no public name


def train_dqn(observe: Observe) -> Trained:
    """Train DQN: a network and its target network."""
    agent = DQN(
        "MlpPolicy",
        "CartPole-v1",
        learning_starts=40,
        batch_size=BATCH,
        target_update_interval=20,
        policy_kwargs={"net_arch": [32, 32]},
        seed=0,
        device="cpu",
    )
    observe(agent.policy, agent.policy.optimizer)
    losses = _learn(agent, 140)
    return Trained(agent.policy, losses, agent._n_updates)  # noqa: SLF001 - it has no public name


def _learn(agent: Any, steps: int) -> list[float]:
    writer = _TrainingValues()
    agent.set_logger(Logger(folder=None, output_formats=[writer]))
    agent.learn(steps, log_interval=1)
    return writer.values
