"""Q-learning with deliberate resets: ``monitor.mark`` starts a new baseline after each.

relumine-server serve                                   # in another terminal
python examples/reinforcement_learning.py [--dying]     # --dying: the rewards are not scaled
"""

from __future__ import annotations

import argparse
import random

import torch
from torch import Tensor, nn
from torch.nn import functional

import relumine

POSITIONS = 12
STEPS = 900
RESET_EVERY = 300


def observe(position: int) -> Tensor:
    """Return the observation of a position on a ring: a noisy one-hot vector."""
    return functional.one_hot(torch.tensor(position), POSITIONS) + 0.1 * torch.randn(POSITIONS)


def choose_action(model: nn.Module, state: Tensor, epsilon: float) -> int:
    """Return left (0) or right (1), with probability ``epsilon`` at random."""
    if random.random() < epsilon:  # noqa: S311 - exploration, no secret
        return random.randrange(2)  # noqa: S311 - the same
    with torch.no_grad():  # only training forwards are counted
        return int(model(state).argmax())


def main(*, dying: bool) -> None:
    """Learn to reach position 0."""
    torch.manual_seed(0)
    random.seed(0)
    prize = 30.0 if dying else 1.0
    model = nn.Sequential(nn.Linear(POSITIONS, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    memory: list[tuple[Tensor, int, float, Tensor]] = []
    position = 5

    monitor = relumine.watch(model, optimizer, project="examples", name="rl-dying" if dying else "rl")
    for step in range(STEPS):
        for _ in range(4):
            state = observe(position)
            action = choose_action(model, state, epsilon=0.2)
            position = (position + (1 if action else -1)) % POSITIONS
            memory.append((state, action, prize if position == 0 else 0.0, observe(position)))
            if position == 0:
                position = random.randrange(POSITIONS)  # noqa: S311 - a new episode
        states, actions, rewards, next_states = zip(*random.choices(memory, k=64), strict=True)  # noqa: S311 - replay
        reward = torch.tensor(rewards)
        with torch.no_grad():
            next_values = model(torch.stack(next_states)).amax(1)
        targets = reward + 0.9 * next_values * (reward == 0)  # a reward ends the episode
        values = model(torch.stack(states)).gather(1, torch.tensor(actions)[:, None])[:, 0]
        loss = functional.mse_loss(values, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.log(loss=loss)
        if (step + 1) % RESET_EVERY == 0 and step + 1 < STEPS:  # against the primacy bias: Nikishin et al., 2022
            model[2].reset_parameters()
            model[4].reset_parameters()
            monitor.mark("reset")
    monitor.close()

    for alert in monitor.alerts():
        print(f"[{alert.severity}] {alert.message}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dying", action="store_true")
    main(**vars(parser.parse_args()))
