"""A sparse autoencoder with JumpReLU: ``monitor.tap`` keeps rare latents and dead ones apart.

relumine-server serve                               # in another terminal
python examples/sparse_autoencoder.py [--dying]     # --dying: the learning rate jumps halfway, 100 times too high
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

import relumine

WIDTH, FEATURES, LATENTS = 32, 64, 128
STEPS = 400


class SparseAutoencoder(nn.Module):
    """Explains activations by few latents; a latent is active above its own threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(WIDTH, LATENTS)
        self.decoder = nn.Linear(LATENTS, WIDTH)
        self.register_buffer("threshold", torch.full((LATENTS,), 0.1))
        self.monitor: relumine.Monitor | None = None

    def forward(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction and the latents."""
        z = self.encoder(activations)
        if self.monitor is not None:  # the threshold is not 0: no ReLU that Relumine could see by itself
            self.monitor.tap("latents", z, threshold=self.threshold)
        latents = torch.where(z > self.threshold, z, 0.0)
        return self.decoder(latents), latents


def main(*, dying: bool) -> None:
    """Train on activations that are sums of few features."""
    torch.manual_seed(0)
    model = SparseAutoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    features = nn.functional.normalize(torch.randn(FEATURES, WIDTH), dim=1)

    monitor = relumine.watch(model, optimizer, project="examples", name="sae-dying" if dying else "sae")
    model.monitor = monitor
    for step in range(STEPS):
        if dying and step == STEPS // 2:
            optimizer.param_groups[0]["lr"] = 0.2
        strengths = torch.rand(512, FEATURES) * (torch.rand(512, FEATURES) < 0.05)
        activations = strengths @ features
        reconstruction, latents = model(activations)
        loss = (reconstruction - activations).square().sum(1).mean() + 0.05 * latents.abs().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.log(loss=loss)
    monitor.close()

    numbers = monitor.metrics()
    print(f"active on average: {numbers['relumine/latents/active_rate']:.1%} of the examples")
    print(f"silent in the last batch: {numbers['relumine/latents/silent_fraction']:.1%} of the latents")
    dead = numbers["relumine/latents/dead_fraction"] + numbers["relumine/latents/born_dead_fraction"]
    print(f"dead: {dead:.1%} of the latents")
    for alert in monitor.alerts():
        print(f"[{alert.severity}] {alert.message}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dying", action="store_true")
    main(**vars(parser.parse_args()))
