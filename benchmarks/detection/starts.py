"""Bad initializations: deep and narrow, negative mean on inputs that never are, tiny beside negative biases, huge."""

from __future__ import annotations

from functools import partial

from recipe import Fault, Loader, Net, Optim, Recipe, Start

ill = partial(Recipe, group="start", cause="bad_initialization")
IMAGES = Net("cnn", (8, 16, 32))
HE = (Start("he"),)

RECIPES = (
    ill("mlp deep and narrow", net=Net("mlp", (32,) * 9), material="wave", optim=Optim("adam", 0.002), start=HE,
        loader=Loader(batch=16), fault=Fault("narrow", 2)),
    ill("mlp momentum negative mean", net=Net("mlp", (96, 48)), material="pixels", optim=Optim("momentum", 0.03),
        steps=400, fault=Fault("negative_mean", 1.0, layer=0)),
    ill("mlp rmsprop tiny", net=Net("mlp", (64, 32)), material="wine", optim=Optim("rmsprop", 0.001), steps=400,
        loader=Loader(batch=8), fault=Fault("tiny", 0.2, layer=1)),
    ill("mlp sgd huge", net=Net("mlp", (128, 64)), optim=Optim("sgd", 0.05), steps=400, fault=Fault("huge", 40.0)),
    ill("cnn adam negative mean", net=IMAGES, material="pixel_images", optim=Optim("adam", 0.001), steps=350,
        fault=Fault("negative_mean", 1.0, layer=1)),
    ill("cnn sgd tiny", net=Net("cnn", (12, 16, 32)), material="images", optim=Optim("sgd", 0.05), steps=350,
        fault=Fault("tiny", 0.1, layer=1)),
    ill("cnn momentum huge", net=IMAGES, material="images", optim=Optim("momentum", 0.02), steps=350,
        fault=Fault("huge", 12.0)),
    ill("residual adamw negative mean", net=Net("residual", (48, 64, 64)), optim=Optim("adamw", 0.001), steps=400,
        fault=Fault("negative_mean", 1.5, layer=1)),
    ill("residual momentum huge", net=Net("residual", (48, 48, 48)), optim=Optim("momentum", 0.02), steps=400,
        fault=Fault("huge", 5.0)),
    ill("batchnorm sgd tiny", net=Net("batchnorm", (64, 48)), optim=Optim("sgd", 0.05), steps=400,
        fault=Fault("tiny", 0.1, layer=1)),
    ill("batchnorm images rmsprop tiny", net=Net("batchnorm", (8, 16, 32)), material="images",
        optim=Optim("rmsprop", 0.0005), steps=350, fault=Fault("tiny", 0.1)),
    ill("functional deep and narrow", net=Net("functional", (24,) * 14), material="moons",
        optim=Optim("momentum", 0.005), start=HE, loader=Loader(batch=16), fault=Fault("narrow", 2)),
    ill("functional momentum huge", net=Net("functional", (96, 64)), optim=Optim("momentum", 0.01), steps=400,
        fault=Fault("huge", 30.0)),
    ill("transformer adam tiny", net=Net("transformer", (32, 96)), material="text", optim=Optim("adam", 0.002),
        steps=300, loader=Loader(batch=16), fault=Fault("tiny", 0.5)),
    ill("transformer rows sgd tiny", net=Net("transformer", (24, 64)), material="rows", optim=Optim("sgd", 0.1),
        steps=350, fault=Fault("tiny", 0.3, layer=1)),
    ill("autoencoder adam negative mean", net=Net("autoencoder", (48, 24, 48)), material="pixel_copies",
        optim=Optim("adam", 0.001), steps=400, fault=Fault("negative_mean", 1.0, layer=0)),
    ill("autoencoder rmsprop deep and narrow", net=Net("autoencoder", (24,) * 10), material="copies",
        optim=Optim("rmsprop", 0.0005), start=HE, fault=Fault("narrow", 2)),
)  # fmt: skip
