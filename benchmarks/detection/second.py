"""The second held-out half: recipes written by somebody who knew recipes and truth, and nothing of the detector.

They were amended until faults brought a collapse and healthy trainings none, by the truth alone. The healthy ones stand
here, the ill ones in ``second_ill``.
"""

from __future__ import annotations

from functools import partial

import second_ill
from recipe import Fault, Loader, Net, Optim, Pace, Recipe, Start

well = partial(Recipe, group="healthy")

MLPS = (
    well("second mlp rmsprop penalty, three layers", net=Net("mlp", (80, 40, 40)), optim=Optim("rmsprop", 0.0007),
         penalty=0.008, loader=Loader(batch=16), steps=800, sparse=True),
    well("second mlp sgd selective pixels", net=Net("mlp", (112, 56)), material="pixels", optim=Optim("sgd", 0.05),
         penalty=0.001, start=(Start("selective", 0.06, layer=1),), loader=Loader(batch=8), steps=900, sparse=True),
    well("second mlp adam domains, long blocks", net=Net("mlp", (72, 72)), material="domains",
         optim=Optim("adam", 0.0006), loader=Loader("blocks", batch=24, block=90, span=1), steps=900),
    well("second mlp momentum wine at a high rate", net=Net("mlp", (40, 24)), material="wine",
         optim=Optim("momentum", 0.1), loader=Loader(batch=16), steps=500),
    well("second mlp adamw one-cycle, dropout", net=Net("mlp", (100, 50), dropout=0.25), optim=Optim("adamw", 0.008),
         pace=Pace("onecycle"), steps=600),
    well("second mlp sgd cancer spike survived", net=Net("mlp", (48, 32)), material="cancer", optim=Optim("sgd", 0.05),
         loader=Loader(batch=8), steps=600, benign=(Fault("rate", 15.0, at=266, until=276),)),
    well("second mlp rmsprop tiny last layer", net=Net("mlp", (56, 40, 6)), optim=Optim("rmsprop", 0.001), steps=500),
    well("second mlp adamw one input, absolute", net=Net("mlp", (40, 40)), material="absolute",
         optim=Optim("adamw", 0.002), loader=Loader(batch=8), steps=700),
    well("second mlp gelu sgd darker input", net=Net("mlp", (80, 40), activation="gelu"), optim=Optim("sgd", 0.05),
         benign=(Fault("offset", -1.5, at=236),)),
    well("second mlp leaky rmsprop pushed", net=Net("mlp", (64, 64), activation="leaky_relu"),
         optim=Optim("rmsprop", 0.001), benign=(Fault("push", 0.01, at=160, ramp=100),)),
    well("second mlp adam batch of 4, few dead", net=Net("mlp", (48, 40)), optim=Optim("adam", 0.0004),
         start=(Start("few_dead", 0.3),), loader=Loader(batch=4), steps=1500),
    well("second mlp sgd friedman gain drifts", net=Net("mlp", (56, 28)), material="friedman",
         optim=Optim("sgd", 0.02), loader=Loader(batch=16), benign=(Fault("gain", 1.6, at=180, ramp=250),), steps=700),
)  # fmt: skip

IMAGE_NETS = (
    well("second cnn rmsprop warm-up", net=Net("cnn", (10, 20, 40)), material="images", optim=Optim("rmsprop", 0.0015),
         pace=Pace("warmup", 180), steps=450),
    well("second cnn adam unshuffled", net=Net("cnn", (8, 12, 40)), material="images", optim=Optim("adam", 0.0005),
         loader=Loader("sorted", batch=10), steps=600),
    well("second cnn momentum pixel penalty", net=Net("cnn", (8, 16, 40)), material="pixel_images",
         optim=Optim("momentum", 0.01), penalty=0.006, loader=Loader(batch=8), steps=700, sparse=True),
    well("second cnn sgd restarts, few dead", net=Net("cnn", (12, 20, 32)), material="images",
         optim=Optim("sgd", 0.12), pace=Pace("restarts", 110), start=(Start("few_dead", 0.25, layer=2),), steps=440),
    well("second cnn leaky adamw raised", net=Net("cnn", (8, 16, 32), activation="leaky_relu"), material="images",
         optim=Optim("adamw", 0.001), benign=(Fault("rate", 12.0, at=187),), steps=350),
    well("second residual images sgd cyclic", net=Net("residual", (10, 14, 14)), material="images",
         optim=Optim("sgd", 0.08), pace=Pace("cyclic", 90), steps=360),
    well("second batchnorm images rmsprop brighter", net=Net("batchnorm", (10, 16, 40)), material="pixel_images",
         optim=Optim("rmsprop", 0.001), benign=(Fault("offset", 0.6, at=173, until=290),), steps=380),
)  # fmt: skip

OTHERS = (
    well("second residual rmsprop penalty, cosine", net=Net("residual", (40, 56, 40)), optim=Optim("rmsprop", 0.0007),
         pace=Pace("cosine"), penalty=0.008, steps=600, sparse=True),
    well("second residual adam in order", net=Net("residual", (56, 40)), optim=Optim("adam", 0.0004),
         loader=Loader("sorted", batch=20), steps=800),
    well("second residual momentum one input", net=Net("residual", (32, 32, 32)), material="wave",
         optim=Optim("momentum", 0.005), loader=Loader(batch=16), steps=700),
    well("second batchnorm sgd high rate, warm-up", net=Net("batchnorm", (72, 72, 36)), optim=Optim("sgd", 0.6),
         pace=Pace("warmup", 140), steps=450),
    well("second batchnorm adamw rare classes", net=Net("batchnorm", (80, 40)), material="rare",
         optim=Optim("adamw", 0.001), loader=Loader(batch=16), steps=700),
    well("second batchnorm momentum spike survived", net=Net("batchnorm", (64, 64)), optim=Optim("momentum", 0.02),
         benign=(Fault("rate", 20.0, at=277, until=289),)),
    well("second functional sgd penalty", net=Net("functional", (88, 44)), optim=Optim("sgd", 0.08), penalty=0.02,
         loader=Loader(batch=16), steps=900, sparse=True),
    well("second functional wide rmsprop cyclic", net=Net("functional", (1024, 40)), optim=Optim("rmsprop", 0.0005),
         pace=Pace("cyclic", 150), steps=450),
    well("second functional momentum domains", net=Net("functional", (80, 56)), material="domains",
         optim=Optim("momentum", 0.006), loader=Loader("blocks", block=35, span=1), steps=700),
    well("second functional adamw cancer batch of 4", net=Net("functional", (40, 24)), material="cancer",
         optim=Optim("adamw", 0.0007), loader=Loader(batch=4), steps=1200),
    well("second transformer text sgd cosine", net=Net("transformer", (28, 96)), material="text",
         optim=Optim("sgd", 0.3), pace=Pace("cosine"), loader=Loader(batch=16), steps=500),
    well("second transformer text momentum penalty", net=Net("transformer", (32, 128)), material="text",
         optim=Optim("momentum", 0.05), penalty=0.015, loader=Loader(batch=12), steps=600, sparse=True),
    well("second transformer rows rmsprop in order", net=Net("transformer", (28, 72)), material="rows",
         optim=Optim("rmsprop", 0.0007), penalty=0.01, loader=Loader("sorted", batch=16), steps=500, sparse=True),
    well("second transformer rows adam raised soundly", net=Net("transformer", (24, 80)), material="rows",
         optim=Optim("adam", 0.0007), benign=(Fault("rate", 8.0, at=196),), steps=420),
    well("second autoencoder momentum one-cycle", net=Net("autoencoder", (56, 20, 56)), material="copies",
         optim=Optim("momentum", 0.3), pace=Pace("onecycle"), steps=600),
    well("second autoencoder rmsprop selective", net=Net("autoencoder", (160,)), material="pixel_copies",
         optim=Optim("rmsprop", 0.0005), penalty=0.0005, start=(Start("selective", 0.08),), steps=700, sparse=True),
    well("second autoencoder adam blocks, dimmer", net=Net("autoencoder", (64, 32, 64)), material="copies",
         optim=Optim("adam", 0.001), loader=Loader("blocks", block=25, span=3),
         benign=(Fault("gain", 0.6, at=333),), steps=700),
)  # fmt: skip

RECIPES = (*MLPS, *IMAGE_NETS, *OTHERS, *second_ill.RECIPES)
