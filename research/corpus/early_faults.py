"""Faults from the first step on, as a part of the kinds that is for development alone.

Written after the first look at the half of ``kinds`` that is only reported on, which stayed as it was.
"""

from __future__ import annotations

from functools import partial

from research.corpus.recipe import Fault, Net, Optim, Recipe

pushed = partial(Recipe, group="bias", cause="negative_bias")
high_rate = partial(Recipe, group="high_rate", cause="high_learning_rate")
initialized = partial(Recipe, group="start", cause="bad_initialization")
IMAGES = Net("cnn", (8, 16, 32))

EARLY = (
    high_rate("early: rate mlp momentum 60", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.02),
              steps=60, fault=Fault("rate", 60.0)),
    high_rate("early: rate mlp momentum 25", net=Net("mlp", (64, 64, 32)), optim=Optim("momentum", 0.02),
              steps=60, fault=Fault("rate", 25.0)),
    high_rate("early: rate functional momentum 40", net=Net("functional", (64, 48)), optim=Optim("momentum", 0.02),
              steps=60, fault=Fault("rate", 40.0)),
    high_rate("early: rate mlp sgd 30", net=Net("mlp", (128, 64)), optim=Optim("sgd", 0.1),
              steps=60, fault=Fault("rate", 30.0)),
    high_rate("early: rate residual momentum 40", net=Net("residual", (48, 48)), optim=Optim("momentum", 0.01),
              steps=60, fault=Fault("rate", 40.0)),
    high_rate("early: rate mlp adamw 60", net=Net("mlp", (64, 32)), optim=Optim("adamw", 0.001),
              steps=60, fault=Fault("rate", 60.0)),
    high_rate("early: rate functional adam 40", net=Net("functional", (96, 64)), optim=Optim("adam", 0.001),
              steps=60, fault=Fault("rate", 40.0)),
    high_rate("early: rate mlp rmsprop 100", net=Net("mlp", (96, 48)), optim=Optim("rmsprop", 0.0005),
              steps=60, fault=Fault("rate", 100.0)),
    pushed("early: push mlp momentum", net=Net("mlp", (96, 48)), optim=Optim("momentum", 0.02),
              steps=60, fault=Fault("push", 0.05)),
    pushed("early: push functional rmsprop", net=Net("functional", (64, 48)), optim=Optim("rmsprop", 0.001),
              steps=60, fault=Fault("push", 0.1)),
    pushed("early: push mlp adam", net=Net("mlp", (64, 64, 32)), optim=Optim("adam", 0.005),
              steps=60, fault=Fault("push", 0.1)),
    pushed("early: push residual momentum", net=Net("residual", (48, 48)), optim=Optim("momentum", 0.01),
              steps=60, fault=Fault("push", 0.1)),
    pushed("early: bias_target mlp adam", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.003),
              steps=60, fault=Fault("bias_target", -4.0)),
    pushed("early: part_push mlp adam", net=Net("mlp", (64, 48)), optim=Optim("adam", 0.003),
              steps=60, fault=Fault("part_push", 0.1)),
    pushed("early: bias_target functional momentum", net=Net("functional", (64, 48)), optim=Optim("momentum", 0.02),
              steps=60, fault=Fault("bias_target", -4.0)),
    pushed("early: push mlp sgd", net=Net("mlp", (64, 48)), optim=Optim("sgd", 0.1),
              steps=60, fault=Fault("push", 0.2)),
    initialized("early: one huge, adam", net=Net("mlp", (64, 48, 48)), optim=Optim("adam", 0.003),
              steps=60, fault=Fault("huge", 50.0, layer=0)),
    initialized("early: one huge, sgd", net=Net("functional", (64, 48, 32)), optim=Optim("sgd", 0.05),
              steps=60, fault=Fault("huge", 30.0, layer=1)),
    initialized("early: one huge, cnn", net=IMAGES, dataset="images", optim=Optim("adam", 0.003),
              steps=60, fault=Fault("huge", 40.0, layer=0)),
)  # fmt: skip
