"""Trainings of the kinds in which the detector failed, by kind; half for development, half only reported on.

A recipe's name begins with its kind. Recipes alternate between the two halves, so that both have every kind. A healthy
recipe with an ``end`` among its ``benign`` changes is a trap that passes.
"""

from __future__ import annotations

from functools import partial

from research.corpus.early_faults import EARLY
from research.corpus.recipe import Fault, Initialization, Loader, Net, Optim, Recipe, Schedule

healthy = partial(Recipe, group="healthy")
pushed = partial(Recipe, group="bias", cause="negative_bias")
high_rate = partial(Recipe, group="high_rate", cause="high_learning_rate")
initialized = partial(Recipe, group="start", cause="bad_initialization")
shifted = partial(Recipe, group="input", cause="input_shift")
unscaled = partial(Recipe, group="input", cause="input_scale")
IMAGES = Net("cnn", (8, 16, 32))
BRANCHES = Net("branches", (32, 32, 32, 32))

PUSHES = (
    pushed("push: mlp adam at once", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.003),
           fault=Fault("push", 0.05, start=203)),
    pushed("push: mlp rmsprop from the first step", net=Net("mlp", (64, 32)), optim=Optim("rmsprop", 0.002),
           fault=Fault("push", 0.05, layer=1)),
    pushed("push: mlp momentum bias target", net=Net("mlp", (64, 48)), optim=Optim("momentum", 0.02),
           fault=Fault("bias_target", -3.0, start=155)),
    pushed("push: functional adam bias target", net=Net("functional", (80, 40)), optim=Optim("adam", 0.002),
           fault=Fault("bias_target", -6.0, start=247, layer=1)),
    pushed("push: cnn adamw at once", net=IMAGES, dataset="images", optim=Optim("adamw", 0.002), steps=400,
           fault=Fault("push", 0.05, start=121, layer=2)),
    pushed("push: cnn momentum bias target", net=IMAGES, dataset="images", optim=Optim("momentum", 0.02), steps=400,
           fault=Fault("bias_target", -8.0, start=146)),
    pushed("push: transformer adam from the first step", net=Net("transformer", (32, 96)), dataset="rows",
           optim=Optim("adam", 0.003), steps=400, fault=Fault("push", 0.05)),
    pushed("push: residual adam warm-up", net=Net("residual", (48, 48, 48)), optim=Optim("adam", 0.003),
           schedule=Schedule("warmup", 150), fault=Fault("push", 0.03, start=60)),
    pushed("push: batchnorm adam cyclic", net=Net("batchnorm", (64, 48)), optim=Optim("adam", 0.004), steps=600,
           schedule=Schedule("cyclic", 150), fault=Fault("push", 1.0, start=240)),
    pushed("push: autoencoder rmsprop targets", net=Net("autoencoder", (48, 24), output_relu=True), steps=600,
           dataset="pixel_copies", optim=Optim("rmsprop", 0.003), fault=Fault("target", 2.0, start=150)),
    pushed("push: mlp momentum one-cycle", net=Net("mlp", (64, 64)), optim=Optim("momentum", 0.05), steps=600,
           schedule=Schedule("onecycle"), fault=Fault("bias_target", -2.0, start=80)),
    pushed("push: mlp counts adam targets", net=Net("mlp", (48, 32)), dataset="counts", optim=Optim("adam", 0.005),
           initialization=(Initialization("positive_head"),), loader=Loader(batch=16), steps=600,
           fault=Fault("target", 15.0, start=180, ramp=100)),
)  # fmt: skip

SPARSE = (
    pushed("sparse: mlp adam loses bias", net=Net("mlp", (128, 64)), optim=Optim("adam", 0.001), penalty=0.012,
           steps=900, fault=Fault("push", 0.01, start=405, layer=0), sparse=True),
    pushed("sparse: autoencoder adam loses bias", net=Net("autoencoder", (160,)), dataset="copies", penalty=0.003,
           optim=Optim("adam", 0.002), steps=900, fault=Fault("push", 0.004, start=380, ramp=200), sparse=True),
    shifted("sparse: mlp adam loses gain", net=Net("mlp", (128, 64)), optim=Optim("adam", 0.001), penalty=0.005,
            initialization=(Initialization("selective", 0.05, layer=0),), steps=800,
            fault=Fault("gain", 0.05, start=421, ramp=200), sparse=True),
    shifted("sparse: functional adamw loses gain", net=Net("functional", (96, 64)), optim=Optim("adamw", 0.001),
            penalty=0.005, initialization=(Initialization("selective", 0.05, layer=0),), steps=700,
            fault=Fault("gain", 0.1, start=400, ramp=100), sparse=True),
    pushed("sparse: mlp adamw decays", net=Net("mlp", (96, 48)), optim=Optim("adamw", 0.001, groups=True),
           penalty=0.01, steps=900, benign=(Fault("bias_rate", 0.1),),
           initialization=(Initialization("bias", -0.3),),
           fault=Fault("decay", 30.0, start=400),
           sparse=True),
    pushed("sparse: transformer adam loses bias", net=Net("transformer", (24, 96)), dataset="rows", penalty=0.02,
           optim=Optim("adam", 0.002), steps=700, fault=Fault("push", 0.02, start=305, ramp=100), sparse=True),
)  # fmt: skip

L1 = (
    pushed("l1: mlp sgd", net=Net("mlp", (64, 48)), optim=Optim("sgd", 0.05), steps=1400,
           fault=Fault("l1", 0.6, start=200, ramp=1000)),
    pushed("l1: mlp adam", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.0007), steps=1400,
           fault=Fault("l1", 0.6, start=200, ramp=1000)),
    pushed("l1: functional momentum", net=Net("functional", (64, 48)), optim=Optim("momentum", 0.005), steps=1400,
           fault=Fault("l1", 0.8, start=200, ramp=1000, layer=1)),
    pushed("l1: residual adamw", net=Net("residual", (48, 48)), optim=Optim("adamw", 0.0007), steps=1400,
           fault=Fault("l1", 0.8, start=200, ramp=1000)),
    pushed("l1: autoencoder adam", net=Net("autoencoder", (64,)), dataset="copies", optim=Optim("adam", 0.001),
           steps=1300, fault=Fault("l1", 0.3, start=200, ramp=1000)),
    pushed("l1: mlp rmsprop friedman", net=Net("mlp", (64, 32)), dataset="friedman", optim=Optim("rmsprop", 0.0005),
           loader=Loader(batch=16), steps=1400, fault=Fault("l1", 0.6, start=200, ramp=1000)),
)  # fmt: skip

BRANCH_DEATHS = (
    pushed("branch: momentum one pushed", net=BRANCHES, optim=Optim("momentum", 0.02), steps=700,
           fault=Fault("part_push", 0.02, start=205, layer=1)),
    pushed("branch: adam one pushed", net=BRANCHES, optim=Optim("adam", 0.002), steps=600,
           fault=Fault("part_push", 0.02, start=180, ramp=100, layer=2)),
    high_rate("branch: adam one rate", net=BRANCHES, optim=Optim("adam", 0.001),
              fault=Fault("layer_rate", 300.0, layer=2)),
    high_rate("branch: sgd one rate", net=BRANCHES, optim=Optim("sgd", 0.1),
              fault=Fault("layer_rate", 300.0, layer=3)),
    pushed("branch: mlp half of a layer", net=Net("mlp", (96, 64)), optim=Optim("adam", 0.001), steps=700,
           fault=Fault("part_push", 0.01, start=210, layer=0)),
    pushed("branch: residual half of a layer", net=Net("residual", (48, 64, 64)), optim=Optim("momentum", 0.01),
           steps=700, fault=Fault("part_push", 0.02, start=190, layer=1)),
    pushed("branch: adam early", net=BRANCHES, optim=Optim("adam", 0.003), fault=Fault("part_push", 0.1, layer=0)),
    pushed("branch: cnn early", net=IMAGES, dataset="images", optim=Optim("adam", 0.003), steps=350,
           fault=Fault("part_push", 0.1, layer=2)),
)  # fmt: skip

BORN_DEAD = (
    initialized("born: mlp 65 %", net=Net("mlp", (96, 64)), optim=Optim("momentum", 0.02), steps=350,
                fault=Fault("partly_dead", 0.65, layer=0), cause="negative_bias"),
    initialized("born: mlp adam 80 %", net=Net("mlp", (64, 48)), optim=Optim("adam", 0.001), steps=350,
                fault=Fault("partly_dead", 0.8, layer=1), cause="negative_bias"),
    initialized("born: cnn 75 %", net=IMAGES, dataset="images", optim=Optim("adamw", 0.001), steps=300,
                fault=Fault("partly_dead", 0.75, layer=2), cause="negative_bias"),
    initialized("born: transformer 70 %", net=Net("transformer", (24, 96)), dataset="rows", steps=300,
                optim=Optim("adam", 0.002), fault=Fault("partly_dead", 0.7, layer=0), cause="negative_bias"),
    initialized("born: pixels negative mean", net=Net("mlp", (128, 48)), dataset="pixels", steps=350,
                optim=Optim("momentum", 0.01), fault=Fault("negative_mean", 0.35, layer=0)),
    initialized("born: pixels negative mean adam", net=Net("mlp", (96, 48)), dataset="pixels", steps=350,
                optim=Optim("adam", 0.0005), fault=Fault("negative_mean", 0.35, layer=0)),
    initialized("born: residual 85 %", net=Net("residual", (48, 64)), optim=Optim("sgd", 0.1), steps=350,
                fault=Fault("partly_dead", 0.85, layer=1), cause="negative_bias"),
    initialized("born: autoencoder 65 %", net=Net("autoencoder", (64, 24, 64)), dataset="copies", steps=350,
                optim=Optim("adam", 0.001), fault=Fault("partly_dead", 0.65, layer=2), cause="negative_bias"),
)  # fmt: skip

PASSING = (
    healthy("passing: mlp blackout", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.02), steps=600,
            benign=(Fault("stuck", 1.0, start=250, end=330),)),
    healthy("passing: mlp adam blackout", net=Net("mlp", (64, 32)), optim=Optim("adam", 0.001), steps=600,
            benign=(Fault("stuck", 1.0, start=203, end=253),)),
    healthy("passing: cnn blackout", net=IMAGES, dataset="images", optim=Optim("adam", 0.001), steps=500,
            benign=(Fault("stuck", 1.0, start=200, end=300),)),
    healthy("passing: batchnorm blackout", net=Net("batchnorm", (64, 48)), optim=Optim("sgd", 0.05), steps=600,
            benign=(Fault("stuck", 1.0, start=201, end=281),)),
    healthy("passing: residual dim", net=Net("residual", (48, 48)), optim=Optim("adamw", 0.001), steps=600,
            benign=(Fault("stuck", 0.995, start=222, end=302),)),
    healthy("passing: transformer blackout", net=Net("transformer", (24, 64)), dataset="rows", steps=500,
            optim=Optim("adam", 0.002), benign=(Fault("stuck", 1.0, start=180, end=260),)),
    healthy("passing: mlp offset spike", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.0005), steps=600,
            benign=(Fault("offset", -3.0, start=250, end=290),)),
    healthy("passing: functional gain spike", net=Net("functional", (64, 48)), optim=Optim("sgd", 0.02), steps=600,
            benign=(Fault("gain", 0.05, start=210, end=270),)),
)  # fmt: skip

SURVIVED = (
    healthy("survived: mlp momentum raised", net=Net("mlp", (128, 64)), optim=Optim("momentum", 0.005),
            benign=(Fault("rate", 10.0, start=205),)),
    healthy("survived: mlp adam raised", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.0004),
            benign=(Fault("rate", 12.0, start=243),)),
    healthy("survived: cnn adam raised", net=IMAGES, dataset="images", optim=Optim("adam", 0.0005), steps=400,
            benign=(Fault("rate", 10.0, start=166),)),
    healthy("survived: cnn sgd spike", net=IMAGES, dataset="images", optim=Optim("sgd", 0.03), steps=400,
            benign=(Fault("rate", 10.0, start=190, end=220),)),
    healthy("survived: batchnorm momentum raised", net=Net("batchnorm", (64, 48)), optim=Optim("momentum", 0.01),
            benign=(Fault("rate", 30.0, start=214),)),
    healthy("survived: batchnorm images raised", net=Net("batchnorm", (8, 16, 32)), dataset="images", steps=400,
            optim=Optim("adam", 0.001), benign=(Fault("rate", 30.0, start=180),)),
    healthy("survived: transformer adam raised", net=Net("transformer", (32, 96)), dataset="text", steps=400,
            optim=Optim("adam", 0.0005), loader=Loader(batch=16), benign=(Fault("rate", 10.0, start=171),)),
    healthy("survived: residual rmsprop raised", net=Net("residual", (48, 48, 48)), optim=Optim("rmsprop", 0.0002),
            benign=(Fault("rate", 8.0, start=233),)),
    healthy("survived: mlp sgd creeps", net=Net("mlp", (64, 64)), optim=Optim("sgd", 0.02), steps=600,
            benign=(Fault("rate", 20.0, start=150, ramp=200),)),
    healthy("survived: functional adamw creeps", net=Net("functional", (64, 64)), optim=Optim("adamw", 0.0003),
            steps=600, benign=(Fault("rate", 15.0, start=150, ramp=200),)),
    healthy("survived: autoencoder adam spike", net=Net("autoencoder", (48, 24, 48)), dataset="copies",
            optim=Optim("adam", 0.0005), benign=(Fault("rate", 12.0, start=205, end=255),)),
    healthy("survived: wide momentum raised", net=Net("mlp", (512, 64)), optim=Optim("momentum", 0.002), steps=400,
            benign=(Fault("rate", 10.0, start=190),)),
)  # fmt: skip

SCHEDULES = (
    healthy("schedule: mlp momentum cyclic", net=Net("mlp", (96, 64)), optim=Optim("momentum", 0.06), steps=700,
            schedule=Schedule("cyclic", 150)),
    healthy("schedule: mlp adam cyclic", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.008), steps=700,
            schedule=Schedule("cyclic", 100)),
    healthy("schedule: cnn adam one-cycle", net=IMAGES, dataset="images", optim=Optim("adam", 0.006), steps=500,
            schedule=Schedule("onecycle")),
    healthy("schedule: mlp momentum one-cycle", net=Net("mlp", (128, 64)), optim=Optim("momentum", 0.08), steps=500,
            schedule=Schedule("onecycle")),
    healthy("schedule: residual momentum restarts", net=Net("residual", (48, 48, 48)), optim=Optim("momentum", 0.04),
            steps=700, schedule=Schedule("restarts", 120)),
    healthy("schedule: cnn adam restarts", net=IMAGES, dataset="images", optim=Optim("adam", 0.004), steps=500,
            schedule=Schedule("restarts", 80)),
    healthy("schedule: functional rmsprop cyclic", net=Net("functional", (64, 48)), optim=Optim("rmsprop", 0.003),
            steps=700, schedule=Schedule("cyclic", 200)),
    healthy("schedule: transformer adam one-cycle", net=Net("transformer", (32, 96)), dataset="text", steps=500,
            optim=Optim("adam", 0.006), loader=Loader(batch=16), schedule=Schedule("onecycle")),
    healthy("schedule: autoencoder adam cyclic", net=Net("autoencoder", (64, 24, 64)), dataset="copies", steps=600,
            optim=Optim("adam", 0.004), schedule=Schedule("cyclic", 150)),
    healthy("schedule: batchnorm sgd one-cycle", net=Net("batchnorm", (64, 48)), optim=Optim("sgd", 0.8), steps=500,
            schedule=Schedule("onecycle")),
)  # fmt: skip

LOW = (
    healthy("low: mlp adam kept at 5 %", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.001), steps=800,
            benign=(Fault("low_rate", 0.05, start=0, layer=0),), sparse=True),
    healthy("low: mlp momentum kept at 5 % later", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.02), steps=900,
            benign=(Fault("low_rate", 0.05, start=300, ramp=200),), sparse=True),
    healthy("low: autoencoder kept at 5 %", net=Net("autoencoder", (128,)), dataset="copies", steps=900,
            optim=Optim("adam", 0.002), benign=(Fault("low_rate", 0.05, start=200, ramp=200),), sparse=True),
    healthy("low: functional kept at 10 % at once", net=Net("functional", (96, 48)), optim=Optim("adamw", 0.001),
            steps=800, benign=(Fault("low_rate", 0.1, start=301),), sparse=True),
    healthy("low: mlp first layer nearly frozen", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.05),
            benign=(Fault("layer_rate", 0.01, layer=0),)),
    healthy("low: cnn last layer nearly frozen", net=IMAGES, dataset="images", optim=Optim("adam", 0.003), steps=400,
            benign=(Fault("layer_rate", 0.01, layer=2),)),
    healthy("low: mlp adam l1 later", net=Net("mlp", (96, 64)), optim=Optim("adam", 0.001), steps=900,
            benign=(Fault("l1", 0.01, start=300),), sparse=True),
    healthy("low: residual momentum l1 later", net=Net("residual", (48, 64)), optim=Optim("momentum", 0.01), steps=900,
            benign=(Fault("l1", 0.008, start=300, ramp=100),), sparse=True),
)  # fmt: skip

BLOCKS = (
    healthy("blocks: mlp momentum one class", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.01), steps=900,
            loader=Loader("blocks", block=40, span=1)),
    healthy("blocks: mlp adam one class", net=Net("mlp", (64, 48)), optim=Optim("adam", 0.001), steps=900,
            loader=Loader("blocks", block=60, span=1)),
    healthy("blocks: cnn adam one class", net=IMAGES, dataset="images", optim=Optim("adam", 0.001), steps=600,
            loader=Loader("blocks", block=30, span=1)),
    healthy("blocks: functional sgd one class", net=Net("functional", (64, 48)), optim=Optim("sgd", 0.05), steps=900,
            loader=Loader("blocks", block=80, span=1)),
    healthy("blocks: residual domains", net=Net("residual", (64, 48)), dataset="domains", optim=Optim("adam", 0.001),
            steps=900, loader=Loader("blocks", block=100, span=1)),
    healthy("blocks: transformer rows one class", net=Net("transformer", (24, 64)), dataset="rows", steps=700,
            optim=Optim("adam", 0.001), loader=Loader("blocks", block=50, span=1)),
)  # fmt: skip

INITIALIZATIONS = (
    initialized("init: mlp adam huge", net=Net("mlp", (96, 64)), optim=Optim("adam", 0.005), steps=350,
                fault=Fault("huge", 20.0)),
    initialized("init: mlp momentum one huge", net=Net("mlp", (64, 64, 48)), optim=Optim("momentum", 0.05), steps=350,
                fault=Fault("huge", 40.0, layer=0)),
    initialized("init: functional adam negative mean", net=Net("functional", (96, 64, 48)), dataset="pixels",
                optim=Optim("adam", 0.004), steps=350, fault=Fault("negative_mean", 0.6)),
    initialized("init: cnn momentum one huge", net=IMAGES, dataset="images", optim=Optim("momentum", 0.05), steps=350,
                fault=Fault("huge", 60.0, layer=1)),
    initialized("init: residual sgd huge", net=Net("residual", (48, 48, 48)), optim=Optim("sgd", 0.2), steps=350,
                fault=Fault("huge", 8.0)),
    initialized("init: mlp adam tiny first", net=Net("mlp", (64, 48, 32)), optim=Optim("adam", 0.002), steps=350,
                fault=Fault("tiny", 0.3, layer=0)),
    initialized("init: transformer adam huge", net=Net("transformer", (24, 64)), dataset="rows", steps=300,
                optim=Optim("adam", 0.003), fault=Fault("huge", 40.0)),
    initialized("init: autoencoder momentum huge", net=Net("autoencoder", (48, 24, 48)), dataset="copies", steps=350,
                optim=Optim("momentum", 0.1), fault=Fault("huge", 12.0)),
    initialized("init: mlp sgd pixels negative mean", net=Net("mlp", (96, 48)), dataset="pixels", steps=350,
                optim=Optim("sgd", 0.2), fault=Fault("negative_mean", 0.5)),
    initialized("init: deep and narrow", net=Net("mlp", (32,) * 10), optim=Optim("adam", 0.005), steps=350,
                initialization=(Initialization("he"),), fault=Fault("narrow", 3)),
)  # fmt: skip

UNSCALED = (
    unscaled("scale: mlp momentum times 100", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.02), steps=350,
             fault=Fault("gain", 100.0)),
    unscaled("scale: mlp sgd pixels times 255", net=Net("mlp", (96, 48)), dataset="pixels", optim=Optim("sgd", 0.1),
             steps=350, fault=Fault("gain", 255.0)),
    unscaled("scale: cnn sgd pixels times 255", net=IMAGES, dataset="pixel_images", optim=Optim("sgd", 0.05), steps=350,
             fault=Fault("gain", 255.0)),
    unscaled("scale: functional friedman as it is", net=Net("functional", (64, 48)), dataset="friedman",
             optim=Optim("momentum", 0.01), loader=Loader(batch=16), steps=350, fault=Fault("gain", 300.0)),
    unscaled("scale: mlp cancer as it is", net=Net("mlp", (64, 32)), dataset="cancer", optim=Optim("momentum", 0.02),
             steps=350, loader=Loader(batch=16), fault=Fault("raw")),
    unscaled("scale: mlp wine as it is", net=Net("mlp", (48, 24)), dataset="wine", optim=Optim("adam", 0.003),
             steps=350, loader=Loader(batch=8), fault=Fault("raw")),
    healthy("scale: mlp adam borne", net=Net("mlp", (64, 32)), dataset="pixels", optim=Optim("adam", 0.0003), steps=350,
            benign=(Fault("gain", 16.0),)),
    healthy("scale: batchnorm borne", net=Net("batchnorm", (64, 48)), optim=Optim("sgd", 0.05), steps=350,
            benign=(Fault("gain", 50.0),)),
)  # fmt: skip

RATES = (
    high_rate("rate: mlp adam from the start", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.001), steps=350,
              fault=Fault("rate", 100.0)),
    high_rate("rate: mlp momentum from the start", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.02), steps=350,
              fault=Fault("rate", 40.0)),
    high_rate("rate: cnn rmsprop from the start", net=IMAGES, dataset="images", optim=Optim("rmsprop", 0.0005),
              steps=350, fault=Fault("rate", 60.0)),
    high_rate("rate: functional sgd from the start", net=Net("functional", (64, 48)), optim=Optim("sgd", 0.1),
              steps=350, fault=Fault("rate", 25.0)),
    high_rate("rate: residual adam raised", net=Net("residual", (48, 48)), optim=Optim("adam", 0.001), steps=400,
              fault=Fault("rate", 80.0, start=203)),
    high_rate("rate: mlp rmsprop raised", net=Net("mlp", (64, 48)), optim=Optim("rmsprop", 0.0005), steps=400,
              fault=Fault("rate", 60.0, start=187)),
)  # fmt: skip

ALL = (
    *PUSHES, *SPARSE, *L1, *BRANCH_DEATHS, *BORN_DEAD, *PASSING, *SURVIVED, *SCHEDULES, *LOW, *BLOCKS,
    *INITIALIZATIONS, *UNSCALED, *RATES,
)  # fmt: skip
DEVELOPMENT = (*ALL[::2], *EARLY)
REPORTED = ALL[1::2]


def kind_of(recipe: Recipe) -> str:
    """Return the kind that a recipe's name begins with."""
    return recipe.name.partition(":")[0]
