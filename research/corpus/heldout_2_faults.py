"""The second held-out set (see ``heldout_2``): its faulty trainings, by the kind of fault."""

from __future__ import annotations

from functools import partial

from research.corpus.recipe import Fault, Initialization, Loader, Net, Optim, Recipe, Schedule

learning_rate_fault = partial(Recipe, group="high_rate", cause="high_learning_rate")
bias_fault = partial(Recipe, group="bias", cause="negative_bias")
initialization_fault = partial(Recipe, group="start", cause="bad_initialization")
input_fault = partial(Recipe, group="input", cause="input_shift")
diverging = partial(Recipe, group="divergence", cause="diverged")

HE_INITIALIZATION = (Initialization("he"),)
SLOW_BIASES = (Fault("bias_rate", 0.05),)

LEARNING_RATE_FAULTS = (
    learning_rate_fault("second mlp adamw cancer constant", net=Net("mlp", (56, 56, 28)), dataset="cancer",
                        optim=Optim("adamw", 0.002), loader=Loader(batch=16), fault=Fault("rate", 100.0)),
    learning_rate_fault("second mlp wide momentum warm-up overshoots", net=Net("mlp", (1024, 48)), dataset="pixels",
                        steps=400, optim=Optim("momentum", 0.03), schedule=Schedule("warmup", 220),
                        fault=Fault("rate", 60.0)),
    learning_rate_fault("second cnn rmsprop wrong resume", net=Net("cnn", (8, 12, 40)), dataset="images",
                        optim=Optim("rmsprop", 0.0007), schedule=Schedule("cosine"), steps=450,
                        fault=Fault("resume", 60.0, start=251)),
    learning_rate_fault("second cnn adam creeps", net=Net("cnn", (10, 16, 32)), dataset="images",
                        optim=Optim("adam", 0.001), steps=600, fault=Fault("rate", 80.0, start=160, ramp=350)),
    learning_rate_fault("second residual sgd restarts grow", net=Net("residual", (48, 40, 40)),
                        optim=Optim("sgd", 0.08, clip=2.0), steps=540, schedule=Schedule("restarts", 90),
                        fault=Fault("growing", 2.2)),
    learning_rate_fault("second residual adam spike", net=Net("residual", (40, 64)), optim=Optim("adam", 0.001),
                        steps=420, fault=Fault("rate", 120.0, start=224, end=264)),
    learning_rate_fault("second batchnorm adamw wrong resume", net=Net("batchnorm", (72, 48)),
                        optim=Optim("adamw", 0.002), schedule=Schedule("stairs", 120),
                        fault=Fault("resume", 150.0, start=263)),
    learning_rate_fault("second functional rmsprop momentum of 0.998", net=Net("functional", (80, 40)),
                        optim=Optim("rmsprop", 0.001), fault=Fault("momentum", 0.998, start=218)),
    learning_rate_fault("second functional sgd diabetes creeps", net=Net("functional", (48, 48)), dataset="diabetes",
                        optim=Optim("sgd", 0.02, clip=1.0), loader=Loader(batch=12), steps=1000,
                        fault=Fault("rate", 250.0, start=250, ramp=600)),
    learning_rate_fault("second transformer text momentum raised", net=Net("transformer", (28, 80)), dataset="text",
                        steps=400, optim=Optim("momentum", 0.05, clip=1.0), loader=Loader(batch=16),
                        fault=Fault("rate", 40.0, start=188)),
    learning_rate_fault("second autoencoder adamw spike", net=Net("autoencoder", (56, 28, 56)), dataset="copies",
                        optim=Optim("adamw", 0.001), fault=Fault("rate", 80.0, start=255, end=300)),
)  # fmt: skip

BIAS_FAULTS = (
    bias_fault("second mlp sgd biases' rate", net=Net("mlp", (80, 48)), optim=Optim("sgd", 0.03, groups=True),
               penalty=0.02, steps=1000, fault=Fault("bias_rate", 80.0), sparse=True),
    bias_fault("second mlp adamw bias of -4", net=Net("mlp", (72, 40, 40)), optim=Optim("adamw", 0.001), steps=400,
               fault=Fault("bias", -4.0, layer=2)),
    bias_fault("second mlp momentum targets fall", net=Net("mlp", (40, 24)), dataset="counts",
               optim=Optim("momentum", 0.003), initialization=(Initialization("positive_head"),),
               loader=Loader(batch=16), steps=1500, fault=Fault("target", 60.0, start=250, ramp=1000)),
    bias_fault("second cnn momentum decay of weights", net=Net("cnn", (8, 16, 40)), dataset="images",
               optim=Optim("momentum", 0.01), initialization=(Initialization("bias", -0.15),), steps=500,
               benign=SLOW_BIASES, fault=Fault("decay", 0.12, start=166)),
    bias_fault("second cnn rmsprop slow push", net=Net("cnn", (8, 12, 32)), dataset="images",
               optim=Optim("rmsprop", 0.0005), steps=900, fault=Fault("push", 0.1, start=200, ramp=500, layer=1)),
    bias_fault("second residual sgd slow push", net=Net("residual", (48, 56)), optim=Optim("sgd", 0.05), steps=1200,
               fault=Fault("push", 0.006, start=250, ramp=500, layer=1)),
    bias_fault("second batchnorm images sgd betas pushed", net=Net("batchnorm", (8, 12, 40)), dataset="images",
               optim=Optim("sgd", 0.05), steps=700, fault=Fault("push", 1.0, start=150, ramp=300, layer=2)),
    bias_fault("second functional adam batch of 8 drifts", net=Net("functional", (56, 40)), optim=Optim("adam", 0.0003),
               loader=Loader(batch=8), steps=1500, fault=Fault("push", 0.04, start=350, ramp=600, layer=0)),
    bias_fault("second transformer text rmsprop biases' rate", net=Net("transformer", (28, 96)), dataset="text",
               optim=Optim("rmsprop", 0.0007, groups=True), penalty=0.02, loader=Loader(batch=16), steps=600,
               fault=Fault("bias_rate", 40.0), sparse=True),
    bias_fault("second autoencoder sgd code drifts", net=Net("autoencoder", (56, 20, 56)), dataset="copies",
               optim=Optim("sgd", 0.4), steps=900, fault=Fault("push", 0.004, start=200, ramp=300, layer=1)),
)  # fmt: skip

INITIALIZATION_FAULTS = (
    initialization_fault("second mlp momentum deep and narrow", net=Net("mlp", (20,) * 12), dataset="absolute",
                         initialization=HE_INITIALIZATION, optim=Optim("momentum", 0.005), loader=Loader(batch=16),
                         fault=Fault("narrow", 2)),
    initialization_fault("second cnn rmsprop negative mean", net=Net("cnn", (8, 16, 40)), dataset="pixel_images",
                         steps=350, optim=Optim("rmsprop", 0.0005), fault=Fault("negative_mean", 1.2, layer=2)),
    initialization_fault("second residual images adamw tiny", net=Net("residual", (10, 16)), dataset="images",
                         steps=300, optim=Optim("adamw", 0.001), fault=Fault("tiny", 0.2, layer=1)),
    initialization_fault("second functional sgd huge", net=Net("functional", (96, 48, 48)), optim=Optim("sgd", 0.03),
                         steps=450, fault=Fault("huge", 12.0)),
    initialization_fault("second transformer text momentum tiny", net=Net("transformer", (32, 64)), dataset="text",
                         steps=300, optim=Optim("momentum", 0.05), loader=Loader(batch=16),
                         fault=Fault("tiny", 0.2, layer=1)),
)  # fmt: skip

INPUT_FAULTS = (
    input_fault("second mlp rmsprop wine normalisation lost", net=Net("mlp", (48, 32)), dataset="wine",
                optim=Optim("rmsprop", 0.001), loader=Loader(batch=8), fault=Fault("raw", start=233)),
    input_fault("second cnn adam offset drifts", net=Net("cnn", (8, 16, 40)), dataset="images",
                optim=Optim("adam", 0.003), steps=600, fault=Fault("offset", -250.0, start=200, ramp=250)),
    input_fault("second residual images momentum bursts", net=Net("residual", (12, 12)), dataset="images", steps=350,
                optim=Optim("momentum", 0.03), fault=Fault("bursts", 30.0, start=177, every=6)),
    input_fault("second functional momentum gain drifts", net=Net("functional", (72, 48)),
                optim=Optim("momentum", 0.02), fault=Fault("gain", 60.0, start=207, ramp=180)),
    input_fault("second transformer rows sgd sticks", net=Net("transformer", (24, 72)), dataset="rows", penalty=0.01,
                optim=Optim("sgd", 0.1), steps=450, fault=Fault("stuck", 1.0, start=206, ramp=150)),
    input_fault("second autoencoder adam offset", net=Net("autoencoder", (64, 24, 64)), dataset="copies",
                optim=Optim("adam", 0.003), steps=450, fault=Fault("offset", -60.0, start=216)),
)  # fmt: skip

DIVERGING = (
    diverging("second residual rmsprop diverges", net=Net("residual", (48, 48)), optim=Optim("rmsprop", 0.001),
              steps=350, fault=Fault("rate", 1e14, start=181)),
    diverging("second mlp friedman momentum diverges", net=Net("mlp", (64, 40)), dataset="friedman", steps=400,
              optim=Optim("momentum", 0.01), loader=Loader(batch=16), fault=Fault("bursts", 1e5, start=193, every=4)),
)  # fmt: skip

RECIPES = (*LEARNING_RATE_FAULTS, *BIAS_FAULTS, *INITIALIZATION_FAULTS, *INPUT_FAULTS, *DIVERGING)
