"""The third held-out set: its learning rate faults. All other faults are in ``heldout_3_faults``.

Their author knew the recipes and the ground truth, but neither the detector nor the remedies, and amended them by the
ground truth alone until each fault brought a collapse and its twin stayed healthy. Their names begin with "third".
"""

from __future__ import annotations

from functools import partial

from research.corpus import heldout_3_faults
from research.corpus.recipe import Fault, Initialization, Loader, Net, Optim, Recipe, Schedule

learning_rate_fault = partial(Recipe, group="high_rate", cause="high_learning_rate")

HE_INITIALIZATION = (Initialization("he"),)

MLPS = (
    learning_rate_fault("third mlp adam two zeros forgotten", net=Net("mlp", (80, 60, 20)), optim=Optim("adam", 0.001),
                        loader=Loader(batch=24), fault=Fault("rate", 100.0)),
    learning_rate_fault("third mlp sgd one-cycle peak too high", net=Net("mlp", (40, 40, 40)), dataset="pixels",
                        optim=Optim("sgd", 0.4), schedule=Schedule("onecycle"), steps=600, fault=Fault("rate", 12.0)),
    learning_rate_fault("third mlp rmsprop wine raised", net=Net("mlp", (36, 18)), dataset="wine",
                        optim=Optim("rmsprop", 0.0008), loader=Loader(batch=12), steps=450,
                        fault=Fault("rate", 110.0, start=281)),
    learning_rate_fault("third mlp momentum friedman spike", net=Net("mlp", (50, 30)), dataset="friedman",
                        optim=Optim("momentum", 0.004, clip=2.0), loader=Loader(batch=20), steps=900,
                        fault=Fault("rate", 120.0, start=412, end=432)),
    learning_rate_fault("third mlp adamw cancer creeps", net=Net("mlp", (32, 24, 16)), dataset="cancer",
                        optim=Optim("adamw", 0.001, decay=0.05), loader=Loader(batch=20), steps=800,
                        fault=Fault("rate", 150.0, start=120, ramp=500)),
    learning_rate_fault("third mlp sgd moons warm-up overshoots", net=Net("mlp", (24, 24, 24)), dataset="moons",
                        initialization=HE_INITIALIZATION, optim=Optim("sgd", 0.1), schedule=Schedule("warmup", 160),
                        loader=Loader(batch=16), steps=500, fault=Fault("rate", 40.0)),
    learning_rate_fault("third mlp momentum rare stairs upwards", net=Net("mlp", (90, 45)), dataset="rare",
                        optim=Optim("momentum", 0.02), schedule=Schedule("stairs", 200), loader=Loader(batch=64),
                        steps=700, fault=Fault("rate", 75.0, start=200)),
    learning_rate_fault("third mlp adam domains rate per domain", net=Net("mlp", (100, 50)), dataset="domains",
                        optim=Optim("adam", 0.0008), loader=Loader("blocks", batch=40, block=15, span=2), steps=900,
                        fault=Fault("rate", 75.0, start=533)),
    learning_rate_fault("third mlp dropout rmsprop cosine too high", net=Net("mlp", (96, 96), dropout=0.2),
                        optim=Optim("rmsprop", 0.0005), schedule=Schedule("cosine"), steps=600,
                        fault=Fault("rate", 120.0)),
)  # fmt: skip

IMAGE_NETS = (
    learning_rate_fault("third cnn sgd pixels constant", net=Net("cnn", (6, 12, 24)), dataset="pixel_images",
                        optim=Optim("sgd", 0.1), loader=Loader(batch=20), steps=500, fault=Fault("rate", 14.0)),
    learning_rate_fault("third cnn adam cycles too high", net=Net("cnn", (8, 8, 24)), dataset="images",
                        optim=Optim("adam", 0.001), schedule=Schedule("cyclic", 80), steps=400,
                        fault=Fault("rate", 180.0)),
    learning_rate_fault("third cnn adamw pixels short spike", net=Net("cnn", (8, 20, 32)), dataset="pixel_images",
                        optim=Optim("adamw", 0.0015), steps=500, fault=Fault("rate", 50.0, start=322, end=337)),
    learning_rate_fault("third residual images momentum creeps", net=Net("residual", (10, 12)), dataset="images",
                        optim=Optim("momentum", 0.01, clip=3.0), steps=450,
                        fault=Fault("rate", 120.0, start=90, ramp=260)),
    learning_rate_fault("third batchnorm images adam one-cycle", net=Net("batchnorm", (8, 12, 24)),
                        dataset="pixel_images", optim=Optim("adam", 0.002), schedule=Schedule("onecycle"), steps=400,
                        fault=Fault("rate", 1000.0)),
)  # fmt: skip

OTHERS = (
    learning_rate_fault("third residual adamw domains raised", net=Net("residual", (40, 32, 24)), dataset="domains",
                        optim=Optim("adamw", 0.0008), loader=Loader("blocks", block=50, span=2), steps=700,
                        fault=Fault("rate", 80.0, start=377)),
    learning_rate_fault("third residual rmsprop rare spike", net=Net("residual", (56, 28)), dataset="rare",
                        optim=Optim("rmsprop", 0.0006), loader=Loader("blocks", block=10, span=5), steps=600,
                        fault=Fault("rate", 100.0, start=301, end=321)),
    learning_rate_fault("third batchnorm sgd far too high", net=Net("batchnorm", (60, 60, 30)), optim=Optim("sgd", 0.1),
                        loader=Loader(batch=48), steps=500, fault=Fault("rate", 150.0, start=71)),
    learning_rate_fault("third batchnorm rmsprop cancer spike", net=Net("batchnorm", (48, 24)), dataset="cancer",
                        optim=Optim("rmsprop", 0.001), loader=Loader(batch=16), steps=600,
                        fault=Fault("rate", 1500.0, start=240, end=290)),
    learning_rate_fault("third functional adam iris raised", net=Net("functional", (32, 16)), dataset="iris",
                        optim=Optim("adam", 0.002), loader=Loader(batch=10), steps=600,
                        fault=Fault("rate", 120.0, start=344)),
    learning_rate_fault("third functional rmsprop pixels stairs", net=Net("functional", (64, 32, 32)), dataset="pixels",
                        optim=Optim("rmsprop", 0.001), schedule=Schedule("stairs", 150), steps=500,
                        fault=Fault("rate", 60.0)),
    learning_rate_fault("third functional momentum unshuffled", net=Net("functional", (70, 35)),
                        optim=Optim("momentum", 0.005, clip=4.0), loader=Loader("sorted", batch=30), steps=600,
                        fault=Fault("rate", 80.0, start=177, ramp=60)),
    learning_rate_fault("third transformer rows adamw creeps", net=Net("transformer", (20, 60)), dataset="rows",
                        optim=Optim("adamw", 0.0015), steps=600, fault=Fault("rate", 300.0, start=150, ramp=350)),
    learning_rate_fault("third transformer rows adam penalty raised", net=Net("transformer", (24, 72)), dataset="rows",
                        optim=Optim("adam", 0.002), schedule=Schedule("warmup", 60), penalty=0.01, steps=500,
                        fault=Fault("rate", 40.0, start=259), sparse=True),
    learning_rate_fault("third transformer text momentum spike", net=Net("transformer", (24, 96)), dataset="text",
                        optim=Optim("momentum", 0.05, clip=1.0), loader=Loader(batch=16), steps=450,
                        fault=Fault("rate", 60.0, start=222, end=252)),
    learning_rate_fault("third transformer text adam warm-up", net=Net("transformer", (24, 72)), dataset="text",
                        optim=Optim("adam", 0.003), schedule=Schedule("warmup", 180), loader=Loader(batch=20),
                        steps=400, fault=Fault("rate", 220.0)),
    learning_rate_fault("third autoencoder sgd pixels raised", net=Net("autoencoder", (40, 20, 40)),
                        dataset="pixel_copies", optim=Optim("sgd", 1.5, clip=5.0), steps=700,
                        fault=Fault("rate", 8.0, start=266)),
    learning_rate_fault("third autoencoder rmsprop cosine spike", net=Net("autoencoder", (72, 36, 72)),
                        dataset="copies", optim=Optim("rmsprop", 0.0008), schedule=Schedule("cosine"),
                        loader=Loader("blocks", block=20, span=3), steps=600,
                        fault=Fault("rate", 120.0, start=195, end=245)),
)  # fmt: skip

OTHER_KINDS = (
    learning_rate_fault("third mlp sgd restarts grow", net=Net("mlp", (64, 32, 32)), optim=Optim("sgd", 0.1), steps=720,
                        schedule=Schedule("restarts", 120), loader=Loader(batch=40), fault=Fault("growing", 1.45)),
    learning_rate_fault("third residual images adam restarts grow", net=Net("residual", (8, 12, 12)),
                        dataset="pixel_images", optim=Optim("adam", 0.002), schedule=Schedule("restarts", 75),
                        steps=450, fault=Fault("growing", 3.2)),
    learning_rate_fault("third functional rmsprop cancer restarts grow", net=Net("functional", (30, 30)),
                        dataset="cancer", optim=Optim("rmsprop", 0.001), schedule=Schedule("restarts", 100),
                        loader=Loader(batch=25), steps=700, fault=Fault("growing", 3.0)),
    learning_rate_fault("third mlp adamw wave last layer's rate", net=Net("mlp", (32, 24)), dataset="wave",
                        optim=Optim("adamw", 0.003), loader=Loader(batch=16), steps=900,
                        fault=Fault("layer_rate", 100.0, layer=1)),
    learning_rate_fault("third functional sgd pixels first layer's rate", net=Net("functional", (32, 32, 32)),
                        dataset="pixels", optim=Optim("sgd", 0.2), steps=500,
                        fault=Fault("layer_rate", 100.0, layer=0)),
    learning_rate_fault("third autoencoder rmsprop code's rate", net=Net("autoencoder", (64, 32, 64)), dataset="copies",
                        optim=Optim("rmsprop", 0.0005), steps=500, fault=Fault("layer_rate", 300.0, layer=1)),
    learning_rate_fault("third cnn sgd momentum of 0.997", net=Net("cnn", (8, 16, 24)), dataset="images",
                        optim=Optim("sgd", 0.04), schedule=Schedule("warmup", 90), steps=450,
                        fault=Fault("momentum", 0.997, start=157)),
    learning_rate_fault("third autoencoder momentum of 0.995", net=Net("autoencoder", (64, 32, 64)), dataset="copies",
                        optim=Optim("momentum", 0.2), steps=700, fault=Fault("momentum", 0.995, start=291)),
    learning_rate_fault("third functional sgd resumed too high", net=Net("functional", (56, 56, 28)), dataset="pixels",
                        optim=Optim("sgd", 0.2), schedule=Schedule("cosine"), steps=800,
                        fault=Fault("resume", 4.0, start=448)),
    learning_rate_fault("third mlp adamw diabetes resumed too high", net=Net("mlp", (40, 20)), dataset="diabetes",
                        optim=Optim("adamw", 0.001), schedule=Schedule("warmup", 100), loader=Loader(batch=16),
                        steps=700, fault=Fault("resume", 150.0, start=361)),
)  # fmt: skip

RECIPES = (*MLPS, *IMAGE_NETS, *OTHERS, *OTHER_KINDS, *heldout_3_faults.RECIPES)
