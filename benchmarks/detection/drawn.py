"""Recipes drawn at random from the same parts as those that were written: more of the middle ground, for fitting alone.

Written recipes are clear cases. What a risk must be fitted on as well is what lies between: rates raised by little and
by much, pushes that a layer survives, nets of every width. Recipe ``n`` is always the same. Nothing here is reported
on; whether a fault did harm is decided by the truth (``fit.py``), not by its name.
"""

from __future__ import annotations

import math
from random import Random

from recipe import Family, Fault, Loader, Net, Optim, Pace, Recipe, Start

MATERIALS: dict[Family, tuple[str, ...]] = {
    "mlp": ("digits", "digits", "pixels", "wine", "cancer", "rare", "domains", "friedman", "diabetes", "wave"),
    "functional": ("digits", "pixels", "wine", "cancer", "friedman", "moons"),
    "residual": ("digits", "images", "rare", "domains"),
    "batchnorm": ("digits", "images"),
    "cnn": ("images", "pixel_images"),
    "transformer": ("text", "rows"),
    "autoencoder": ("copies", "pixel_copies"),
}
RATES = {"sgd": (0.02, 0.5), "momentum": (0.003, 0.06), "adam": (3e-4, 8e-3), "adamw": (3e-4, 8e-3),
         "rmsprop": (2e-4, 3e-3)}  # fmt: skip


def recipe(number: int) -> Recipe:
    """The recipe of this number."""
    random = Random(number)
    family = random.choice(list(MATERIALS))
    optim = random.choice(list(RATES))
    steps = random.choice((300, 450, 600, 900))
    pace = _pace(random)
    fault, cause = _fault(random, optim, pace, steps)
    material = random.choice(MATERIALS[family])
    return Recipe(
        f"drawn {number:04d}", "healthy" if fault is None else _GROUPS[cause], _net(random, family, material),
        material=material,
        optim=Optim(optim, _between(random, *RATES[optim]), groups=random.random() < 0.2),  # type: ignore[arg-type]
        pace=pace, loader=_loader(random), steps=steps, start=_start(random),
        penalty=_between(random, 0.002, 0.02) if random.random() < 0.2 else 0.0,
        fault=fault, cause=cause,
    )  # fmt: skip


_GROUPS = {"high_learning_rate": "high_rate", "negative_bias": "bias", "input_shift": "input"}


def _between(random: Random, least: float, most: float) -> float:
    """Evenly over the logarithm, to three digits."""
    return float(f"{math.exp(random.uniform(math.log(least), math.log(most))):.3g}")


def _net(random: Random, family: Family, material: str) -> Net:
    if "images" in material:
        widths = (random.choice((8, 12)), random.choice((16, 24)), random.choice((32, 48, 64)))
    elif family == "transformer":
        widths = (random.choice((24, 32)), random.choice((64, 96, 128)))
    elif family == "autoencoder":
        outer = random.choice((48, 64))
        widths = (outer, random.choice((16, 24)), outer)
    else:
        widths = tuple(random.choice((16, 24, 32, 48, 64, 96, 128)) for _ in range(random.choice((2, 2, 3, 4))))
        widths = tuple(max(width, 24) for width in widths) if family != "mlp" else widths
    return Net(family, widths, dropout=0.3 if random.random() < 0.1 else 0.0)


def _pace(random: Random) -> Pace:
    kinds = ("constant", "constant", "constant", "warmup", "cosine", "cyclic", "onecycle", "restarts", "stairs")
    return Pace(random.choice(kinds), random.choice((80, 120, 160)))  # type: ignore[arg-type]


def _loader(random: Random) -> Loader:
    batch = random.choice((8, 16, 32, 32, 64))
    kind = random.choices(("shuffled", "sorted", "blocks"), (85, 5, 10))[0]
    return Loader(kind, batch, block=random.choice((20, 40, 60)), span=random.choice((1, 2, 5)))  # type: ignore[arg-type]


def _start(random: Random) -> tuple[Start, ...]:
    chance = random.random()
    if chance < 0.06:
        return (Start("few_dead", random.uniform(0.1, 0.4), layer=0),)
    return (Start("he"),) if chance < 0.2 else ()


def _fault(random: Random, optim: str, pace: Pace, steps: int) -> tuple[Fault | None, str | None]:
    """One time in three none; else of the rate, of what pushes down, or of the input, from hardly felt to deadly."""
    at = random.randrange(100, steps // 2 + 50)
    ramp = random.choice((0, 0, 100, 200))
    chance = random.random()
    if chance < 0.33:
        return None, None
    if chance < 0.63:
        return _of_rate(random, optim, pace, at, ramp), "high_learning_rate"
    if chance < 0.85:
        return _of_bias(random, at, ramp), "negative_bias"
    kind, least, most = random.choice((("offset", 0.5, 20.0), ("gain", 1.3, 60.0), ("bursts", 2.0, 40.0)))
    sign = random.choice((-1.0, 1.0)) if kind == "offset" else 1.0
    amount = sign * _between(random, least, most)
    return Fault(kind, amount, at=at, ramp=ramp, every=random.choice((1, 4))), "input_shift"  # type: ignore[arg-type]


def _of_rate(random: Random, optim: str, pace: Pace, at: int, ramp: int) -> Fault:
    amount = _between(random, 1.5, 80.0)
    chance = random.random()
    if pace.kind == "restarts" and chance < 0.5:
        return Fault("growing", _between(random, 1.1, 3.0))
    if optim in ("sgd", "momentum") and chance < 0.15:
        return Fault("momentum", random.choice((0.97, 0.99, 0.995)), at=at)
    if chance < 0.3:
        return Fault("rate", amount)
    until = at + random.choice((10, 30, 60)) if not ramp and random.random() < 0.4 else None
    return Fault("rate", amount, at=at, ramp=ramp, until=until)


def _of_bias(random: Random, at: int, ramp: int) -> Fault:
    chance = random.random()
    if chance < 0.6:
        return Fault("push", _between(random, 3e-4, 0.03), at=at, ramp=ramp, layer=random.choice((-1, 0, 1)))
    if chance < 0.8:
        return Fault("bias_rate", _between(random, 2.0, 40.0))
    return Fault("decay", _between(random, 0.01, 10.0), at=at)
