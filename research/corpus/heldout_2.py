"""The second held-out set: its healthy trainings. The faulty ones are in ``heldout_2_faults``.

Their author knew the recipes and the ground truth, but not the detector, and amended them by the ground truth alone
until faults brought a collapse and healthy trainings none. Their names begin with "second".
"""

from __future__ import annotations

from functools import partial

from research.corpus import heldout_2_faults
from research.corpus.recipe import Fault, Initialization, Loader, Net, Optim, Recipe, Schedule

healthy = partial(Recipe, group="healthy")

MLPS = (
    healthy("second mlp rmsprop penalty, three layers", net=Net("mlp", (80, 40, 40)), optim=Optim("rmsprop", 0.0007),
            penalty=0.008, loader=Loader(batch=16), steps=800, sparse=True),
    healthy("second mlp sgd selective pixels", net=Net("mlp", (112, 56)), dataset="pixels", optim=Optim("sgd", 0.05),
            penalty=0.001, initialization=(Initialization("selective", 0.06, layer=1),), loader=Loader(batch=8),
            steps=900, sparse=True),
    healthy("second mlp adam domains, long blocks", net=Net("mlp", (72, 72)), dataset="domains",
            optim=Optim("adam", 0.0006), loader=Loader("blocks", batch=24, block=90, span=1), steps=900),
    healthy("second mlp momentum wine at a high rate", net=Net("mlp", (40, 24)), dataset="wine",
            optim=Optim("momentum", 0.1), loader=Loader(batch=16), steps=500),
    healthy("second mlp adamw one-cycle, dropout", net=Net("mlp", (100, 50), dropout=0.25), optim=Optim("adamw", 0.008),
            schedule=Schedule("onecycle"), steps=600),
    healthy("second mlp sgd cancer spike survived", net=Net("mlp", (48, 32)), dataset="cancer",
            optim=Optim("sgd", 0.05), loader=Loader(batch=8), steps=600,
            benign=(Fault("rate", 15.0, start=266, end=276),)),
    healthy("second mlp rmsprop tiny last layer", net=Net("mlp", (56, 40, 6)), optim=Optim("rmsprop", 0.001),
            steps=500),
    healthy("second mlp adamw one input, absolute", net=Net("mlp", (40, 40)), dataset="absolute",
            optim=Optim("adamw", 0.002), loader=Loader(batch=8), steps=700),
    healthy("second mlp gelu sgd darker input", net=Net("mlp", (80, 40), activation="gelu"), optim=Optim("sgd", 0.05),
            benign=(Fault("offset", -1.5, start=236),)),
    healthy("second mlp leaky rmsprop pushed", net=Net("mlp", (64, 64), activation="leaky_relu"),
            optim=Optim("rmsprop", 0.001), benign=(Fault("push", 0.01, start=160, ramp=100),)),
    healthy("second mlp adam batch of 4, few dead", net=Net("mlp", (48, 40)), optim=Optim("adam", 0.0004),
            initialization=(Initialization("few_dead", 0.3),), loader=Loader(batch=4), steps=1500),
    healthy("second mlp sgd friedman gain drifts", net=Net("mlp", (56, 28)), dataset="friedman",
            optim=Optim("sgd", 0.02), loader=Loader(batch=16), benign=(Fault("gain", 1.6, start=180, ramp=250),),
            steps=700),
)  # fmt: skip

IMAGE_NETS = (
    healthy("second cnn rmsprop warm-up", net=Net("cnn", (10, 20, 40)), dataset="images",
            optim=Optim("rmsprop", 0.0015), schedule=Schedule("warmup", 180), steps=450),
    healthy("second cnn adam unshuffled", net=Net("cnn", (8, 12, 40)), dataset="images", optim=Optim("adam", 0.0005),
            loader=Loader("sorted", batch=10), steps=600),
    healthy("second cnn momentum pixel penalty", net=Net("cnn", (8, 16, 40)), dataset="pixel_images",
            optim=Optim("momentum", 0.01), penalty=0.006, loader=Loader(batch=8), steps=700, sparse=True),
    healthy("second cnn sgd restarts, few dead", net=Net("cnn", (12, 20, 32)), dataset="images",
            optim=Optim("sgd", 0.12), schedule=Schedule("restarts", 110),
            initialization=(Initialization("few_dead", 0.25, layer=2),), steps=440),
    healthy("second cnn leaky adamw raised", net=Net("cnn", (8, 16, 32), activation="leaky_relu"), dataset="images",
            optim=Optim("adamw", 0.001), benign=(Fault("rate", 12.0, start=187),), steps=350),
    healthy("second residual images sgd cyclic", net=Net("residual", (10, 14, 14)), dataset="images",
            optim=Optim("sgd", 0.08), schedule=Schedule("cyclic", 90), steps=360),
    healthy("second batchnorm images rmsprop brighter", net=Net("batchnorm", (10, 16, 40)), dataset="pixel_images",
            optim=Optim("rmsprop", 0.001), benign=(Fault("offset", 0.6, start=173, end=290),), steps=380),
)  # fmt: skip

OTHERS = (
    healthy("second residual rmsprop penalty, cosine", net=Net("residual", (40, 56, 40)),
            optim=Optim("rmsprop", 0.0007), schedule=Schedule("cosine"), penalty=0.008, steps=600, sparse=True),
    healthy("second residual adam in order", net=Net("residual", (56, 40)), optim=Optim("adam", 0.0004),
            loader=Loader("sorted", batch=20), steps=800),
    healthy("second residual momentum one input", net=Net("residual", (32, 32, 32)), dataset="wave",
            optim=Optim("momentum", 0.005), loader=Loader(batch=16), steps=700),
    healthy("second batchnorm sgd high rate, warm-up", net=Net("batchnorm", (72, 72, 36)), optim=Optim("sgd", 0.6),
            schedule=Schedule("warmup", 140), steps=450),
    healthy("second batchnorm adamw rare classes", net=Net("batchnorm", (80, 40)), dataset="rare",
            optim=Optim("adamw", 0.001), loader=Loader(batch=16), steps=700),
    healthy("second batchnorm momentum spike survived", net=Net("batchnorm", (64, 64)), optim=Optim("momentum", 0.02),
            benign=(Fault("rate", 20.0, start=277, end=289),)),
    healthy("second functional sgd penalty", net=Net("functional", (88, 44)), optim=Optim("sgd", 0.08), penalty=0.02,
            loader=Loader(batch=16), steps=900, sparse=True),
    healthy("second functional wide rmsprop cyclic", net=Net("functional", (1024, 40)), optim=Optim("rmsprop", 0.0005),
            schedule=Schedule("cyclic", 150), steps=450),
    healthy("second functional momentum domains", net=Net("functional", (80, 56)), dataset="domains",
            optim=Optim("momentum", 0.006), loader=Loader("blocks", block=35, span=1), steps=700),
    healthy("second functional adamw cancer batch of 4", net=Net("functional", (40, 24)), dataset="cancer",
            optim=Optim("adamw", 0.0007), loader=Loader(batch=4), steps=1200),
    healthy("second transformer text sgd cosine", net=Net("transformer", (28, 96)), dataset="text",
            optim=Optim("sgd", 0.3), schedule=Schedule("cosine"), loader=Loader(batch=16), steps=500),
    healthy("second transformer text momentum penalty", net=Net("transformer", (32, 128)), dataset="text",
            optim=Optim("momentum", 0.05), penalty=0.015, loader=Loader(batch=12), steps=600, sparse=True),
    healthy("second transformer rows rmsprop in order", net=Net("transformer", (28, 72)), dataset="rows",
            optim=Optim("rmsprop", 0.0007), penalty=0.01, loader=Loader("sorted", batch=16), steps=500, sparse=True),
    healthy("second transformer rows adam raised soundly", net=Net("transformer", (24, 80)), dataset="rows",
            optim=Optim("adam", 0.0007), benign=(Fault("rate", 8.0, start=196),), steps=420),
    healthy("second autoencoder momentum one-cycle", net=Net("autoencoder", (56, 20, 56)), dataset="copies",
            optim=Optim("momentum", 0.3), schedule=Schedule("onecycle"), steps=600),
    healthy("second autoencoder rmsprop selective", net=Net("autoencoder", (160,)), dataset="pixel_copies",
            optim=Optim("rmsprop", 0.0005), penalty=0.0005, initialization=(Initialization("selective", 0.08),),
            steps=700, sparse=True),
    healthy("second autoencoder adam blocks, dimmer", net=Net("autoencoder", (64, 32, 64)), dataset="copies",
            optim=Optim("adam", 0.001), loader=Loader("blocks", block=25, span=3),
            benign=(Fault("gain", 0.6, start=333),), steps=700),
)  # fmt: skip

RECIPES = (*MLPS, *IMAGE_NETS, *OTHERS, *heldout_2_faults.RECIPES)
