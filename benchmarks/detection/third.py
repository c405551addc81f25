"""The third held-out set: ill trainings by somebody who knew recipes and truth, and nothing of detector or remedies.

They were amended until each fault brought a collapse and its twin stayed sound, by the truth alone. Those of the
learning rate stand here, all others in ``third_more``.
"""

from __future__ import annotations

from functools import partial

import third_more
from recipe import Fault, Loader, Net, Optim, Pace, Recipe, Start

rate = partial(Recipe, group="high_rate", cause="high_learning_rate")

HE = (Start("he"),)

MLPS = (
    rate("third mlp adam two zeros forgotten", net=Net("mlp", (80, 60, 20)), optim=Optim("adam", 0.001),
         loader=Loader(batch=24), fault=Fault("rate", 100.0)),
    rate("third mlp sgd one-cycle peak too high", net=Net("mlp", (40, 40, 40)), material="pixels",
         optim=Optim("sgd", 0.4), pace=Pace("onecycle"), steps=600, fault=Fault("rate", 12.0)),
    rate("third mlp rmsprop wine raised", net=Net("mlp", (36, 18)), material="wine", optim=Optim("rmsprop", 0.0008),
         loader=Loader(batch=12), steps=450, fault=Fault("rate", 110.0, at=281)),
    rate("third mlp momentum friedman spike", net=Net("mlp", (50, 30)), material="friedman",
         optim=Optim("momentum", 0.004, clip=2.0), loader=Loader(batch=20), steps=900,
         fault=Fault("rate", 120.0, at=412, until=432)),
    rate("third mlp adamw cancer creeps", net=Net("mlp", (32, 24, 16)), material="cancer",
         optim=Optim("adamw", 0.001, decay=0.05), loader=Loader(batch=20), steps=800,
         fault=Fault("rate", 150.0, at=120, ramp=500)),
    rate("third mlp sgd moons warm-up overshoots", net=Net("mlp", (24, 24, 24)), material="moons", start=HE,
         optim=Optim("sgd", 0.1), pace=Pace("warmup", 160), loader=Loader(batch=16), steps=500,
         fault=Fault("rate", 40.0)),
    rate("third mlp momentum rare stairs upwards", net=Net("mlp", (90, 45)), material="rare",
         optim=Optim("momentum", 0.02), pace=Pace("stairs", 200), loader=Loader(batch=64), steps=700,
         fault=Fault("rate", 75.0, at=200)),
    rate("third mlp adam domains rate per domain", net=Net("mlp", (100, 50)), material="domains",
         optim=Optim("adam", 0.0008), loader=Loader("blocks", batch=40, block=15, span=2), steps=900,
         fault=Fault("rate", 75.0, at=533)),
    rate("third mlp dropout rmsprop cosine too high", net=Net("mlp", (96, 96), dropout=0.2),
         optim=Optim("rmsprop", 0.0005), pace=Pace("cosine"), steps=600, fault=Fault("rate", 120.0)),
)  # fmt: skip

IMAGE_NETS = (
    rate("third cnn sgd pixels constant", net=Net("cnn", (6, 12, 24)), material="pixel_images",
         optim=Optim("sgd", 0.1), loader=Loader(batch=20), steps=500, fault=Fault("rate", 14.0)),
    rate("third cnn adam cycles too high", net=Net("cnn", (8, 8, 24)), material="images", optim=Optim("adam", 0.001),
         pace=Pace("cyclic", 80), steps=400, fault=Fault("rate", 180.0)),
    rate("third cnn adamw pixels short spike", net=Net("cnn", (8, 20, 32)), material="pixel_images",
         optim=Optim("adamw", 0.0015), steps=500, fault=Fault("rate", 50.0, at=322, until=337)),
    rate("third residual images momentum creeps", net=Net("residual", (10, 12)), material="images",
         optim=Optim("momentum", 0.01, clip=3.0), steps=450, fault=Fault("rate", 120.0, at=90, ramp=260)),
    rate("third batchnorm images adam one-cycle", net=Net("batchnorm", (8, 12, 24)), material="pixel_images",
         optim=Optim("adam", 0.002), pace=Pace("onecycle"), steps=400, fault=Fault("rate", 1000.0)),
)  # fmt: skip

OTHERS = (
    rate("third residual adamw domains raised", net=Net("residual", (40, 32, 24)), material="domains",
         optim=Optim("adamw", 0.0008), loader=Loader("blocks", block=50, span=2), steps=700,
         fault=Fault("rate", 80.0, at=377)),
    rate("third residual rmsprop rare spike", net=Net("residual", (56, 28)), material="rare",
         optim=Optim("rmsprop", 0.0006), loader=Loader("blocks", block=10, span=5), steps=600,
         fault=Fault("rate", 100.0, at=301, until=321)),
    rate("third batchnorm sgd far too high", net=Net("batchnorm", (60, 60, 30)), optim=Optim("sgd", 0.1),
         loader=Loader(batch=48), steps=500, fault=Fault("rate", 150.0, at=71)),
    rate("third batchnorm rmsprop cancer spike", net=Net("batchnorm", (48, 24)), material="cancer",
         optim=Optim("rmsprop", 0.001), loader=Loader(batch=16), steps=600,
         fault=Fault("rate", 1500.0, at=240, until=290)),
    rate("third functional adam iris raised", net=Net("functional", (32, 16)), material="iris",
         optim=Optim("adam", 0.002), loader=Loader(batch=10), steps=600, fault=Fault("rate", 120.0, at=344)),
    rate("third functional rmsprop pixels stairs", net=Net("functional", (64, 32, 32)), material="pixels",
         optim=Optim("rmsprop", 0.001), pace=Pace("stairs", 150), steps=500, fault=Fault("rate", 60.0)),
    rate("third functional momentum unshuffled", net=Net("functional", (70, 35)),
         optim=Optim("momentum", 0.005, clip=4.0), loader=Loader("sorted", batch=30), steps=600,
         fault=Fault("rate", 80.0, at=177, ramp=60)),
    rate("third transformer rows adamw creeps", net=Net("transformer", (20, 60)), material="rows",
         optim=Optim("adamw", 0.0015), steps=600, fault=Fault("rate", 300.0, at=150, ramp=350)),
    rate("third transformer rows adam penalty raised", net=Net("transformer", (24, 72)), material="rows",
         optim=Optim("adam", 0.002), pace=Pace("warmup", 60), penalty=0.01, steps=500,
         fault=Fault("rate", 40.0, at=259), sparse=True),
    rate("third transformer text momentum spike", net=Net("transformer", (24, 96)), material="text",
         optim=Optim("momentum", 0.05, clip=1.0), loader=Loader(batch=16), steps=450,
         fault=Fault("rate", 60.0, at=222, until=252)),
    rate("third transformer text adam warm-up", net=Net("transformer", (24, 72)), material="text",
         optim=Optim("adam", 0.003), pace=Pace("warmup", 180), loader=Loader(batch=20), steps=400,
         fault=Fault("rate", 220.0)),
    rate("third autoencoder sgd pixels raised", net=Net("autoencoder", (40, 20, 40)), material="pixel_copies",
         optim=Optim("sgd", 1.5, clip=5.0), steps=700, fault=Fault("rate", 8.0, at=266)),
    rate("third autoencoder rmsprop cosine spike", net=Net("autoencoder", (72, 36, 72)), material="copies",
         optim=Optim("rmsprop", 0.0008), pace=Pace("cosine"), loader=Loader("blocks", block=20, span=3), steps=600,
          fault=Fault("rate", 120.0, at=195, until=245)),
)  # fmt: skip

KINDRED = (
    rate("third mlp sgd restarts grow", net=Net("mlp", (64, 32, 32)), optim=Optim("sgd", 0.1), steps=720,
         pace=Pace("restarts", 120), loader=Loader(batch=40), fault=Fault("growing", 1.45)),
    rate("third residual images adam restarts grow", net=Net("residual", (8, 12, 12)), material="pixel_images",
         optim=Optim("adam", 0.002), pace=Pace("restarts", 75), steps=450, fault=Fault("growing", 3.2)),
    rate("third functional rmsprop cancer restarts grow", net=Net("functional", (30, 30)), material="cancer",
         optim=Optim("rmsprop", 0.001), pace=Pace("restarts", 100), loader=Loader(batch=25), steps=700,
         fault=Fault("growing", 3.0)),
    rate("third mlp adamw wave last layer's rate", net=Net("mlp", (32, 24)), material="wave",
         optim=Optim("adamw", 0.003), loader=Loader(batch=16), steps=900, fault=Fault("layer_rate", 100.0, layer=1)),
    rate("third functional sgd pixels first layer's rate", net=Net("functional", (32, 32, 32)), material="pixels",
         optim=Optim("sgd", 0.2), steps=500, fault=Fault("layer_rate", 100.0, layer=0)),
    rate("third autoencoder rmsprop code's rate", net=Net("autoencoder", (64, 32, 64)), material="copies",
         optim=Optim("rmsprop", 0.0005), steps=500, fault=Fault("layer_rate", 300.0, layer=1)),
    rate("third cnn sgd momentum of 0.997", net=Net("cnn", (8, 16, 24)), material="images",
         optim=Optim("sgd", 0.04), pace=Pace("warmup", 90), steps=450, fault=Fault("momentum", 0.997, at=157)),
    rate("third autoencoder momentum of 0.995", net=Net("autoencoder", (64, 32, 64)), material="copies",
         optim=Optim("momentum", 0.2), steps=700, fault=Fault("momentum", 0.995, at=291)),
    rate("third functional sgd resumed too high", net=Net("functional", (56, 56, 28)), material="pixels",
         optim=Optim("sgd", 0.2), pace=Pace("cosine"), steps=800, fault=Fault("resume", 4.0, at=448)),
    rate("third mlp adamw diabetes resumed too high", net=Net("mlp", (40, 20)), material="diabetes",
         optim=Optim("adamw", 0.001), pace=Pace("warmup", 100), loader=Loader(batch=16), steps=700,
         fault=Fault("resume", 150.0, at=361)),
)  # fmt: skip

RECIPES = (*MLPS, *IMAGE_NETS, *OTHERS, *KINDRED, *third_more.RECIPES)
