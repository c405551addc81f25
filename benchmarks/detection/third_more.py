"""The ill trainings of the third held-out set (see ``third``) whose fault is not the learning rate."""

from __future__ import annotations

from functools import partial

from recipe import Fault, Loader, Net, Optim, Pace, Recipe, Start

bias = partial(Recipe, group="bias", cause="negative_bias")
born = partial(Recipe, group="start", cause="bad_initialization")
fed = partial(Recipe, group="input", cause="input_shift")

HE = (Start("he"),)
POSITIVE = (Start("positive_head"),)
SLOW = (Fault("bias_rate", 0.05),)

PUSHES = (
    bias("third mlp momentum diabetes pushed", net=Net("mlp", (30, 30)), material="diabetes",
         optim=Optim("momentum", 0.003), loader=Loader(batch=24), steps=800,
         fault=Fault("push", 0.02, at=271, layer=1)),
    bias("third mlp adam rare classes, drift in blocks", net=Net("mlp", (72, 36)), material="rare",
         optim=Optim("adam", 0.0006), loader=Loader("blocks", block=20, span=5), steps=1000,
         fault=Fault("push", 0.03, at=350, ramp=250, layer=1)),
    bias("third cnn adamw first filters pushed", net=Net("cnn", (12, 12, 36)), material="pixel_images",
         optim=Optim("adamw", 0.001), steps=600, fault=Fault("push", 1.0, at=222, layer=0)),
    bias("third residual images rmsprop all pushed", net=Net("residual", (8, 16)), material="images",
         optim=Optim("rmsprop", 0.0008), steps=500, fault=Fault("push", 0.05, at=189, ramp=120)),
    bias("third batchnorm sgd betas pushed", net=Net("batchnorm", (56, 28)), optim=Optim("sgd", 0.03),
         loader=Loader(batch=40), steps=1000, fault=Fault("push", 0.6, at=300, layer=1)),
    bias("third functional momentum wine push grows", net=Net("functional", (28, 14)), material="wine",
         optim=Optim("momentum", 0.01), loader=Loader(batch=10), steps=700,
         fault=Fault("push", 0.1, at=160, ramp=400, layer=1)),
    bias("third functional adam wave pushed", net=Net("functional", (48, 48)), material="wave",
         optim=Optim("adam", 0.003), loader=Loader(batch=20), steps=1200,
         fault=Fault("push", 0.01, at=544, layer=1)),
    bias("third transformer text sgd pushed", net=Net("transformer", (32, 64)), material="text",
         optim=Optim("sgd", 0.3, clip=1.0), loader=Loader(batch=16), steps=700, fault=Fault("push", 0.004, at=255)),
    bias("third autoencoder adam decoder drifts", net=Net("autoencoder", (64, 32, 64)), material="pixel_copies",
         optim=Optim("adam", 0.0015), pace=Pace("cosine"), steps=900,
         fault=Fault("push", 0.0004, at=233, ramp=150, layer=2)),
)  # fmt: skip

BIASES = (
    bias("third mlp rmsprop cancer bias of -3", net=Net("mlp", (40, 20, 10)), material="cancer",
         optim=Optim("rmsprop", 0.0005), loader=Loader(batch=32), steps=400, fault=Fault("bias", -3.0, layer=1)),
    bias("third cnn adam all biases of -0.7", net=Net("cnn", (8, 16, 16)), material="images",
         optim=Optim("adam", 0.0005), pace=Pace("warmup", 80), steps=350, fault=Fault("bias", -0.7)),
    bias("third functional sgd friedman bias of -6", net=Net("functional", (40, 40)), material="friedman",
         optim=Optim("sgd", 0.02), loader=Loader(batch=16), steps=600, fault=Fault("bias", -6.0, layer=0)),
    bias("third transformer rows adam bias of -5", net=Net("transformer", (16, 64)), material="rows",
         optim=Optim("adam", 0.001), steps=300, fault=Fault("bias", -5.0)),
    bias("third cnn adamw biases' rate", net=Net("cnn", (8, 12, 32)), material="images",
         optim=Optim("adamw", 0.0006, groups=True), penalty=0.02, steps=700, fault=Fault("bias_rate", 80.0),
         sparse=True),
    bias("third functional rmsprop biases' rate", net=Net("functional", (64, 40)), material="pixels",
         optim=Optim("rmsprop", 0.0005, groups=True), penalty=0.01, steps=800, fault=Fault("bias_rate", 50.0),
         sparse=True),
    bias("third residual momentum biases' rate", net=Net("residual", (40, 40)),
         optim=Optim("momentum", 0.004, groups=True), penalty=0.02, loader=Loader(batch=16), steps=700,
         fault=Fault("bias_rate", 150.0), sparse=True),
    bias("third mlp sgd counts targets fall", net=Net("mlp", (36, 36)), material="counts", optim=Optim("sgd", 0.01),
         start=POSITIVE, loader=Loader(batch=20), steps=1400, fault=Fault("target", 70.0, at=300, ramp=900)),
    bias("third functional adamw absolute targets in another unit", net=Net("functional", (32, 32)),
         material="absolute", optim=Optim("adamw", 0.002), start=POSITIVE, loader=Loader(batch=12), steps=1200,
         fault=Fault("target", 40.0, at=280, ramp=30)),
    bias("third autoencoder adam output rectified", net=Net("autoencoder", (40, 20), output_relu=True),
         material="pixel_copies", optim=Optim("adam", 0.001), steps=800,
         fault=Fault("target", 1.5, at=320, ramp=200)),
    bias("third mlp momentum decay of weights", net=Net("mlp", (48, 48)), optim=Optim("momentum", 0.01),
         start=(Start("bias", -0.1),), benign=SLOW, loader=Loader(batch=24), steps=800,
         fault=Fault("decay", 0.25, at=250)),
    bias("third functional adamw cancer decay of weights", net=Net("functional", (40, 20)), material="cancer",
         optim=Optim("adamw", 0.001), start=(Start("bias", -0.2),), benign=SLOW, loader=Loader(batch=16), steps=700,
         fault=Fault("decay", 28.0, at=222)),
)  # fmt: skip

STARTS = (
    born("third mlp adam deep tiny", net=Net("mlp", (40, 40, 40, 40)), material="pixels", optim=Optim("adam", 0.001),
         steps=400, fault=Fault("tiny", 0.3, layer=2)),
    born("third batchnorm adamw tiny everywhere", net=Net("batchnorm", (48, 32)), optim=Optim("adamw", 0.001),
         loader=Loader(batch=48), steps=350, fault=Fault("tiny", 0.5)),
    born("third functional momentum cancer tiny", net=Net("functional", (36, 24)), material="cancer",
         optim=Optim("momentum", 0.01), loader=Loader(batch=16), steps=400, fault=Fault("tiny", 0.15, layer=0)),
    born("third autoencoder sgd tiny code", net=Net("autoencoder", (40, 16, 40)), material="copies",
         optim=Optim("sgd", 0.4), steps=500, fault=Fault("tiny", 0.2, layer=1)),
    born("third residual rmsprop domains tiny stem", net=Net("residual", (48, 32, 32)), material="domains",
         optim=Optim("rmsprop", 0.0006), loader=Loader("blocks", block=30, span=3), steps=500,
         fault=Fault("tiny", 1.0, layer=0)),
    born("third mlp rmsprop counts negative mean", net=Net("mlp", (64, 32)), material="counts", start=HE,
         optim=Optim("rmsprop", 0.001), loader=Loader(batch=16), steps=500,
         fault=Fault("negative_mean", 1.0, layer=0)),
    born("third cnn sgd pixels negative mean", net=Net("cnn", (10, 20, 30)), material="pixel_images",
         optim=Optim("sgd", 0.1), loader=Loader(batch=16), steps=450, fault=Fault("negative_mean", 1.5, layer=2)),
    born("third functional adamw rare negative mean", net=Net("functional", (80, 40, 20)), material="rare",
         optim=Optim("adamw", 0.001), steps=500, fault=Fault("negative_mean", 1.2, layer=2)),
    born("third autoencoder momentum negative mean", net=Net("autoencoder", (64, 32, 64)), material="pixel_copies",
         optim=Optim("momentum", 0.3), pace=Pace("warmup", 60), steps=450, fault=Fault("negative_mean", 1.2)),
    born("third mlp adamw iris deep and narrow", net=Net("mlp", (16,) * 9), material="iris", start=HE,
         optim=Optim("adamw", 0.002), loader=Loader(batch=10), steps=450, fault=Fault("narrow", 2)),
    born("third autoencoder adam deep and narrow", net=Net("autoencoder", (28,) * 8), material="pixel_copies",
         start=HE, optim=Optim("adam", 0.002), steps=700, fault=Fault("narrow", 2)),
    born("third transformer text adamw tiny", net=Net("transformer", (20, 80)), material="text",
         optim=Optim("adamw", 0.003), loader=Loader(batch=24), steps=400, fault=Fault("tiny", 1.0)),
    born("third mlp momentum rare huge", net=Net("mlp", (60, 30)), material="rare",
         optim=Optim("momentum", 0.02), loader=Loader(batch=16), steps=450, fault=Fault("huge", 25.0)),
    born("third cnn sgd pixels huge", net=Net("cnn", (8, 16, 32)), material="pixel_images",
         optim=Optim("sgd", 0.1), steps=450, fault=Fault("huge", 20.0)),
)  # fmt: skip

INPUTS = (
    fed("third mlp adamw domains offset", net=Net("mlp", (80, 40)), material="domains", optim=Optim("adamw", 0.001),
        loader=Loader(batch=48), steps=600, fault=Fault("offset", -20.0, at=310)),
    fed("third cnn sgd pixels darken", net=Net("cnn", (8, 16, 24)), material="pixel_images",
        optim=Optim("sgd", 0.1), steps=500, fault=Fault("offset", -5.0, at=205, ramp=100)),
    fed("third residual images sgd brighter", net=Net("residual", (12, 16)), material="images",
        optim=Optim("sgd", 0.05), steps=400, fault=Fault("offset", 8.0, at=208)),
    fed("third functional adam iris offset", net=Net("functional", (32, 24)), material="iris",
        optim=Optim("adam", 0.002), loader=Loader(batch=15), steps=600, fault=Fault("offset", -20.0, at=288)),
    fed("third transformer rows rmsprop offset drifts", net=Net("transformer", (20, 64)), material="rows",
        optim=Optim("rmsprop", 0.0015), steps=500, fault=Fault("offset", 120.0, at=180, ramp=80)),
    fed("third autoencoder rmsprop one-cycle offset", net=Net("autoencoder", (56, 20, 56)), material="pixel_copies",
        optim=Optim("rmsprop", 0.002), pace=Pace("onecycle"), steps=600, fault=Fault("offset", -4.0, at=265)),
    fed("third mlp sgd digits as they come", net=Net("mlp", (64, 48, 24)), optim=Optim("sgd", 0.15),
        loader=Loader(batch=16), steps=600, fault=Fault("raw", at=299)),
    fed("third cnn momentum images as they come", net=Net("cnn", (10, 16, 32)), material="images",
        optim=Optim("momentum", 0.02), loader=Loader(batch=25), steps=400, fault=Fault("raw", at=183)),
    fed("third residual adam cancer normalisation lost", net=Net("residual", (24, 24)), material="cancer",
        optim=Optim("adam", 0.003), loader=Loader(batch=16), steps=500, fault=Fault("raw", at=241)),
    fed("third functional rmsprop wine from the start raw", net=Net("functional", (40, 20)), material="wine",
        optim=Optim("rmsprop", 0.002), loader=Loader(batch=16), steps=450, fault=Fault("raw", at=20)),
    fed("third mlp momentum pixels bursts", net=Net("mlp", (64, 32)), material="pixels",
        optim=Optim("momentum", 0.03), loader=Loader(batch=20), steps=600,
        fault=Fault("bursts", 60.0, at=277, every=10)),
    fed("third residual sgd bursts", net=Net("residual", (48, 32)), material="digits",
        optim=Optim("sgd", 0.1), steps=500, fault=Fault("bursts", 50.0, at=233, every=3)),
    fed("third functional momentum friedman bursts", net=Net("functional", (48, 24)), material="friedman",
        optim=Optim("momentum", 0.005), loader=Loader(batch=16), steps=700,
        fault=Fault("bursts", 15.0, at=322, every=3)),
    fed("third mlp momentum gain of a wrong unit", net=Net("mlp", (56, 56)), optim=Optim("momentum", 0.003),
        loader=Loader("sorted", batch=60), steps=600, fault=Fault("gain", 40.0, at=255)),
    fed("third autoencoder sgd gain drifts", net=Net("autoencoder", (48, 24, 48)), material="copies",
        optim=Optim("sgd", 0.5), steps=600, fault=Fault("gain", 5.0, at=150, ramp=120)),
    fed("third functional sgd sticks", net=Net("functional", (56, 40)), optim=Optim("sgd", 0.08), penalty=0.01,
        steps=600, fault=Fault("stuck", 1.0, at=277, ramp=60)),
    fed("third cnn rmsprop sticks", net=Net("cnn", (8, 16, 32)), material="images", optim=Optim("rmsprop", 0.0008),
        penalty=0.01, steps=450, fault=Fault("stuck", 1.0, at=217)),
)  # fmt: skip

RECIPES = (*PUSHES, *BIASES, *STARTS, *INPUTS)
