"""The training sets: scikit-learn's bundled ones and small synthetic ones, whole in memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional

WINDOW = 16
"""Characters of a text example."""

Groups: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Dataset:
    """A training set: ``x`` (n, …), ``y`` (n,), (n, outputs) or, for tokens, (n, positions); ``groups`` (n,).

    ``raw`` is (offset, factor) that take ``x`` back to its values before normalization. ``is_mirror``: the target is
    the input itself.
    """

    x: Tensor
    y: Tensor
    groups: Groups
    outputs: int
    kind: Literal["classes", "numbers", "tokens"]
    raw: tuple[Tensor, Tensor] = (torch.zeros(()), torch.ones(()))
    is_mirror: bool = False

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Return the loss that is minimized."""
        if self.kind == "numbers":
            return functional.mse_loss(output, y)
        return functional.cross_entropy(output.flatten(0, -2), y.flatten())

    def score(self, output: Tensor, y: Tensor) -> float:
        """Return the accuracy, for numbers the explained share of the variance; 1 is perfect."""
        if self.kind == "numbers":
            return 1.0 - float(functional.mse_loss(output, y) / (y - y.mean(0)).square().mean())
        return float((output.argmax(-1) == y).float().mean())


@functools.cache
def load_dataset(name: str) -> Dataset:
    """Return the training set of this name; it is the same every time."""
    return _LOADERS[name]()


def _classes(x: Any, y: Any, *, per_feature: bool = False) -> Dataset:
    """Return a classification set, normalized as a whole or per feature."""
    values = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    shift = values.mean(0) if per_feature else values.mean()
    scale = (values.std(0) if per_feature else values.std()).clamp(min=1e-6)
    labels = np.asarray(y, dtype=np.int64)
    return Dataset(
        x=(values - shift) / scale,
        y=torch.as_tensor(labels),
        groups=labels,
        outputs=int(labels.max()) + 1,
        kind="classes",
        raw=(shift, scale),
    )


def _numbers(x: Any, y: Any, *, is_normalized: bool = True) -> Dataset:
    """Return a regression set with normalized targets, its inputs normalized per feature or as they are."""
    values = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    shift = torch.zeros(())
    scale = torch.ones(())
    if is_normalized:
        shift = values.mean(0)
        scale = values.std(0)
    targets = torch.as_tensor(np.asarray(y), dtype=torch.float32).reshape(len(values), -1)
    targets = (targets - targets.mean(0)) / targets.std(0)
    return Dataset(
        x=(values - shift) / scale,
        y=targets,
        groups=np.zeros(len(values), np.int64),
        outputs=targets.shape[1],
        kind="numbers",
        raw=(shift, scale),
    )


def _digits() -> Dataset:
    return _classes(*datasets.load_digits(return_X_y=True))


def _reshaped_digits(n: int, *shape: int) -> Dataset:
    digits = _digits()
    return replace(digits, x=digits.x[:n].reshape(n, *shape), y=digits.y[:n], groups=digits.groups[:n])


def _pixels(n: int = 1200) -> Dataset:
    """Return digits that are not normalized: pixels from 0 to 1, never negative."""
    x, y = datasets.load_digits(return_X_y=True)
    labels = np.asarray(y[:n], np.int64)
    scale = (torch.zeros(()), torch.full((), 16.0))
    pixels = torch.tensor(x[:n] / 16, dtype=torch.float32)
    return Dataset(x=pixels, y=torch.tensor(labels), groups=labels, outputs=10, kind="classes", raw=scale)


def _pixel_images() -> Dataset:
    pixels = _pixels(500)
    return replace(pixels, x=pixels.x.reshape(-1, 1, 8, 8))


def _mirror(source: Dataset, n: int) -> Dataset:
    x = source.x[:n]
    return Dataset(
        x=x, y=x, groups=source.groups[:n], outputs=x.shape[1], kind="numbers", raw=source.raw, is_mirror=True
    )


def _rare() -> Dataset:
    """Return digits of which two classes are one example in a hundred; only these need the units specific to them."""
    digits = _digits()
    random = np.random.default_rng(0)
    common = np.flatnonzero(digits.groups < 8)
    rare = random.choice(np.flatnonzero(digits.groups >= 8), 15, replace=False)
    rows = np.sort(np.concatenate([common, rare]))
    return replace(digits, x=digits.x[rows], y=digits.y[rows], groups=digits.groups[rows])


def _domains() -> Dataset:
    """Return three domains in one set: digits, digits in negative, and digits with shuffled pixels."""
    digits = _digits()
    x = digits.x[:500]
    y = digits.y[:500]
    shuffled = x[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    groups = np.repeat(np.arange(3), 500)
    return replace(digits, x=torch.cat([x, -x, shuffled]), y=torch.cat([y, y, y]), groups=groups)


def _wave() -> Dataset:
    """Return x·sin 5x, a function of one input."""
    x = torch.linspace(-math.sqrt(3), math.sqrt(3), 400)[:, None]
    return _numbers(x, x * torch.sin(5 * x), is_normalized=False)


def _absolute() -> Dataset:
    x = torch.linspace(-math.sqrt(3), math.sqrt(3), 300)[:, None]
    return _numbers(x, x.abs(), is_normalized=False)


def _friedman() -> Dataset:
    return _numbers(*datasets.make_friedman1(800, n_features=10, noise=0.3, random_state=0))


def _counts() -> Dataset:
    """Return a quantity that is never negative as a function of features that are never negative."""
    x, y = datasets.make_friedman1(800, n_features=10, noise=0.1, random_state=1)
    unscaled = _numbers(x, y, is_normalized=False)
    targets = torch.tensor(y / y.std(), dtype=torch.float32)[:, None].clamp(min=0)
    return replace(unscaled, y=targets)


def _diabetes() -> Dataset:
    return _numbers(*datasets.load_diabetes(return_X_y=True))


def _text() -> Dataset:
    """Return the descriptions of the bundled sets as characters, of which the next one is to be predicted."""
    loaders: tuple[Callable[[], Any], ...] = (datasets.load_wine, datasets.load_diabetes, datasets.load_iris)
    text = "".join(loader().DESCR for loader in loaders)[:3200]
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    starts = range(0, len(codes) - WINDOW - 1, 12)
    x = torch.stack([codes[i : i + WINDOW] for i in starts])
    y = torch.stack([codes[i + 1 : i + WINDOW + 1] for i in starts])
    return Dataset(x, y, np.arange(len(x)) * 10 // len(x), len(letters), "tokens")


_LOADERS: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "images": lambda: _reshaped_digits(500, 1, 8, 8),
    "rows": lambda: _reshaped_digits(500, 8, 8),
    "pixels": _pixels,
    "pixel_images": _pixel_images,
    "copies": lambda: _mirror(_digits(), 800),
    "pixel_copies": lambda: _mirror(_pixels(800), 800),
    "rare": _rare,
    "domains": _domains,
    "wine": lambda: _classes(*datasets.load_wine(return_X_y=True), per_feature=True),
    "cancer": lambda: _classes(*datasets.load_breast_cancer(return_X_y=True), per_feature=True),
    "iris": lambda: _classes(*datasets.load_iris(return_X_y=True), per_feature=True),
    "diabetes": _diabetes,
    "friedman": _friedman,
    "counts": _counts,
    "wave": _wave,
    "absolute": _absolute,
    "moons": lambda: _classes(*datasets.make_moons(400, noise=0.15, random_state=0), per_feature=True),
    "text": _text,
}
