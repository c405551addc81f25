"""Trainings that end in numbers that are none: to be told as divergence, not as death."""

from __future__ import annotations

from functools import partial

from recipe import Fault, Loader, Net, Optim, Recipe

ill = partial(Recipe, group="divergence", cause="diverged")

RECIPES = (
    ill("mlp momentum diverges", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.05), steps=400,
        fault=Fault("rate", 1e6, at=245)),
    ill("cnn sgd diverges", net=Net("cnn", (8, 16, 32)), material="images", optim=Optim("sgd", 0.1), steps=300,
        fault=Fault("rate", 1e15, at=153)),
    ill("functional friedman sgd diverges", net=Net("functional", (64, 48)), material="friedman", steps=400,
        optim=Optim("sgd", 0.05), loader=Loader(batch=16), fault=Fault("rate", 60.0, at=202, ramp=100)),
    ill("mlp leaky momentum diverges", net=Net("mlp", (96, 48), activation="leaky_relu"), steps=400,
        optim=Optim("momentum", 0.05), fault=Fault("rate", 1e6, at=245)),
    ill("autoencoder sgd diverges", net=Net("autoencoder", (64, 24, 64)), material="copies", optim=Optim("sgd", 0.5),
        steps=400, fault=Fault("bursts", 30.0, at=204, every=3)),
    ill("residual sgd diverges", net=Net("residual", (64, 64, 32)), optim=Optim("sgd", 0.1), steps=400,
        fault=Fault("rate", 1e5, at=203)),
)  # fmt: skip
