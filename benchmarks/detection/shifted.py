"""Inputs that change: lost normalisation, drift of offset or gain, bursts of outliers, an input that sticks."""

from __future__ import annotations

from functools import partial

from recipe import Fault, Loader, Net, Optim, Recipe

ill = partial(Recipe, group="input", cause="input_shift")
IMAGES = Net("cnn", (8, 16, 32))

RECIPES = (
    ill("mlp offset", net=Net("mlp", (128, 64)), optim=Optim("momentum", 0.02), fault=Fault("offset", -4.0, at=303)),
    ill("mlp cancer normalisation lost", net=Net("mlp", (64, 32)), material="cancer", optim=Optim("adam", 0.003),
        loader=Loader(batch=16), fault=Fault("raw", at=254)),
    ill("mlp friedman offset drifts", net=Net("mlp", (64, 48)), material="friedman", optim=Optim("rmsprop", 0.001),
        steps=800, loader=Loader(batch=16), fault=Fault("offset", -60.0, at=250, ramp=400)),
    ill("cnn momentum bursts", net=IMAGES, material="images", optim=Optim("momentum", 0.05), steps=400,
        fault=Fault("bursts", 40.0, at=206, every=5)),
    ill("cnn sgd gain drifts", net=IMAGES, material="images", optim=Optim("sgd", 0.1), steps=500,
        fault=Fault("gain", 100.0, at=193, ramp=200)),
    ill("cnn momentum offset", net=IMAGES, material="images", optim=Optim("momentum", 0.03), steps=400,
        fault=Fault("offset", -6.0, at=213)),
    ill("residual momentum gain drifts", net=Net("residual", (48, 48, 48)), optim=Optim("momentum", 0.02), steps=600,
        fault=Fault("gain", 40.0, at=204, ramp=200)),
    ill("residual adamw offset", net=Net("residual", (64, 48, 48)), optim=Optim("adamw", 0.002),
        fault=Fault("offset", -15.0, at=252)),
    ill("batchnorm sgd sticks", net=Net("batchnorm", (64, 48)), optim=Optim("sgd", 0.05), penalty=0.003,
        fault=Fault("stuck", 1.0, at=231, ramp=120)),
    ill("batchnorm images adam sticks", net=Net("batchnorm", (8, 16, 32)), material="images", penalty=0.01,
        optim=Optim("adam", 0.002), steps=400, fault=Fault("stuck", 1.0, at=193)),
    ill("functional momentum offset drifts", net=Net("functional", (96, 48)), optim=Optim("momentum", 0.02), steps=700,
        fault=Fault("offset", -6.0, at=256, ramp=300)),
    ill("functional wine normalisation lost", net=Net("functional", (48, 24)), material="wine",
        optim=Optim("momentum", 0.02), loader=Loader(batch=8), fault=Fault("raw", at=223)),
    ill("functional sparse adam offset", net=Net("functional", (128, 64)), optim=Optim("adam", 0.002), penalty=0.008,
        steps=600, fault=Fault("offset", -8.0, at=354), sparse=True),
    ill("transformer rows adam offset", net=Net("transformer", (32, 96)), material="rows", optim=Optim("adam", 0.002),
        steps=400, fault=Fault("offset", -100.0, at=202)),
    ill("transformer rows momentum offset", net=Net("transformer", (24, 64)), material="rows", steps=400,
        optim=Optim("momentum", 0.03), fault=Fault("offset", -100.0, at=204)),
    ill("autoencoder momentum offset drifts", net=Net("autoencoder", (48, 16, 48)), material="copies",
        optim=Optim("momentum", 0.2), steps=700, fault=Fault("offset", -5.0, at=243, ramp=200)),
    ill("autoencoder sgd bursts", net=Net("autoencoder", (64, 24, 64)), material="copies", optim=Optim("sgd", 0.5),
        fault=Fault("bursts", 4.6, at=244, every=4)),
)  # fmt: skip
