"""Five recipes written after the detector was frozen (commit 12769cb), trained and scored once.

Whatever came of them stands in docs/detection.md as it was; nothing was changed because of it.
"""

from __future__ import annotations

from recipe import Fault, Loader, Net, Optim, Pace, Recipe, Start

RECIPES = (
    Recipe("fresh batchnorm images adam creeps", "high_rate", Net("batchnorm", (8, 16, 40)), material="images",
           optim=Optim("adam", 0.002), steps=500, fault=Fault("rate", 2000.0, at=140, ramp=260),
           cause="high_learning_rate"),
    Recipe("fresh mlp adamw targets fall", "bias", Net("mlp", (56, 40)), material="friedman",
           optim=Optim("adamw", 0.004), steps=700, loader=Loader(batch=48),
           fault=Fault("push", 0.004, at=230, ramp=200), cause="negative_bias"),
    Recipe("fresh transformer text adam pushed", "bias", Net("transformer", (32, 80)), material="text",
           optim=Optim("adam", 0.0015), steps=500, fault=Fault("push", 0.02, at=160, ramp=160, layer=1),
           cause="negative_bias"),
    Recipe("fresh functional rmsprop deep and narrow", "start", Net("functional", (28,) * 12), material="wine",
           optim=Optim("rmsprop", 0.001), steps=350, start=(Start("he"),), fault=Fault("narrow", 2),
           cause="bad_initialization"),
    Recipe("fresh mlp momentum two cycles, domains", "healthy", Net("mlp", (64, 48, 32)), material="domains",
           optim=Optim("momentum", 0.012), pace=Pace("cyclic", 250), steps=500, loader=Loader("blocks", 32, block=30)),
)  # fmt: skip
