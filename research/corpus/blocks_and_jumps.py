"""Trainings of four kinds, for development alone: blocks of one class, jumps and drifts of the input, parts of a layer.

Written after the recipes of ``kinds``, with other nets, data, optimizers and sizes. A recipe's name begins with its
kind. ``calm`` recipes are traps beside them: inputs and learning rates that change and are survived.
"""

from __future__ import annotations

from functools import partial

from research.corpus.recipe import Fault, Initialization, Loader, Net, Optim, Recipe, Schedule

healthy = partial(Recipe, group="healthy")
pushed = partial(Recipe, group="bias", cause="negative_bias")
high_rate = partial(Recipe, group="high_rate", cause="high_learning_rate")
shifted = partial(Recipe, group="input", cause="input_shift")
IMAGES = Net("cnn", (8, 24, 32))
BRANCHES = Net("branches", (24, 40, 24))

BLOCKS = (
    healthy("blocks: mlp sgd of 25", net=Net("mlp", (80, 40)), optim=Optim("sgd", 0.05), steps=700,
            loader=Loader("blocks", block=25, span=1)),
    healthy("blocks: mlp rmsprop of 50", net=Net("mlp", (64, 64)), optim=Optim("rmsprop", 0.0007), steps=800,
            loader=Loader("blocks", block=50, span=1)),
    healthy("blocks: mlp adamw of 100", net=Net("mlp", (96, 64)), optim=Optim("adamw", 0.0005), steps=1200,
            loader=Loader("blocks", block=100, span=1)),
    healthy("blocks: cnn momentum of 40", net=IMAGES, dataset="images", optim=Optim("momentum", 0.01), steps=600,
            loader=Loader("blocks", block=40, span=1)),
    healthy("blocks: batchnorm adam of 50", net=Net("batchnorm", (64, 48)), optim=Optim("adam", 0.001), steps=700,
            loader=Loader("blocks", block=50, span=1)),
    healthy("blocks: residual momentum of 60", net=Net("residual", (48, 48)), optim=Optim("momentum", 0.01), steps=800,
            loader=Loader("blocks", block=60, span=1)),
    healthy("blocks: functional adam wine of 40", net=Net("functional", (48, 32)), dataset="wine", steps=700,
            optim=Optim("adam", 0.002), loader=Loader("blocks", batch=16, block=40, span=1)),
    healthy("blocks: autoencoder adam of 50", net=Net("autoencoder", (64, 24, 64)), dataset="copies", steps=700,
            optim=Optim("adam", 0.001), loader=Loader("blocks", block=50, span=1)),
    healthy("blocks: transformer rows of 30", net=Net("transformer", (24, 96)), dataset="rows", steps=600,
            optim=Optim("adamw", 0.001), loader=Loader("blocks", block=30, span=1)),
    healthy("blocks: mlp adam rare of 40", net=Net("mlp", (96, 32)), dataset="rare", optim=Optim("adam", 0.001),
            steps=800, loader=Loader("blocks", block=40, span=1)),
    healthy("blocks: mlp momentum domains of 120", net=Net("mlp", (96, 64)), dataset="domains", steps=900,
            optim=Optim("momentum", 0.01), loader=Loader("blocks", block=120, span=1)),
    healthy("blocks: cnn sgd of 80", net=IMAGES, dataset="images", optim=Optim("sgd", 0.05), steps=900,
            loader=Loader("blocks", block=80, span=1)),
)  # fmt: skip

JUMPS = (
    shifted("jump: mlp momentum of 8", net=Net("mlp", (64, 32)), optim=Optim("momentum", 0.003), steps=400,
            fault=Fault("offset", -8.0, start=203)),
    shifted("jump: mlp adam of 8", net=Net("mlp", (96, 64)), optim=Optim("adam", 0.003), steps=400,
            fault=Fault("offset", -8.0, start=207)),
    shifted("jump: mlp sgd of 12", net=Net("mlp", (80, 48)), optim=Optim("sgd", 0.05), steps=400,
            fault=Fault("offset", -12.0, start=188)),
    shifted("jump: mlp sgd up", net=Net("mlp", (64, 64)), optim=Optim("sgd", 0.1), steps=400,
            fault=Fault("offset", 10.0, start=211)),
    shifted("jump: functional adam of 5", net=Net("functional", (64, 48)), optim=Optim("adam", 0.003), steps=400,
            fault=Fault("offset", -5.0, start=195)),
    shifted("jump: residual adam of 12", net=Net("residual", (48, 48)), optim=Optim("adam", 0.003), steps=400,
            fault=Fault("offset", -12.0, start=216)),
    shifted("jump: cnn adam of 8", net=IMAGES, dataset="images", optim=Optim("adam", 0.003), steps=350,
            fault=Fault("offset", -8.0, start=184)),
    shifted("jump: cnn sgd gain of 40", net=IMAGES, dataset="images", optim=Optim("sgd", 0.05), steps=350,
            fault=Fault("gain", 40.0, start=178)),
    shifted("jump: mlp rmsprop gain of 50", net=Net("mlp", (96, 48)), optim=Optim("rmsprop", 0.001), steps=400,
            fault=Fault("gain", 50.0, start=192)),
    shifted("jump: autoencoder adam of 6", net=Net("autoencoder", (64, 32, 64)), dataset="copies", steps=400,
            optim=Optim("adam", 0.002), fault=Fault("offset", -6.0, start=202)),
    shifted("jump: mlp momentum of 8 at 60", net=Net("mlp", (128, 64)), optim=Optim("momentum", 0.003), steps=300,
            fault=Fault("offset", -8.0, start=60)),
    shifted("jump: mlp adam of 8 at 25", net=Net("mlp", (64, 48)), optim=Optim("adam", 0.003), steps=300,
            fault=Fault("offset", -8.0, start=25)),
    shifted("jump: functional momentum of 8 at 45", net=Net("functional", (96, 48)), optim=Optim("momentum", 0.01),
            steps=300, fault=Fault("offset", -8.0, start=45)),
    shifted("jump: cnn momentum of 8 at 33", net=IMAGES, dataset="images", optim=Optim("momentum", 0.01), steps=250,
            fault=Fault("offset", -8.0, start=33)),
    shifted("jump: mlp momentum of 8, warm-up", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.01), steps=400,
            schedule=Schedule("warmup", 150), fault=Fault("offset", -8.0, start=170)),
    shifted("jump: mlp adam of 8, cyclic", net=Net("mlp", (64, 48)), optim=Optim("adam", 0.003), steps=450,
            schedule=Schedule("cyclic", 120), fault=Fault("offset", -8.0, start=205)),
    shifted("jump: wine momentum raw", net=Net("mlp", (48, 32)), dataset="wine", optim=Optim("momentum", 0.005),
            steps=400, loader=Loader(batch=16), fault=Fault("raw", start=201)),
)  # fmt: skip

DRIFTS = (
    shifted("drift: mlp momentum down", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.01), steps=650,
            fault=Fault("offset", -6.0, start=222, ramp=300)),
    shifted("drift: functional momentum down", net=Net("functional", (64, 32)), optim=Optim("momentum", 0.02),
            steps=650, fault=Fault("offset", -8.0, start=237, ramp=300)),
    shifted("drift: mlp adam down", net=Net("mlp", (64, 64)), optim=Optim("adam", 0.002), steps=600,
            fault=Fault("offset", -15.0, start=209, ramp=250)),
    shifted("drift: residual sgd down", net=Net("residual", (64, 48)), optim=Optim("sgd", 0.05), steps=600,
            fault=Fault("offset", -12.0, start=231, ramp=250)),
    shifted("drift: cnn adam down", net=IMAGES, dataset="images", optim=Optim("adam", 0.002), steps=500,
            fault=Fault("offset", -12.0, start=199, ramp=200)),
    shifted("drift: mlp sgd gain", net=Net("mlp", (64, 48)), optim=Optim("sgd", 0.1), steps=600,
            fault=Fault("gain", 60.0, start=214, ramp=250)),
    shifted("drift: autoencoder momentum down", net=Net("autoencoder", (64, 24, 64)), dataset="copies", steps=600,
            optim=Optim("momentum", 0.1), fault=Fault("offset", -6.0, start=226, ramp=200)),
    shifted("drift: functional sgd down, cosine", net=Net("functional", (96, 64)), optim=Optim("sgd", 0.1), steps=600,
            schedule=Schedule("cosine"), fault=Fault("offset", -10.0, start=173, ramp=250)),
)  # fmt: skip

PARTS = (
    pushed("part: branches momentum late", net=BRANCHES, optim=Optim("momentum", 0.02), steps=600,
           fault=Fault("part_push", 0.02, start=215, layer=0)),
    pushed("part: branches adamw late", net=BRANCHES, optim=Optim("adamw", 0.002), steps=600,
           fault=Fault("part_push", 0.02, start=203, layer=1)),
    pushed("part: branches rmsprop early", net=BRANCHES, optim=Optim("rmsprop", 0.001), steps=400,
           fault=Fault("part_push", 0.1, layer=2)),
    pushed("part: branches adam early", net=Net("branches", (48, 48)), optim=Optim("adam", 0.002), steps=400,
           fault=Fault("part_push", 0.1, layer=1)),
    high_rate("part: branches momentum one rate", net=BRANCHES, optim=Optim("momentum", 0.02), steps=400,
              fault=Fault("layer_rate", 100.0, layer=1)),
    high_rate("part: branches adam one rate", net=Net("branches", (48, 48)), optim=Optim("adam", 0.001), steps=400,
              fault=Fault("layer_rate", 200.0, layer=0)),
    pushed("part: mlp adam of a layer", net=Net("mlp", (128, 64)), optim=Optim("adam", 0.001), steps=700,
           fault=Fault("part_push", 0.01, start=223, layer=1)),
    pushed("part: cnn momentum of a layer", net=IMAGES, dataset="images", optim=Optim("momentum", 0.01), steps=500,
           fault=Fault("part_push", 0.02, start=187, layer=2)),
    pushed("part: residual adam of a layer", net=Net("residual", (64, 64)), optim=Optim("adam", 0.001), steps=700,
           fault=Fault("part_push", 0.01, start=208, layer=1)),
)  # fmt: skip

CALM = (
    healthy("calm: mlp momentum brighter", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.01), steps=500,
            benign=(Fault("offset", 2.0, start=208),)),
    healthy("calm: mlp adam darker", net=Net("mlp", (64, 48)), optim=Optim("adam", 0.001), steps=500,
            benign=(Fault("offset", -1.0, start=231),)),
    healthy("calm: cnn sgd gain and back", net=IMAGES, dataset="images", optim=Optim("sgd", 0.05), steps=450,
            benign=(Fault("gain", 2.0, start=180, end=260),)),
    healthy("calm: residual adam darker and back", net=Net("residual", (48, 48)), optim=Optim("adam", 0.001), steps=500,
            benign=(Fault("offset", -1.5, start=205, end=285),)),
    healthy("calm: functional drifts a little", net=Net("functional", (64, 48)), optim=Optim("momentum", 0.01),
            steps=600, benign=(Fault("offset", -1.0, start=200, ramp=200),)),
    healthy("calm: mlp adam raised fivefold", net=Net("mlp", (96, 64)), optim=Optim("adam", 0.0005), steps=500,
            benign=(Fault("rate", 5.0, start=195),)),
    healthy("calm: branches momentum raised", net=BRANCHES, optim=Optim("momentum", 0.005), steps=500,
            benign=(Fault("rate", 8.0, start=214),)),
    healthy("calm: branches adam", net=BRANCHES, optim=Optim("adam", 0.002), steps=500),
    healthy("calm: branches sgd one-cycle", net=BRANCHES, optim=Optim("sgd", 0.3), steps=500,
            schedule=Schedule("onecycle")),
    healthy("calm: mlp rmsprop restarts", net=Net("mlp", (64, 64)), optim=Optim("rmsprop", 0.001), steps=600,
            schedule=Schedule("restarts", 120)),
    healthy("calm: mlp selective pixels", net=Net("mlp", (128, 64)), dataset="pixels", optim=Optim("adam", 0.001),
            steps=600, initialization=(Initialization("selective", 0.08, layer=0),), sparse=True),
    healthy("calm: cnn adam penalty", net=IMAGES, dataset="images", optim=Optim("adam", 0.001), steps=500,
            penalty=0.01, sparse=True),
)  # fmt: skip

RECIPES = (*BLOCKS, *JUMPS, *DRIFTS, *PARTS, *CALM)
