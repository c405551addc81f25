"""Five recipes written after the detector was frozen (commit f8c0f03 and the guard behind it), trained and scored once.

Whatever came of them stands in docs/detection.md as it was; nothing was changed because of it.
"""

from __future__ import annotations

from recipe import Fault, Loader, Net, Optim, Pace, Recipe

RECIPES = (
    Recipe("fresh batchnorm adamw restarts grow", "high_rate", Net("batchnorm", (80, 56, 40)),
           optim=Optim("adamw", 0.004), pace=Pace("restarts", 110), steps=550, fault=Fault("growing", 4.0),
           cause="high_learning_rate"),
    Recipe("fresh mlp adam pushed late", "bias", Net("mlp", (72, 56, 40)), optim=Optim("adam", 0.0015), steps=800,
           loader=Loader(batch=24), fault=Fault("push", 0.003, at=380, ramp=150, layer=1), cause="negative_bias"),
    Recipe("fresh transformer rows rmsprop offset", "input", Net("transformer", (28, 80)), material="rows",
           optim=Optim("rmsprop", 0.001), steps=450, fault=Fault("offset", -60.0, at=216, ramp=80),
           cause="input_shift"),
    Recipe("fresh residual sgd tiny", "start", Net("residual", (56, 40, 56)), optim=Optim("sgd", 0.08), steps=400,
           fault=Fault("tiny", 0.3, layer=1), cause="bad_initialization"),
    Recipe("fresh cnn adam cosine, dropout", "healthy", Net("cnn", (10, 20, 40), dropout=0.2), material="images",
           optim=Optim("adam", 0.004), pace=Pace("cosine"), steps=450),
)  # fmt: skip
