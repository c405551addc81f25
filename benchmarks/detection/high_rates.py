"""Faults of the learning rate: constant, spike, overshooting warm-up, wrong resume, growing restarts, momentum."""

from __future__ import annotations

from functools import partial

from recipe import Fault, Loader, Net, Optim, Pace, Recipe

ill = partial(Recipe, group="high_rate", cause="high_learning_rate")
IMAGES = Net("cnn", (8, 16, 32))

RECIPES = (
    ill("mlp momentum constant", net=Net("mlp", (128, 64)), optim=Optim("momentum", 0.05), fault=Fault("rate", 12.0)),
    ill("mlp rmsprop constant", net=Net("mlp", (64, 32)), optim=Optim("rmsprop", 0.001), fault=Fault("rate", 100.0)),
    ill("mlp adam spike", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.002),
        fault=Fault("rate", 45.0, at=303, until=353)),
    ill("mlp sgd raised", net=Net("mlp", (64, 64, 64)), optim=Optim("sgd", 0.1), fault=Fault("rate", 10.0, at=247)),
    ill("mlp sgd creeps", net=Net("mlp", (64, 64, 64)), optim=Optim("sgd", 0.1), steps=600,
        fault=Fault("rate", 14.0, at=200, ramp=250)),
    ill("mlp wide momentum raised", net=Net("mlp", (1024, 64)), optim=Optim("momentum", 0.02), steps=400,
        fault=Fault("rate", 40.0, at=205)),
    ill("mlp sparse adam raised", net=Net("mlp", (128, 64)), optim=Optim("adam", 0.002), penalty=0.01, steps=700,
        fault=Fault("rate", 25.0, at=403), sparse=True),
    ill("cnn momentum spike", net=IMAGES, material="images", optim=Optim("momentum", 0.02), steps=400,
        fault=Fault("rate", 60.0, at=204, until=216)),
    ill("cnn adamw growing restarts", net=IMAGES, material="images", optim=Optim("adamw", 0.003), steps=600,
        pace=Pace("restarts", 100), fault=Fault("growing", 3.0)),
    ill("cnn sgd creeps", net=Net("cnn", (12, 24, 48)), material="images", optim=Optim("sgd", 0.05),
        fault=Fault("rate", 60.0, at=150, ramp=200)),
    ill("residual rmsprop warm-up overshoots", net=Net("residual", (48, 48, 48)), optim=Optim("rmsprop", 0.0005),
        pace=Pace("warmup", 250), fault=Fault("rate", 150.0)),
    ill("residual sgd wrong resume", net=Net("residual", (64, 64, 32)), optim=Optim("sgd", 0.1, clip=5.0),
        pace=Pace("cosine"), warm_steps=150, fault=Fault("rate", 12.0)),
    ill("residual images adam spike", net=Net("residual", (12, 16, 16)), material="images", optim=Optim("adam", 0.002),
        steps=350, fault=Fault("rate", 40.0, at=186, until=236)),
    ill("residual wide momentum creeps", net=Net("residual", (32, 1024)), optim=Optim("momentum", 0.01), steps=500,
        fault=Fault("rate", 60.0, at=150, ramp=200)),
    ill("batchnorm adam constant", net=Net("batchnorm", (96, 48)), optim=Optim("adam", 0.003),
        fault=Fault("rate", 200.0)),
    ill("batchnorm images momentum spike", net=Net("batchnorm", (8, 16, 32)), material="images", steps=400,
        optim=Optim("momentum", 0.05), fault=Fault("rate", 100.0, at=203, until=233)),
    ill("batchnorm rmsprop creeps", net=Net("batchnorm", (96, 48)), optim=Optim("rmsprop", 0.001), steps=600,
        fault=Fault("rate", 400.0, at=150, ramp=300)),
    ill("functional momentum of 0.995", net=Net("functional", (96, 64)), optim=Optim("momentum", 0.1),
        fault=Fault("momentum", 0.995, at=208)),
    ill("functional adamw creeps", net=Net("functional", (64, 64, 64)), optim=Optim("adamw", 0.001), steps=600,
        fault=Fault("rate", 100.0, at=150, ramp=300)),
    ill("functional diabetes sgd raised", net=Net("functional", (64, 32)), material="diabetes",
        optim=Optim("sgd", 0.01), loader=Loader(batch=16), fault=Fault("rate", 60.0, at=215)),
    ill("transformer adamw raised", net=Net("transformer", (32, 96)), material="text", optim=Optim("adamw", 0.003),
        steps=350, loader=Loader(batch=16), fault=Fault("rate", 300.0, at=167)),
    ill("transformer rows rmsprop raised", net=Net("transformer", (24, 96)), material="rows", steps=400,
        optim=Optim("rmsprop", 0.001), fault=Fault("rate", 400.0, at=214)),
    ill("transformer rows adam warm-up overshoots", net=Net("transformer", (32, 64)), material="rows", steps=450,
        optim=Optim("adam", 0.002), pace=Pace("warmup", 250), fault=Fault("rate", 400.0)),
    ill("transformer sparse rows adam creeps", net=Net("transformer", (24, 96)), material="rows", penalty=0.02,
        optim=Optim("adam", 0.002), steps=600, fault=Fault("rate", 100.0, at=250, ramp=200), sparse=True),
    ill("autoencoder adam wrong resume", net=Net("autoencoder", (48, 16, 48)), material="copies",
        optim=Optim("adam", 0.003), pace=Pace("stairs", 100), fault=Fault("resume", 25.0, at=307), steps=600),
    ill("autoencoder momentum growing restarts", net=Net("autoencoder", (64, 24, 64)), material="copies", steps=600,
        optim=Optim("momentum", 0.2), pace=Pace("restarts", 100), fault=Fault("growing", 2.2)),
    ill("autoencoder adam last layer's rate", net=Net("autoencoder", (48, 24, 48)), material="copies", steps=400,
        optim=Optim("adam", 0.001), fault=Fault("layer_rate", 60.0, layer=2)),
    ill("autoencoder rmsprop one layer's rate", net=Net("autoencoder", (48, 24, 48)), material="copies",
        optim=Optim("rmsprop", 0.001), fault=Fault("layer_rate", 200.0, layer=0)),
)  # fmt: skip
