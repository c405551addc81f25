"""Learning rate faults: too high throughout, spike, overshooting warm-up, wrong resume, growing restarts, momentum."""

from __future__ import annotations

from functools import partial

from research.corpus.recipe import Fault, Loader, Net, Optim, Recipe, Schedule

faulty = partial(Recipe, group="high_rate", cause="high_learning_rate")
IMAGES = Net("cnn", (8, 16, 32))

RECIPES = (
    faulty("mlp momentum constant", net=Net("mlp", (128, 64)), optim=Optim("momentum", 0.05),
           fault=Fault("rate", 12.0)),
    faulty("mlp rmsprop constant", net=Net("mlp", (64, 32)), optim=Optim("rmsprop", 0.001), fault=Fault("rate", 100.0)),
    faulty("mlp adam spike", net=Net("mlp", (96, 48)), optim=Optim("adam", 0.002),
           fault=Fault("rate", 45.0, start=303, end=353)),
    faulty("mlp sgd raised", net=Net("mlp", (64, 64, 64)), optim=Optim("sgd", 0.1),
           fault=Fault("rate", 10.0, start=247)),
    faulty("mlp sgd creeps", net=Net("mlp", (64, 64, 64)), optim=Optim("sgd", 0.1), steps=600,
           fault=Fault("rate", 14.0, start=200, ramp=250)),
    faulty("mlp wide momentum raised", net=Net("mlp", (1024, 64)), optim=Optim("momentum", 0.02), steps=400,
           fault=Fault("rate", 40.0, start=205)),
    faulty("mlp sparse adam raised", net=Net("mlp", (128, 64)), optim=Optim("adam", 0.002), penalty=0.01, steps=700,
           fault=Fault("rate", 25.0, start=403), sparse=True),
    faulty("cnn momentum spike", net=IMAGES, dataset="images", optim=Optim("momentum", 0.02), steps=400,
           fault=Fault("rate", 60.0, start=204, end=216)),
    faulty("cnn adamw growing restarts", net=IMAGES, dataset="images", optim=Optim("adamw", 0.003), steps=600,
           schedule=Schedule("restarts", 100), fault=Fault("growing", 3.0)),
    faulty("cnn sgd creeps", net=Net("cnn", (12, 24, 48)), dataset="images", optim=Optim("sgd", 0.05),
           fault=Fault("rate", 60.0, start=150, ramp=200)),
    faulty("residual rmsprop warm-up overshoots", net=Net("residual", (48, 48, 48)), optim=Optim("rmsprop", 0.0005),
           schedule=Schedule("warmup", 250), fault=Fault("rate", 150.0)),
    faulty("residual sgd wrong resume", net=Net("residual", (64, 64, 32)), optim=Optim("sgd", 0.1, clip=5.0),
           schedule=Schedule("cosine"), warm_steps=150, fault=Fault("rate", 12.0)),
    faulty("residual images adam spike", net=Net("residual", (12, 16, 16)), dataset="images",
           optim=Optim("adam", 0.002), steps=350, fault=Fault("rate", 40.0, start=186, end=236)),
    faulty("residual wide momentum creeps", net=Net("residual", (32, 1024)), optim=Optim("momentum", 0.01), steps=500,
           fault=Fault("rate", 60.0, start=150, ramp=200)),
    faulty("batchnorm adam constant", net=Net("batchnorm", (96, 48)), optim=Optim("adam", 0.003),
           fault=Fault("rate", 200.0)),
    faulty("batchnorm images momentum spike", net=Net("batchnorm", (8, 16, 32)), dataset="images", steps=400,
           optim=Optim("momentum", 0.05), fault=Fault("rate", 100.0, start=203, end=233)),
    faulty("batchnorm rmsprop creeps", net=Net("batchnorm", (96, 48)), optim=Optim("rmsprop", 0.001), steps=600,
           fault=Fault("rate", 400.0, start=150, ramp=300)),
    faulty("functional momentum of 0.995", net=Net("functional", (96, 64)), optim=Optim("momentum", 0.1),
           fault=Fault("momentum", 0.995, start=208)),
    faulty("functional adamw creeps", net=Net("functional", (64, 64, 64)), optim=Optim("adamw", 0.001), steps=600,
           fault=Fault("rate", 100.0, start=150, ramp=300)),
    faulty("functional diabetes sgd raised", net=Net("functional", (64, 32)), dataset="diabetes",
           optim=Optim("sgd", 0.01), loader=Loader(batch=16), fault=Fault("rate", 60.0, start=215)),
    faulty("transformer adamw raised", net=Net("transformer", (32, 96)), dataset="text", optim=Optim("adamw", 0.003),
           steps=350, loader=Loader(batch=16), fault=Fault("rate", 300.0, start=167)),
    faulty("transformer rows rmsprop raised", net=Net("transformer", (24, 96)), dataset="rows", steps=400,
           optim=Optim("rmsprop", 0.001), fault=Fault("rate", 400.0, start=214)),
    faulty("transformer rows adam warm-up overshoots", net=Net("transformer", (32, 64)), dataset="rows", steps=450,
           optim=Optim("adam", 0.002), schedule=Schedule("warmup", 250), fault=Fault("rate", 400.0)),
    faulty("transformer sparse rows adam creeps", net=Net("transformer", (24, 96)), dataset="rows", penalty=0.02,
           optim=Optim("adam", 0.002), steps=600, fault=Fault("rate", 100.0, start=250, ramp=200), sparse=True),
    faulty("autoencoder adam wrong resume", net=Net("autoencoder", (48, 16, 48)), dataset="copies",
           optim=Optim("adam", 0.003), schedule=Schedule("stairs", 100), fault=Fault("resume", 25.0, start=307),
           steps=600),
    faulty("autoencoder momentum growing restarts", net=Net("autoencoder", (64, 24, 64)), dataset="copies", steps=600,
           optim=Optim("momentum", 0.2), schedule=Schedule("restarts", 100), fault=Fault("growing", 2.2)),
    faulty("autoencoder adam last layer's rate", net=Net("autoencoder", (48, 24, 48)), dataset="copies", steps=400,
           optim=Optim("adam", 0.001), fault=Fault("layer_rate", 60.0, layer=2)),
    faulty("autoencoder rmsprop one layer's rate", net=Net("autoencoder", (48, 24, 48)), dataset="copies",
           optim=Optim("rmsprop", 0.001), fault=Fault("layer_rate", 200.0, layer=0)),
)  # fmt: skip
