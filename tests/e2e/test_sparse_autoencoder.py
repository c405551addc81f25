"""A sparse autoencoder: latents that are rare are left alone, and the loss of most of them is not taken for rarity."""

from __future__ import annotations

import torch
from torch import nn

import relumine

WIDTH, FEATURES, LATENTS = 32, 64, 128
THRESHOLD = 0.1


def train(learning_rate, steps):
    """Train at a learning rate, analyzed in this process; return the health, and the share of latents never active."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(WIDTH, LATENTS), nn.Linear(LATENTS, WIDTH)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=learning_rate)
    directions = nn.functional.normalize(torch.randn(FEATURES, WIDTH), dim=1)
    with relumine.watch(nn.ModuleList([encoder, decoder]), optimizer, mode="local") as monitor:
        for _ in range(steps):
            inputs = activations(directions, 512)
            z = encoder(inputs)
            monitor.tap("latents", z, threshold=THRESHOLD)
            latents = torch.where(z > THRESHOLD, z, 0.0)
            loss = (decoder(latents) - inputs).square().sum(1).mean() + 0.05 * latents.sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        is_dead = (encoder(activations(directions, 20_000)) <= THRESHOLD).all(dim=0)
    return monitor.health(), is_dead.float().mean().item()


def activations(directions, number):
    """Inputs that are sums of few of the features."""
    strengths = torch.rand(number, FEATURES) * (torch.rand(number, FEATURES) < 0.05)
    return strengths @ directions


def test_latents_that_become_rare_are_no_danger(monkeypatch, tmp_path):
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path))
    health, dead_share = train(0.002, 250)
    assert dead_share < 0.02
    assert (health.status, health.reason) == ("healthy", None)


def test_a_learning_rate_that_loses_most_latents_within_few_steps_is_never_called_healthy(monkeypatch, tmp_path):
    monkeypatch.setenv("RELUMINE_DIR", str(tmp_path))
    health, dead_share = train(0.1, 300)
    assert dead_share > 0.5
    assert health.status in {"at_risk", "damaged"}
