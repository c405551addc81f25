"""The ill trainings of the second held-out half (see ``second``), and what made them ill."""

from __future__ import annotations

from functools import partial

from recipe import Fault, Loader, Net, Optim, Pace, Recipe, Start

rate = partial(Recipe, group="high_rate", cause="high_learning_rate")
bias = partial(Recipe, group="bias", cause="negative_bias")
born = partial(Recipe, group="start", cause="bad_initialization")
fed = partial(Recipe, group="input", cause="input_shift")
wild = partial(Recipe, group="divergence", cause="diverged")

HE = (Start("he"),)
SLOW = (Fault("bias_rate", 0.05),)

RATES = (
    rate("second mlp adamw cancer constant", net=Net("mlp", (56, 56, 28)), material="cancer",
         optim=Optim("adamw", 0.002), loader=Loader(batch=16), fault=Fault("rate", 100.0)),
    rate("second mlp wide momentum warm-up overshoots", net=Net("mlp", (1024, 48)), material="pixels", steps=400,
         optim=Optim("momentum", 0.03), pace=Pace("warmup", 220), fault=Fault("rate", 60.0)),
    rate("second cnn rmsprop wrong resume", net=Net("cnn", (8, 12, 40)), material="images",
         optim=Optim("rmsprop", 0.0007), pace=Pace("cosine"), steps=450, fault=Fault("resume", 60.0, at=251)),
    rate("second cnn adam creeps", net=Net("cnn", (10, 16, 32)), material="images", optim=Optim("adam", 0.001),
         steps=600, fault=Fault("rate", 80.0, at=160, ramp=350)),
    rate("second residual sgd restarts grow", net=Net("residual", (48, 40, 40)), optim=Optim("sgd", 0.08, clip=2.0),
         steps=540, pace=Pace("restarts", 90), fault=Fault("growing", 2.2)),
    rate("second residual adam spike", net=Net("residual", (40, 64)), optim=Optim("adam", 0.001), steps=420,
         fault=Fault("rate", 120.0, at=224, until=264)),
    rate("second batchnorm adamw wrong resume", net=Net("batchnorm", (72, 48)), optim=Optim("adamw", 0.002),
         pace=Pace("stairs", 120), fault=Fault("resume", 150.0, at=263)),
    rate("second functional rmsprop momentum of 0.998", net=Net("functional", (80, 40)), optim=Optim("rmsprop", 0.001),
         fault=Fault("momentum", 0.998, at=218)),
    rate("second functional sgd diabetes creeps", net=Net("functional", (48, 48)), material="diabetes",
         optim=Optim("sgd", 0.02, clip=1.0), loader=Loader(batch=12), steps=1000,
         fault=Fault("rate", 250.0, at=250, ramp=600)),
    rate("second transformer text momentum raised", net=Net("transformer", (28, 80)), material="text", steps=400,
         optim=Optim("momentum", 0.05, clip=1.0), loader=Loader(batch=16), fault=Fault("rate", 40.0, at=188)),
    rate("second autoencoder adamw spike", net=Net("autoencoder", (56, 28, 56)), material="copies",
         optim=Optim("adamw", 0.001), fault=Fault("rate", 80.0, at=255, until=300)),
)  # fmt: skip

BIASES = (
    bias("second mlp sgd biases' rate", net=Net("mlp", (80, 48)), optim=Optim("sgd", 0.03, groups=True), penalty=0.02,
         steps=1000, fault=Fault("bias_rate", 80.0), sparse=True),
    bias("second mlp adamw bias of -4", net=Net("mlp", (72, 40, 40)), optim=Optim("adamw", 0.001), steps=400,
         fault=Fault("bias", -4.0, layer=2)),
    bias("second mlp momentum targets fall", net=Net("mlp", (40, 24)), material="counts",
         optim=Optim("momentum", 0.003), start=(Start("positive_head"),), loader=Loader(batch=16), steps=1500,
         fault=Fault("target", 60.0, at=250, ramp=1000)),
    bias("second cnn momentum decay of weights", net=Net("cnn", (8, 16, 40)), material="images",
         optim=Optim("momentum", 0.01), start=(Start("bias", -0.15),), steps=500, benign=SLOW,
         fault=Fault("decay", 0.12, at=166)),
    bias("second cnn rmsprop slow push", net=Net("cnn", (8, 12, 32)), material="images", optim=Optim("rmsprop", 0.0005),
         steps=900, fault=Fault("push", 0.1, at=200, ramp=500, layer=1)),
    bias("second residual sgd slow push", net=Net("residual", (48, 56)), optim=Optim("sgd", 0.05), steps=1200,
         fault=Fault("push", 0.006, at=250, ramp=500, layer=1)),
    bias("second batchnorm images sgd betas pushed", net=Net("batchnorm", (8, 12, 40)), material="images",
         optim=Optim("sgd", 0.05), steps=700, fault=Fault("push", 1.0, at=150, ramp=300, layer=2)),
    bias("second functional adam batch of 8 drifts", net=Net("functional", (56, 40)), optim=Optim("adam", 0.0003),
         loader=Loader(batch=8), steps=1500, fault=Fault("push", 0.04, at=350, ramp=600, layer=0)),
    bias("second transformer text rmsprop biases' rate", net=Net("transformer", (28, 96)), material="text",
         optim=Optim("rmsprop", 0.0007, groups=True), penalty=0.02, loader=Loader(batch=16), steps=600,
         fault=Fault("bias_rate", 40.0), sparse=True),
    bias("second autoencoder sgd code drifts", net=Net("autoencoder", (56, 20, 56)), material="copies",
         optim=Optim("sgd", 0.4), steps=900, fault=Fault("push", 0.004, at=200, ramp=300, layer=1)),
)  # fmt: skip

STARTS = (
    born("second mlp momentum deep and narrow", net=Net("mlp", (20,) * 12), material="absolute", start=HE,
         optim=Optim("momentum", 0.005), loader=Loader(batch=16), fault=Fault("narrow", 2)),
    born("second cnn rmsprop negative mean", net=Net("cnn", (8, 16, 40)), material="pixel_images", steps=350,
         optim=Optim("rmsprop", 0.0005), fault=Fault("negative_mean", 1.2, layer=2)),
    born("second residual images adamw tiny", net=Net("residual", (10, 16)), material="images", steps=300,
         optim=Optim("adamw", 0.001), fault=Fault("tiny", 0.2, layer=1)),
    born("second functional sgd huge", net=Net("functional", (96, 48, 48)), optim=Optim("sgd", 0.03), steps=450,
         fault=Fault("huge", 12.0)),
    born("second transformer text momentum tiny", net=Net("transformer", (32, 64)), material="text", steps=300,
         optim=Optim("momentum", 0.05), loader=Loader(batch=16), fault=Fault("tiny", 0.2, layer=1)),
)  # fmt: skip

INPUTS = (
    fed("second mlp rmsprop wine normalisation lost", net=Net("mlp", (48, 32)), material="wine",
        optim=Optim("rmsprop", 0.001), loader=Loader(batch=8), fault=Fault("raw", at=233)),
    fed("second cnn adam offset drifts", net=Net("cnn", (8, 16, 40)), material="images", optim=Optim("adam", 0.003),
        steps=600, fault=Fault("offset", -250.0, at=200, ramp=250)),
    fed("second residual images momentum bursts", net=Net("residual", (12, 12)), material="images", steps=350,
        optim=Optim("momentum", 0.03), fault=Fault("bursts", 30.0, at=177, every=6)),
    fed("second functional momentum gain drifts", net=Net("functional", (72, 48)), optim=Optim("momentum", 0.02),
        fault=Fault("gain", 60.0, at=207, ramp=180)),
    fed("second transformer rows sgd sticks", net=Net("transformer", (24, 72)), material="rows", penalty=0.01,
        optim=Optim("sgd", 0.1), steps=450, fault=Fault("stuck", 1.0, at=206, ramp=150)),
    fed("second autoencoder adam offset", net=Net("autoencoder", (64, 24, 64)), material="copies",
        optim=Optim("adam", 0.003), steps=450, fault=Fault("offset", -60.0, at=216)),
)  # fmt: skip

DIVERGING = (
    wild("second residual rmsprop diverges", net=Net("residual", (48, 48)), optim=Optim("rmsprop", 0.001), steps=350,
         fault=Fault("rate", 1e14, at=181)),
    wild("second mlp friedman momentum diverges", net=Net("mlp", (64, 40)), material="friedman", steps=400,
         optim=Optim("momentum", 0.01), loader=Loader(batch=16), fault=Fault("bursts", 1e5, at=193, every=4)),
)  # fmt: skip

RECIPES = (*RATES, *BIASES, *STARTS, *INPUTS, *DIVERGING)
