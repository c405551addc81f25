"""Biases that are or become negative: at the start, by a group's rate, by a regulariser, by targets, by decay, as β."""

from __future__ import annotations

from functools import partial

from recipe import Fault, Loader, Net, Optim, Recipe, Start

ill = partial(Recipe, group="bias", cause="negative_bias")
IMAGES = Net("cnn", (8, 16, 32))
POSITIVE = (Start("positive_head"),)
SLOW = (Fault("bias_rate", 0.05),)

RECIPES = (
    ill("mlp bias of -8", net=Net("mlp", (96, 64)), optim=Optim("momentum", 0.02), fault=Fault("bias", -8.0, layer=1)),
    ill("mlp adam biases' rate", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.001, groups=True), penalty=0.01,
        steps=1200, fault=Fault("bias_rate", 60.0), sparse=True),
    ill("mlp slow push", net=Net("mlp", (64, 48)), optim=Optim("sgd", 0.05), steps=1200,
        fault=Fault("push", 0.005, at=200, ramp=300, layer=1)),
    ill("mlp rmsprop decay of weights", net=Net("mlp", (64, 32)), material="cancer", optim=Optim("rmsprop", 0.001),
        start=(Start("bias", -0.3),), steps=700, loader=Loader(batch=16), benign=SLOW,
        fault=Fault("decay", 0.1, at=204)),
    ill("mlp adam targets fall", net=Net("mlp", (48, 32)), material="counts", optim=Optim("adam", 0.002),
        start=POSITIVE, steps=1000, loader=Loader(batch=16), fault=Fault("target", 8.0, at=200, ramp=600)),
    ill("mlp sparse adamw drift", net=Net("mlp", (128, 64)), optim=Optim("adamw", 0.001), penalty=0.01, steps=1200,
        fault=Fault("push", 0.006, at=400, ramp=400, layer=0), sparse=True),
    ill("mlp first layer drifts", net=Net("mlp", (48, 48, 48)), optim=Optim("momentum", 0.01), steps=800,
        fault=Fault("push", 0.02, at=200, layer=0)),
    ill("mlp wide adam push", net=Net("mlp", (1024, 32)), optim=Optim("adam", 0.0005), steps=600,
        fault=Fault("push", 0.0008, at=150, ramp=100, layer=0)),
    ill("cnn sgd push", net=IMAGES, material="images", optim=Optim("sgd", 0.05), steps=900,
        fault=Fault("push", 0.01, at=150, layer=1)),
    ill("cnn rmsprop bias of -4", net=IMAGES, material="images", optim=Optim("rmsprop", 0.0005), steps=350,
        fault=Fault("bias", -4.0, layer=1)),
    ill("cnn adam hidden drifts", net=Net("cnn", (8, 12, 48)), material="images", optim=Optim("adam", 0.0005),
        steps=700, fault=Fault("push", 0.006, at=200, layer=2)),
    ill("residual adamw decay of weights", net=Net("residual", (48, 48, 48)), optim=Optim("adamw", 0.002),
        start=(Start("bias", -0.3, layer=1),), steps=600, benign=SLOW, fault=Fault("decay", 20.0, at=203)),
    ill("residual momentum push", net=Net("residual", (48, 64, 64)), optim=Optim("momentum", 0.005), steps=800,
        fault=Fault("push", 0.004, at=150, layer=1)),
    ill("residual adam inner push", net=Net("residual", (64, 48)), optim=Optim("adam", 0.001), steps=700,
        fault=Fault("push", 0.002, at=200, ramp=200, layer=1)),
    ill("batchnorm momentum beta pushed", net=Net("batchnorm", (64, 48)), optim=Optim("momentum", 0.01), steps=900,
        fault=Fault("push", 0.3, at=200, layer=1)),
    ill("batchnorm adam betas' rate", net=Net("batchnorm", (64, 48)), optim=Optim("adam", 0.001, groups=True),
        penalty=0.03, steps=700, fault=Fault("bias_rate", 30.0)),
    ill("batchnorm images beta of -6", net=Net("batchnorm", (8, 16, 32)), material="images",
        optim=Optim("adamw", 0.002), steps=350, fault=Fault("bias", -6.0, layer=1)),
    ill("functional rmsprop targets fall", net=Net("functional", (64, 32)), material="counts", steps=900,
        optim=Optim("rmsprop", 0.001), start=POSITIVE, loader=Loader(batch=16),
        fault=Fault("target", 12.0, at=150, ramp=700)),
    ill("functional sgd decay of weights", net=Net("functional", (64, 48)), optim=Optim("sgd", 0.1), steps=900,
        start=(Start("bias", -0.2),), fault=Fault("decay", 0.08)),
    ill("functional batch of 4 drifts", net=Net("functional", (64, 48)), optim=Optim("momentum", 0.002), steps=1500,
        loader=Loader(batch=4), fault=Fault("push", 0.01, at=300, ramp=300, layer=1)),
    ill("transformer adamw push", net=Net("transformer", (32, 96)), material="text", optim=Optim("adamw", 0.002),
        steps=600, loader=Loader(batch=16), fault=Fault("push", 0.004, at=150)),
    ill("transformer rows momentum biases' rate", net=Net("transformer", (24, 64)), material="rows",
        optim=Optim("momentum", 0.02, groups=True), penalty=0.02, steps=600, fault=Fault("bias_rate", 20.0),
        sparse=True),
    ill("transformer rows adam push", net=Net("transformer", (32, 64)), material="rows", optim=Optim("adam", 0.001),
        steps=600, fault=Fault("push", 0.003, at=200, ramp=100, layer=1)),
    ill("autoencoder adam push", net=Net("autoencoder", (48, 24, 48)), material="copies", optim=Optim("adam", 0.001),
        steps=700, fault=Fault("push", 0.0005, at=150, layer=2)),
    ill("autoencoder sparse adam push", net=Net("autoencoder", (192,)), material="copies", optim=Optim("adam", 0.002),
        penalty=0.004, steps=1000, fault=Fault("push", 0.003, at=400, ramp=300), sparse=True),
    ill("autoencoder rmsprop targets fall", net=Net("autoencoder", (48, 24), output_relu=True), steps=900,
        material="pixel_copies", optim=Optim("rmsprop", 0.001), fault=Fault("target", 1.2, at=200, ramp=500)),
    ill("autoencoder momentum bias of -5", net=Net("autoencoder", (64, 32, 64)), material="copies", steps=350,
        optim=Optim("momentum", 0.1), fault=Fault("bias", -5.0, layer=1)),
    ill("autoencoder sgd first layer drifts", net=Net("autoencoder", (64, 24, 64)), material="copies", steps=900,
        optim=Optim("sgd", 0.3), fault=Fault("push", 0.002, at=250, ramp=200, layer=0)),
)  # fmt: skip
