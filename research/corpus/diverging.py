"""Trainings that end in NaN: to be reported as divergence, not as death."""

from __future__ import annotations

from functools import partial

from research.corpus.recipe import Fault, Loader, Net, Optim, Recipe

faulty = partial(Recipe, group="divergence", cause="diverged")

RECIPES = (
    faulty("mlp momentum diverges", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.05), steps=400,
           fault=Fault("rate", 1e6, start=245)),
    faulty("cnn sgd diverges", net=Net("cnn", (8, 16, 32)), dataset="images", optim=Optim("sgd", 0.1), steps=300,
           fault=Fault("rate", 1e15, start=153)),
    faulty("functional friedman sgd diverges", net=Net("functional", (64, 48)), dataset="friedman", steps=400,
           optim=Optim("sgd", 0.05), loader=Loader(batch=16), fault=Fault("rate", 60.0, start=202, ramp=100)),
    faulty("mlp leaky momentum diverges", net=Net("mlp", (96, 48), activation="leaky_relu"), steps=400,
           optim=Optim("momentum", 0.05), fault=Fault("rate", 1e6, start=245)),
    faulty("autoencoder sgd diverges", net=Net("autoencoder", (64, 24, 64)), dataset="copies", optim=Optim("sgd", 0.5),
           steps=400, fault=Fault("bursts", 30.0, start=204, every=3)),
    faulty("residual sgd diverges", net=Net("residual", (64, 64, 32)), optim=Optim("sgd", 0.1), steps=400,
           fault=Fault("rate", 1e5, start=203)),
)  # fmt: skip
