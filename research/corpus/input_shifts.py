"""Inputs that change: lost normalization, drift of offset or gain, bursts of outliers, constant inputs."""

from __future__ import annotations

from functools import partial

from research.corpus.recipe import Fault, Loader, Net, Optim, Recipe

faulty = partial(Recipe, group="input", cause="input_shift")
IMAGES = Net("cnn", (8, 16, 32))

RECIPES = (
    faulty("mlp offset", net=Net("mlp", (128, 64)), optim=Optim("momentum", 0.02),
           fault=Fault("offset", -4.0, start=303)),
    faulty("mlp cancer normalisation lost", net=Net("mlp", (64, 32)), dataset="cancer", optim=Optim("adam", 0.003),
           loader=Loader(batch=16), fault=Fault("raw", start=254)),
    faulty("mlp friedman offset drifts", net=Net("mlp", (64, 48)), dataset="friedman", optim=Optim("rmsprop", 0.001),
           steps=800, loader=Loader(batch=16), fault=Fault("offset", -60.0, start=250, ramp=400)),
    faulty("cnn momentum bursts", net=IMAGES, dataset="images", optim=Optim("momentum", 0.05), steps=400,
           fault=Fault("bursts", 40.0, start=206, every=5)),
    faulty("cnn sgd gain drifts", net=IMAGES, dataset="images", optim=Optim("sgd", 0.1), steps=500,
           fault=Fault("gain", 100.0, start=193, ramp=200)),
    faulty("cnn momentum offset", net=IMAGES, dataset="images", optim=Optim("momentum", 0.03), steps=400,
           fault=Fault("offset", -6.0, start=213)),
    faulty("residual momentum gain drifts", net=Net("residual", (48, 48, 48)), optim=Optim("momentum", 0.02), steps=600,
           fault=Fault("gain", 40.0, start=204, ramp=200)),
    faulty("residual adamw offset", net=Net("residual", (64, 48, 48)), optim=Optim("adamw", 0.002),
           fault=Fault("offset", -15.0, start=252)),
    faulty("batchnorm sgd sticks", net=Net("batchnorm", (64, 48)), optim=Optim("sgd", 0.05), penalty=0.003,
           fault=Fault("stuck", 1.0, start=231, ramp=120)),
    faulty("batchnorm images adam sticks", net=Net("batchnorm", (8, 16, 32)), dataset="images", penalty=0.01,
           optim=Optim("adam", 0.002), steps=400, fault=Fault("stuck", 1.0, start=193)),
    faulty("functional momentum offset drifts", net=Net("functional", (96, 48)), optim=Optim("momentum", 0.02),
           steps=700, fault=Fault("offset", -6.0, start=256, ramp=300)),
    faulty("functional wine normalisation lost", net=Net("functional", (48, 24)), dataset="wine",
           optim=Optim("momentum", 0.02), loader=Loader(batch=8), fault=Fault("raw", start=223)),
    faulty("functional sparse adam offset", net=Net("functional", (128, 64)), optim=Optim("adam", 0.002), penalty=0.008,
           steps=600, fault=Fault("offset", -8.0, start=354), sparse=True),
    faulty("transformer rows adam offset", net=Net("transformer", (32, 96)), dataset="rows", optim=Optim("adam", 0.002),
           steps=400, fault=Fault("offset", -100.0, start=202)),
    faulty("transformer rows momentum offset", net=Net("transformer", (24, 64)), dataset="rows", steps=400,
           optim=Optim("momentum", 0.03), fault=Fault("offset", -100.0, start=204)),
    faulty("autoencoder momentum offset drifts", net=Net("autoencoder", (48, 16, 48)), dataset="copies",
           optim=Optim("momentum", 0.2), steps=700, fault=Fault("offset", -5.0, start=243, ramp=200)),
    faulty("autoencoder sgd bursts", net=Net("autoencoder", (64, 24, 64)), dataset="copies", optim=Optim("sgd", 0.5),
           fault=Fault("bursts", 4.6, start=244, every=4)),
)  # fmt: skip
