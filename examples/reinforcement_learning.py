"""Q-learning with deliberate resets: ``monitor.mark`` says that what comes after one is another training.

relumine-server serve                                   # in another terminal
python examples/reinforcement_learning.py [--dying]     # --dying: nobody scaled the rewards
"""

from __future__ import annotations

import argparse
import random

import torch
from torch import Tensor, nn
from torch.nn import functional

import relumine

PLACES, STEPS, RESET_EVERY = 12, 900, 300


def seen(place: int) -> Tensor:
    """What the agent sees of its place on a ring: a noisy one-hot vector."""
    return functional.one_hot(torch.tensor(place), PLACES) + 0.1 * torch.randn(PLACES)


def act(model: nn.Module, state: Tensor, chance: float) -> int:
    """Left (0) or right (1), at random now and then."""
    if random.random() < chance:  # noqa: S311 - exploration, no secret
        return random.randrange(2)  # noqa: S311 - the same
    with torch.no_grad():  # acting is no training: it is not counted
        return int(model(state).argmax())


def main(*, dying: bool) -> None:
    """Learn to reach place 0."""
    torch.manual_seed(0)
    random.seed(0)
    prize = 30.0 if dying else 1.0
    model = nn.Sequential(nn.Linear(PLACES, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    memory: list[tuple[Tensor, int, float, Tensor]] = []
    place = 5

    monitor = relumine.watch(model, optimizer, project="examples", name="rl-dying" if dying else "rl")
    for step in range(STEPS):
        for _ in range(4):
            state = seen(place)
            action = act(model, state, chance=0.2)
            place = (place + (1 if action else -1)) % PLACES
            memory.append((state, action, prize if place == 0 else 0.0, seen(place)))
            place = random.randrange(PLACES) if place == 0 else place  # noqa: S311 - a new episode
        states, actions, rewards, followers = zip(*random.choices(memory, k=64), strict=True)  # noqa: S311 - replay
        with torch.no_grad():
            targets = torch.tensor(rewards) + 0.9 * model(torch.stack(followers)).amax(1) * (torch.tensor(rewards) == 0)
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
