"""Bad initializations: deep and narrow, negative mean on positive inputs, tiny beside negative biases, huge."""

from __future__ import annotations

from functools import partial

from research.corpus.recipe import Fault, Initialization, Loader, Net, Optim, Recipe

faulty = partial(Recipe, group="start", cause="bad_initialization")
IMAGES = Net("cnn", (8, 16, 32))
HE_INITIALIZATION = (Initialization("he"),)

RECIPES = (
    faulty("mlp deep and narrow", net=Net("mlp", (32,) * 9), dataset="wave", optim=Optim("adam", 0.002),
           initialization=HE_INITIALIZATION, loader=Loader(batch=16), fault=Fault("narrow", 2)),
    faulty("mlp momentum negative mean", net=Net("mlp", (96, 48)), dataset="pixels", optim=Optim("momentum", 0.03),
           steps=400, fault=Fault("negative_mean", 1.0, layer=0)),
    faulty("mlp rmsprop tiny", net=Net("mlp", (64, 32)), dataset="wine", optim=Optim("rmsprop", 0.001), steps=400,
           loader=Loader(batch=8), fault=Fault("tiny", 0.2, layer=1)),
    faulty("mlp sgd huge", net=Net("mlp", (128, 64)), optim=Optim("sgd", 0.05), steps=400, fault=Fault("huge", 40.0)),
    faulty("cnn adam negative mean", net=IMAGES, dataset="pixel_images", optim=Optim("adam", 0.001), steps=350,
           fault=Fault("negative_mean", 1.0, layer=1)),
    faulty("cnn sgd tiny", net=Net("cnn", (12, 16, 32)), dataset="images", optim=Optim("sgd", 0.05), steps=350,
           fault=Fault("tiny", 0.1, layer=1)),
    faulty("cnn momentum huge", net=IMAGES, dataset="images", optim=Optim("momentum", 0.02), steps=350,
           fault=Fault("huge", 12.0)),
    faulty("residual adamw negative mean", net=Net("residual", (48, 64, 64)), optim=Optim("adamw", 0.001), steps=400,
           fault=Fault("negative_mean", 1.5, layer=1)),
    faulty("residual momentum huge", net=Net("residual", (48, 48, 48)), optim=Optim("momentum", 0.02), steps=400,
           fault=Fault("huge", 5.0)),
    faulty("batchnorm sgd tiny", net=Net("batchnorm", (64, 48)), optim=Optim("sgd", 0.05), steps=400,
           fault=Fault("tiny", 0.1, layer=1)),
    faulty("batchnorm images rmsprop tiny", net=Net("batchnorm", (8, 16, 32)), dataset="images",
           optim=Optim("rmsprop", 0.0005), steps=350, fault=Fault("tiny", 0.1)),
    faulty("functional deep and narrow", net=Net("functional", (24,) * 14), dataset="moons",
           optim=Optim("momentum", 0.005), initialization=HE_INITIALIZATION, loader=Loader(batch=16),
           fault=Fault("narrow", 2)),
    faulty("functional momentum huge", net=Net("functional", (96, 64)), optim=Optim("momentum", 0.01), steps=400,
           fault=Fault("huge", 30.0)),
    faulty("transformer adam tiny", net=Net("transformer", (32, 96)), dataset="text", optim=Optim("adam", 0.002),
           steps=300, loader=Loader(batch=16), fault=Fault("tiny", 0.5)),
    faulty("transformer rows sgd tiny", net=Net("transformer", (24, 64)), dataset="rows", optim=Optim("sgd", 0.1),
           steps=350, fault=Fault("tiny", 0.3, layer=1)),
    faulty("autoencoder adam negative mean", net=Net("autoencoder", (48, 24, 48)), dataset="pixel_copies",
           optim=Optim("adam", 0.001), steps=400, fault=Fault("negative_mean", 1.0, layer=0)),
    faulty("autoencoder rmsprop deep and narrow", net=Net("autoencoder", (24,) * 10), dataset="copies",
           optim=Optim("rmsprop", 0.0005), initialization=HE_INITIALIZATION, fault=Fault("narrow", 2)),
)  # fmt: skip
