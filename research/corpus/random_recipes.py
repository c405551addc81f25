"""Recipes drawn at random from the same parts as the written ones, for fits only.

Written recipes are clear cases. A risk must also be fitted on the cases between them: learning rates raised by little
and by much, pushes that a layer survives, nets of every width. Recipe ``n`` is always the same. No score is reported on
them; whether a fault did harm is decided by the ground truth (``research.fitting.risk``), not by its name.
"""

from __future__ import annotations

import math
from random import Random

from research.corpus.recipe import Family, Fault, Group, Initialization, Loader, Net, Optim, Recipe, Schedule

PREFIX = "drawn"
DATASETS: dict[Family, tuple[str, ...]] = {
    "mlp": ("digits", "digits", "pixels", "wine", "cancer", "rare", "domains", "friedman", "diabetes", "wave"),
    "functional": ("digits", "pixels", "wine", "cancer", "friedman", "moons"),
    "residual": ("digits", "images", "rare", "domains"),
    "batchnorm": ("digits", "images"),
    "cnn": ("images", "pixel_images"),
    "transformer": ("text", "rows"),
    "autoencoder": ("copies", "pixel_copies"),
}
LEARNING_RATES = {
    "sgd": (0.02, 0.5),
    "momentum": (0.003, 0.06),
    "adam": (3e-4, 8e-3),
    "adamw": (3e-4, 8e-3),
    "rmsprop": (2e-4, 3e-3),
}
GROUPS: dict[str | None, Group] = {
    None: "healthy",
    "high_learning_rate": "high_rate",
    "negative_bias": "bias",
    "input_shift": "input",
}


def is_random(recipe: Recipe) -> bool:
    """Return whether a recipe is one of these."""
    return recipe.name.startswith(PREFIX)


def recipe(number: int) -> Recipe:
    """Return the recipe of this number. The order of draws is part of it."""
    random = Random(number)
    family = random.choice(list(DATASETS))
    optim = random.choice(list(LEARNING_RATES))
    steps = random.choice((300, 450, 600, 900))
    schedule = _schedule(random)
    fault, cause = _fault(random, optim, schedule, steps)
    dataset = random.choice(DATASETS[family])
    net = _net(random, family, dataset)
    rate = _log_uniform(random, *LEARNING_RATES[optim])
    groups = random.random() < 0.2
    loader = _loader(random)
    initialization = _initialization(random)
    penalty = _log_uniform(random, 0.002, 0.02) if random.random() < 0.2 else 0.0
    return Recipe(
        f"{PREFIX} {number:04d}",
        GROUPS[cause],
        net,
        dataset=dataset,
        optim=Optim(optim, rate, groups=groups),  # type: ignore[arg-type]
        schedule=schedule,
        loader=loader,
        steps=steps,
        initialization=initialization,
        penalty=penalty,
        fault=fault,
        cause=cause,
    )


def _log_uniform(random: Random, low: float, high: float) -> float:
    """Draw evenly over the logarithm, rounded to three digits."""
    return float(f"{math.exp(random.uniform(math.log(low), math.log(high))):.3g}")


def _net(random: Random, family: Family, dataset: str) -> Net:
    widths: tuple[int, ...]
    if "images" in dataset:
        widths = (random.choice((8, 12)), random.choice((16, 24)), random.choice((32, 48, 64)))
    elif family == "transformer":
        widths = (random.choice((24, 32)), random.choice((64, 96, 128)))
    elif family == "autoencoder":
        outer = random.choice((48, 64))
        widths = (outer, random.choice((16, 24)), outer)
    else:
        layers = random.choice((2, 2, 3, 4))
        widths = tuple(random.choice((16, 24, 32, 48, 64, 96, 128)) for _ in range(layers))
        if family != "mlp":
            widths = tuple(max(width, 24) for width in widths)
    dropout = 0.3 if random.random() < 0.1 else 0.0
    return Net(family, widths, dropout=dropout)


def _schedule(random: Random) -> Schedule:
    kinds = ("constant", "constant", "constant", "warmup", "cosine", "cyclic", "onecycle", "restarts", "stairs")
    kind = random.choice(kinds)
    return Schedule(kind, random.choice((80, 120, 160)))  # type: ignore[arg-type]


def _loader(random: Random) -> Loader:
    batch = random.choice((8, 16, 32, 32, 64))
    kind = random.choices(("shuffled", "sorted", "blocks"), (85, 5, 10))[0]
    return Loader(kind, batch, block=random.choice((20, 40, 60)), span=random.choice((1, 2, 5)))  # type: ignore[arg-type]


def _initialization(random: Random) -> tuple[Initialization, ...]:
    chance = random.random()
    if chance < 0.06:
        return (Initialization("few_dead", random.uniform(0.1, 0.4), layer=0),)
    return (Initialization("he"),) if chance < 0.2 else ()


def _fault(random: Random, optim: str, schedule: Schedule, steps: int) -> tuple[Fault | None, str | None]:
    """Draw no fault one time in three, else one of learning rate, bias or input, from barely noticeable to deadly."""
    start = random.randrange(100, steps // 2 + 50)
    ramp = random.choice((0, 0, 100, 200))
    chance = random.random()
    if chance < 0.33:
        return None, None
    if chance < 0.63:
        return _learning_rate_fault(random, optim, schedule, start, ramp), "high_learning_rate"
    if chance < 0.85:
        return _bias_fault(random, start, ramp), "negative_bias"
    return _input_fault(random, start, ramp), "input_shift"


def _learning_rate_fault(random: Random, optim: str, schedule: Schedule, start: int, ramp: int) -> Fault:
    amount = _log_uniform(random, 1.5, 80.0)
    chance = random.random()
    if schedule.kind == "restarts" and chance < 0.5:
        return Fault("growing", _log_uniform(random, 1.1, 3.0))
    if optim in ("sgd", "momentum") and chance < 0.15:
        return Fault("momentum", random.choice((0.97, 0.99, 0.995)), start=start)
    if chance < 0.3:
        return Fault("rate", amount)
    end = None
    if not ramp and random.random() < 0.4:
        end = start + random.choice((10, 30, 60))
    return Fault("rate", amount, start=start, end=end, ramp=ramp)


def _bias_fault(random: Random, start: int, ramp: int) -> Fault:
    chance = random.random()
    if chance < 0.6:
        amount = _log_uniform(random, 3e-4, 0.03)
        return Fault("push", amount, start=start, ramp=ramp, layer=random.choice((-1, 0, 1)))
    if chance < 0.8:
        return Fault("bias_rate", _log_uniform(random, 2.0, 40.0))
    return Fault("decay", _log_uniform(random, 0.01, 10.0), start=start)


def _input_fault(random: Random, start: int, ramp: int) -> Fault:
    kind, low, high = random.choice((("offset", 0.5, 20.0), ("gain", 1.3, 60.0), ("bursts", 2.0, 40.0)))
    sign = random.choice((-1.0, 1.0)) if kind == "offset" else 1.0
    amount = sign * _log_uniform(random, low, high)
    every = random.choice((1, 4))
    return Fault(kind, amount, start=start, ramp=ramp, every=every)  # type: ignore[arg-type]
