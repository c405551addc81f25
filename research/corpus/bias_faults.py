"""Biases that are or become negative: initially, by a group's learning rate, a regularizer, targets or decay."""

from __future__ import annotations

from functools import partial

from research.corpus.recipe import Fault, Initialization, Loader, Net, Optim, Recipe

faulty = partial(Recipe, group="bias", cause="negative_bias")
IMAGES = Net("cnn", (8, 16, 32))
POSITIVE_HEAD = (Initialization("positive_head"),)
SLOW_BIASES = (Fault("bias_rate", 0.05),)

RECIPES = (
    faulty("mlp bias of -8", net=Net("mlp", (96, 64)), optim=Optim("momentum", 0.02),
           fault=Fault("bias", -8.0, layer=1)),
    faulty("mlp adam biases' rate", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.001, groups=True), penalty=0.01,
           steps=1200, fault=Fault("bias_rate", 60.0), sparse=True),
    faulty("mlp slow push", net=Net("mlp", (64, 48)), optim=Optim("sgd", 0.05), steps=1200,
           fault=Fault("push", 0.005, start=200, ramp=300, layer=1)),
    faulty("mlp rmsprop decay of weights", net=Net("mlp", (64, 32)), dataset="cancer", optim=Optim("rmsprop", 0.001),
           initialization=(Initialization("bias", -0.3),), steps=700, loader=Loader(batch=16), benign=SLOW_BIASES,
           fault=Fault("decay", 0.1, start=204)),
    faulty("mlp adam targets fall", net=Net("mlp", (48, 32)), dataset="counts", optim=Optim("adam", 0.002),
           initialization=POSITIVE_HEAD, steps=1000, loader=Loader(batch=16),
           fault=Fault("target", 8.0, start=200, ramp=600)),
    faulty("mlp sparse adamw drift", net=Net("mlp", (128, 64)), optim=Optim("adamw", 0.001), penalty=0.01, steps=1200,
           fault=Fault("push", 0.006, start=400, ramp=400, layer=0), sparse=True),
    faulty("mlp first layer drifts", net=Net("mlp", (48, 48, 48)), optim=Optim("momentum", 0.01), steps=800,
           fault=Fault("push", 0.02, start=200, layer=0)),
    faulty("mlp wide adam push", net=Net("mlp", (1024, 32)), optim=Optim("adam", 0.0005), steps=600,
           fault=Fault("push", 0.0008, start=150, ramp=100, layer=0)),
    faulty("cnn sgd push", net=IMAGES, dataset="images", optim=Optim("sgd", 0.05), steps=900,
           fault=Fault("push", 0.01, start=150, layer=1)),
    faulty("cnn rmsprop bias of -4", net=IMAGES, dataset="images", optim=Optim("rmsprop", 0.0005), steps=350,
           fault=Fault("bias", -4.0, layer=1)),
    faulty("cnn adam hidden drifts", net=Net("cnn", (8, 12, 48)), dataset="images", optim=Optim("adam", 0.0005),
           steps=700, fault=Fault("push", 0.006, start=200, layer=2)),
    faulty("residual adamw decay of weights", net=Net("residual", (48, 48, 48)), optim=Optim("adamw", 0.002),
           initialization=(Initialization("bias", -0.3, layer=1),), steps=600, benign=SLOW_BIASES,
           fault=Fault("decay", 20.0, start=203)),
    faulty("residual momentum push", net=Net("residual", (48, 64, 64)), optim=Optim("momentum", 0.005), steps=800,
           fault=Fault("push", 0.004, start=150, layer=1)),
    faulty("residual adam inner push", net=Net("residual", (64, 48)), optim=Optim("adam", 0.001), steps=700,
           fault=Fault("push", 0.002, start=200, ramp=200, layer=1)),
    faulty("batchnorm momentum beta pushed", net=Net("batchnorm", (64, 48)), optim=Optim("momentum", 0.01), steps=900,
           fault=Fault("push", 0.3, start=200, layer=1)),
    faulty("batchnorm adam betas' rate", net=Net("batchnorm", (64, 48)), optim=Optim("adam", 0.001, groups=True),
           penalty=0.03, steps=700, fault=Fault("bias_rate", 30.0)),
    faulty("batchnorm images beta of -6", net=Net("batchnorm", (8, 16, 32)), dataset="images",
           optim=Optim("adamw", 0.002), steps=350, fault=Fault("bias", -6.0, layer=1)),
    faulty("functional rmsprop targets fall", net=Net("functional", (64, 32)), dataset="counts", steps=900,
           optim=Optim("rmsprop", 0.001), initialization=POSITIVE_HEAD, loader=Loader(batch=16),
           fault=Fault("target", 12.0, start=150, ramp=700)),
    faulty("functional sgd decay of weights", net=Net("functional", (64, 48)), optim=Optim("sgd", 0.1), steps=900,
           initialization=(Initialization("bias", -0.2),), fault=Fault("decay", 0.08)),
    faulty("functional batch of 4 drifts", net=Net("functional", (64, 48)), optim=Optim("momentum", 0.002), steps=1500,
           loader=Loader(batch=4), fault=Fault("push", 0.01, start=300, ramp=300, layer=1)),
    faulty("transformer adamw push", net=Net("transformer", (32, 96)), dataset="text", optim=Optim("adamw", 0.002),
           steps=600, loader=Loader(batch=16), fault=Fault("push", 0.004, start=150)),
    faulty("transformer rows momentum biases' rate", net=Net("transformer", (24, 64)), dataset="rows",
           optim=Optim("momentum", 0.02, groups=True), penalty=0.02, steps=600, fault=Fault("bias_rate", 20.0),
           sparse=True),
    faulty("transformer rows adam push", net=Net("transformer", (32, 64)), dataset="rows", optim=Optim("adam", 0.001),
           steps=600, fault=Fault("push", 0.003, start=200, ramp=100, layer=1)),
    faulty("autoencoder adam push", net=Net("autoencoder", (48, 24, 48)), dataset="copies", optim=Optim("adam", 0.001),
           steps=700, fault=Fault("push", 0.0005, start=150, layer=2)),
    faulty("autoencoder sparse adam push", net=Net("autoencoder", (192,)), dataset="copies", optim=Optim("adam", 0.002),
           penalty=0.004, steps=1000, fault=Fault("push", 0.003, start=400, ramp=300), sparse=True),
    faulty("autoencoder rmsprop targets fall", net=Net("autoencoder", (48, 24), output_relu=True), steps=900,
           dataset="pixel_copies", optim=Optim("rmsprop", 0.001), fault=Fault("target", 1.2, start=200, ramp=500)),
    faulty("autoencoder momentum bias of -5", net=Net("autoencoder", (64, 32, 64)), dataset="copies", steps=350,
           optim=Optim("momentum", 0.1), fault=Fault("bias", -5.0, layer=1)),
    faulty("autoencoder sgd first layer drifts", net=Net("autoencoder", (64, 24, 64)), dataset="copies", steps=900,
           optim=Optim("sgd", 0.3), fault=Fault("push", 0.002, start=250, ramp=200, layer=0)),
)  # fmt: skip
