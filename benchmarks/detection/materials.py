"""What is learned: scikit-learn's bundled sets and small synthetic ones, whole in memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional

WINDOW = 16  # characters of a text example


@dataclass(frozen=True)
class Material:
    """A training set. ``x`` (n, …), ``y`` (n,), (n, outputs) or, for tokens, (n, positions); ``groups`` (n,).

    ``raw`` is (offset, factor) that take ``x`` back to what it was before normalisation. ``mirror``: the target is
    the input itself.
    """

    x: Tensor
    y: Tensor
    groups: np.ndarray[Any, np.dtype[np.int64]]
    outputs: int
    kind: Literal["classes", "numbers", "tokens"]
    raw: tuple[Tensor, Tensor] = (torch.zeros(()), torch.ones(()))
    mirror: bool = False

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """What is minimised."""
        if self.kind == "numbers":
            return functional.mse_loss(output, y)
        return functional.cross_entropy(output.flatten(0, -2), y.flatten())

    def score(self, output: Tensor, y: Tensor) -> float:
        """Accuracy; for numbers the explained share of the variance. 1 is perfect."""
        if self.kind == "numbers":
            return 1.0 - float(functional.mse_loss(output, y) / (y - y.mean(0)).square().mean())
        return float((output.argmax(-1) == y).float().mean())


@functools.cache
def material(name: str) -> Material:
    """A training set by name; the same every time."""
    return _MAKERS[name]()


def _classes(x: Any, y: Any, *, each: bool = False) -> Material:
    """Normalised over everything, or ``each`` feature by itself."""
    values = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    shift = values.mean(0) if each else values.mean()
    scale = (values.std(0) if each else values.std()).clamp(min=1e-6)
    labels = np.asarray(y, dtype=np.int64)
    return Material((values - shift) / scale, torch.as_tensor(labels), labels, int(labels.max()) + 1, "classes",
                    (shift, scale))  # fmt: skip


def _numbers(x: Any, y: Any, *, each: bool = True) -> Material:
    values = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    shift, scale = (values.mean(0), values.std(0)) if each else (torch.zeros(()), torch.ones(()))
    targets = torch.as_tensor(np.asarray(y), dtype=torch.float32).reshape(len(values), -1)
    targets = (targets - targets.mean(0)) / targets.std(0)
    groups = np.zeros(len(values), np.int64)
    return Material((values - shift) / scale, targets, groups, targets.shape[1], "numbers", (shift, scale))


def _digits() -> Material:
    return _classes(*datasets.load_digits(return_X_y=True))


def _shaped(n: int, *shape: int) -> Material:
    whole = _digits()
    return Material(whole.x[:n].reshape(n, *shape), whole.y[:n], whole.groups[:n], 10, "classes", whole.raw)


def _pixels(n: int = 1200) -> Material:
    """Digits as they come, from 0 to 1: nothing is ever negative."""
    x, y = datasets.load_digits(return_X_y=True)
    labels = np.asarray(y[:n], np.int64)
    scale = (torch.zeros(()), torch.full((), 16.0))
    return Material(torch.tensor(x[:n] / 16, dtype=torch.float32), torch.tensor(labels), labels, 10, "classes", scale)


def _mirror(source: Material, n: int) -> Material:
    x = source.x[:n]
    return Material(x, x, source.groups[:n], x.shape[1], "numbers", source.raw, mirror=True)


def _rare() -> Material:
    """Two classes of ten are one in a hundred; they alone need the units that know them."""
    whole, random = _digits(), np.random.default_rng(0)
    common = np.flatnonzero(whole.groups < 8)
    rare = random.choice(np.flatnonzero(whole.groups >= 8), 15, replace=False)
    rows = np.sort(np.concatenate([common, rare]))
    return Material(whole.x[rows], whole.y[rows], whole.groups[rows], 10, "classes", whole.raw)


def _domains() -> Material:
    """Digits, digits in negative, and digits whose pixels were shuffled: three domains in one set."""
    whole = _digits()
    x, y, random = whole.x[:500], whole.y[:500], torch.Generator().manual_seed(0)
    mixed = x[:, torch.randperm(64, generator=random)]
    groups = np.repeat(np.arange(3), 500)
    return Material(torch.cat([x, -x, mixed]), torch.cat([y, y, y]), groups, 10, "classes", whole.raw)


def _wave() -> Material:
    """One input, one output: x·sin 5x."""
    x = torch.linspace(-math.sqrt(3), math.sqrt(3), 400)[:, None]
    return _numbers(x, x * torch.sin(5 * x), each=False)


def _absolute() -> Material:
    x = torch.linspace(-math.sqrt(3), math.sqrt(3), 300)[:, None]
    return _numbers(x, x.abs(), each=False)


def _friedman() -> Material:
    return _numbers(*datasets.make_friedman1(800, n_features=10, noise=0.3, random_state=0))


def _counts() -> Material:
    """A quantity that is never negative, read from features that never are."""
    x, y = datasets.make_friedman1(800, n_features=10, noise=0.1, random_state=1)
    made = _numbers(x, y, each=False)
    targets = torch.tensor(y / y.std(), dtype=torch.float32)[:, None].clamp(min=0)
    return Material(made.x, targets, made.groups, 1, "numbers", made.raw)


def _diabetes() -> Material:
    return _numbers(*datasets.load_diabetes(return_X_y=True))


def _text() -> Material:
    """The descriptions of the bundled sets, character by character; the next one is to be told."""
    loaders: tuple[Callable[[], Any], ...] = (datasets.load_wine, datasets.load_diabetes, datasets.load_iris)
    text = "".join(loader().DESCR for loader in loaders)[:3200]
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    starts = range(0, len(codes) - WINDOW - 1, 12)
    x = torch.stack([codes[i : i + WINDOW] for i in starts])
    y = torch.stack([codes[i + 1 : i + WINDOW + 1] for i in starts])
    return Material(x, y, np.arange(len(x)) * 10 // len(x), len(letters), "tokens")


_MAKERS: dict[str, Callable[[], Material]] = {
    "digits": _digits,
    "images": lambda: _shaped(500, 1, 8, 8),
    "rows": lambda: _shaped(500, 8, 8),
    "pixels": _pixels,
    "pixel_images": lambda: _image(_pixels(500)),
    "copies": lambda: _mirror(_digits(), 800),
    "pixel_copies": lambda: _mirror(_pixels(800), 800),
    "rare": _rare,
    "domains": _domains,
    "wine": lambda: _classes(*datasets.load_wine(return_X_y=True), each=True),
    "cancer": lambda: _classes(*datasets.load_breast_cancer(return_X_y=True), each=True),
    "iris": lambda: _classes(*datasets.load_iris(return_X_y=True), each=True),
    "diabetes": _diabetes,
    "friedman": _friedman,
    "counts": _counts,
    "wave": _wave,
    "absolute": _absolute,
    "moons": lambda: _classes(*datasets.make_moons(400, noise=0.15, random_state=0), each=True),
    "text": _text,
}


def _image(flat: Material) -> Material:
    return Material(flat.x.reshape(-1, 1, 8, 8), flat.y, flat.groups, flat.outputs, flat.kind, flat.raw)
