"""``metrics()`` calls a unit dead where the detector does: rare units of a sparse layer are alive."""

from __future__ import annotations

import pytest
import torch

import relumine
from relumine_server.detection import detector, state
from relumine_server.detection.policy import Policy

LATENTS = 4096
NEVER = 1065  # 26 %
EXAMPLES = 1024
STEPS = 120


def latents(rates, generator):
    """Pre-activations of a sparse autoencoder: each latent is active on a share of the examples."""
    return (torch.rand(EXAMPLES, LATENTS, generator=generator) < rates).float() - 0.5


def latent_rates(generator):
    """Rates from one in 20,000 to one in ten; the first latents are never active."""
    exponents = -4.3 + 3.3 * torch.rand(LATENTS, generator=generator)
    rates = 10.0**exponents
    rates[:NEVER] = 0.0
    return rates


def detected_fractions(uploads):
    layers = {info.layer_id: info for upload in uploads for info in upload.layers}
    memory = state.describe(state.empty(), list(layers.values()))
    latest = None
    for upload in uploads:
        memory, readings, _ = detector.advance(memory, list(upload.records), Policy())
        latest = next((reading for reading in reversed(readings) if reading.layer_id), latest)
    return latest.dead_fraction, latest.born_dead_fraction


def test_the_rare_latents_of_a_sparse_autoencoder_are_not_dead(memory):
    generator = torch.Generator().manual_seed(3)
    rates = latent_rates(generator)
    model = torch.nn.Identity()
    with relumine.watch(model, every=1, strict=True) as monitor:
        for _ in range(STEPS):
            monitor.tap("latents", latents(rates, generator))
            monitor.step()
        assert monitor.flush()
        metrics = monitor.metrics()
    fractions = (metrics["relumine/latents/dead_fraction"], metrics["relumine/latents/born_dead_fraction"])
    assert fractions == pytest.approx((0.0, NEVER / LATENTS), abs=0.01)
    assert fractions == pytest.approx(detected_fractions(memory.uploads), abs=0.01)


def test_units_that_fell_silent_are_dead_after_as_many_examples_as_the_detector_asks_for(memory):
    generator = torch.Generator().manual_seed(4)
    rates = torch.full((64,), 0.4)
    model = torch.nn.Identity()
    fractions = []
    with relumine.watch(model, every=1, strict=True) as monitor:
        for step in range(60):
            if step == 30:
                rates[:16] = 0.0
            z = (torch.rand(64, 64, generator=generator) < rates).float() - 0.5
            monitor.tap("fc", z)
            monitor.step()
            assert monitor.flush()
            fractions.append(monitor.metrics()["relumine/fc/dead_fraction"])
    # (1 - 0.01)^n <= 0.05 / 64 after 716 examples, which are 12 steps of 64.
    assert fractions[:41] == [0.0] * 41
    assert fractions[41:] == [0.25] * 19
    assert detected_fractions(memory.uploads) == (0.25, 0.0)


def test_where_n_counts_positions_ten_of_them_count_as_one(memory):
    generator = torch.Generator().manual_seed(5)
    rates = torch.full((64,), 0.4)
    rates[:16] = 0.0
    mask = torch.ones(64, dtype=torch.bool)
    fractions = []
    with relumine.watch(torch.nn.Identity(), every=1, strict=True) as monitor:
        for _ in range(60):
            monitor.tap("tokens", (torch.rand(64, 64, generator=generator) < rates).float() - 0.5, mask=mask)
            monitor.step()
            assert monitor.flush()
            fractions.append(monitor.metrics()["relumine/tokens/born_dead_fraction"])
    assert fractions[30] == 0.0
    assert fractions[-1] == 0.25
