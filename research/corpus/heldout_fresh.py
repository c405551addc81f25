"""Five recipes written after the detector was frozen (commit 12769cb), trained and scored once.

The results are in docs/detection.md as they came; nothing was changed because of them.
"""

from __future__ import annotations

from research.corpus.recipe import Fault, Initialization, Loader, Net, Optim, Recipe, Schedule

RECIPES = (
    Recipe("fresh batchnorm images adam creeps", "high_rate", Net("batchnorm", (8, 16, 40)), dataset="images",
           optim=Optim("adam", 0.002), steps=500, fault=Fault("rate", 2000.0, start=140, ramp=260),
           cause="high_learning_rate"),
    Recipe("fresh mlp adamw targets fall", "bias", Net("mlp", (56, 40)), dataset="friedman",
           optim=Optim("adamw", 0.004), steps=700, loader=Loader(batch=48),
           fault=Fault("push", 0.004, start=230, ramp=200), cause="negative_bias"),
    Recipe("fresh transformer text adam pushed", "bias", Net("transformer", (32, 80)), dataset="text",
           optim=Optim("adam", 0.0015), steps=500, fault=Fault("push", 0.02, start=160, ramp=160, layer=1),
           cause="negative_bias"),
    Recipe("fresh functional rmsprop deep and narrow", "start", Net("functional", (28,) * 12), dataset="wine",
           optim=Optim("rmsprop", 0.001), steps=350, initialization=(Initialization("he"),), fault=Fault("narrow", 2),
           cause="bad_initialization"),
    Recipe("fresh mlp momentum two cycles, domains", "healthy", Net("mlp", (64, 48, 32)), dataset="domains",
           optim=Optim("momentum", 0.012), schedule=Schedule("cyclic", 250), steps=500,
           loader=Loader("blocks", 32, block=30)),
)  # fmt: skip
