"""Five networks on which the cost of watching is measured: small, wide, convolutional, deep, and a transformer."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class Workload(NamedTuple):
    """A model, the shape of its input, and the number of steps that are timed at once."""

    title: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    steps: int


def mlp(*widths: int) -> nn.Sequential:
    """Build linear layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Sequential:
    """Build three convolutions of 32, 64 and 128 channels for images of 32x32."""
    layers: list[nn.Module] = []
    for a, b in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10))


class Block(nn.Module):
    """Two convolutions with BatchNorm and one in-place ReLU shared by both, as in torchvision's ResNet."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(b)
        self.act = nn.ReLU(inplace=True)
        self.short = nn.Conv2d(a, b, 1, stride, bias=False) if a != b or stride != 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(f(x) + x)."""
        z = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return self.act(z + self.short(x))  # type: ignore[no-any-return]


def resnet() -> nn.Sequential:
    """Build a network as deep and wide as a ResNet-18, for images of 16x16."""
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    blocks = [Block(a, b, stride) for a, b, stride in [*widths, (512, 512, 1)]]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class FeedForward(nn.Module):
    """A transformer layer whose ReLU is a function, not a module."""

    def __init__(self, d: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.up = nn.Linear(d, hidden)
        self.down = nn.Linear(hidden, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """Apply attention, then the feed-forward part; the input of both is normalized."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(functional.relu(self.up(self.norm2(x))))  # type: ignore[no-any-return]


def transformer() -> nn.Module:
    """Build four layers with d = 256 and feed-forward width 1,024."""
    return nn.Sequential(*(FeedForward(256, 4, 1024) for _ in range(4)))


WORKLOADS = {
    "W1": Workload("MLP 64-256-256-10, batch 64", lambda: mlp(64, 256, 256, 10), (64, 64), 20),
    "W2": Workload("MLP 784-1024x4-10, batch 128", lambda: mlp(784, 1024, 1024, 1024, 1024, 10), (128, 784), 2),
    "W3": Workload("CNN 32-64-128, batch 32", cnn, (32, 3, 32, 32), 2),
    "W4": Workload("ResNet-18-like, batch 16", resnet, (16, 3, 16, 16), 1),
    "W5": Workload("ReLU transformer d=256, 4 layers, seq 64, batch 8", transformer, (8, 64, 256), 1),
}


class _ReluShapes(TorchFunctionMode):
    """Within its block, collects the shape of every ReLU's input."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("relu", "relu_"):
            self.shapes.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


def read_us(workload: Workload) -> float:
    """Return the microseconds to read all pre-activations of a step once: the least that seeing every unit can cost."""
    with _ReluShapes() as inputs, torch.no_grad():
        workload.build()(torch.randn(*workload.shape))
    tensors = [torch.randn(*shape) for shape in inputs.shapes]
    best_s = float("inf")
    for _ in range(20):
        start = time.thread_time()
        for z in tensors:
            z.sum()
        best_s = min(best_s, time.thread_time() - start)
    return best_s * 1e6
