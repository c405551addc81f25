"""The models of the corpus: small, in seven families, with the producers of their activations."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from research.corpus.datasets import WINDOW, Dataset
from research.corpus.recipe import Net

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU}
SPELLINGS: tuple[Callable[[Tensor], Tensor], ...] = (functional.relu, torch.relu, lambda z: z.clamp(min=0))


def build(net: Net, dataset: Dataset) -> nn.Module:
    """Return a fresh model; its weights are drawn from torch's global generator."""
    if net.family == "transformer":
        return Transformer(net.widths, dataset)
    if net.family == "residual":
        return Residual(net.widths, dataset)
    if net.family == "functional":
        return Functional(net, dataset)
    if net.family == "branches":
        return Branches(net.widths, dataset)
    if dataset.x.dim() == 4:
        return _images(net, dataset)
    return _flat(net, dataset)


def producers(model: nn.Module) -> list[nn.Module]:
    """Return the module whose weights and bias produce each activation's input, in the order of their use."""
    if isinstance(model, nn.Sequential):
        kinds = (nn.ReLU, nn.LeakyReLU, nn.GELU)
        return [producer for producer, activation in pairwise(model) if isinstance(activation, kinds)]
    names: list[str] = model.producer_names  # type: ignore[assignment]
    return [model.get_submodule(name) for name in names]


def head(model: nn.Module) -> nn.Module:
    """Return the last linear layer."""
    return [part for part in model.modules() if isinstance(part, nn.Linear)][-1]


def _flat(net: Net, dataset: Dataset) -> nn.Sequential:
    parts: list[nn.Module] = []
    for a, b in pairwise((dataset.x.shape[1], *net.widths)):
        parts.append(nn.Linear(a, b))
        parts += [nn.BatchNorm1d(b)] if net.family == "batchnorm" else []
        parts.append(ACTIVATIONS[net.activation]())
        parts += [nn.Dropout(net.dropout)] if net.dropout else []
    parts.append(nn.Linear(net.widths[-1], dataset.outputs))
    return nn.Sequential(*parts, *([nn.ReLU()] if net.output_relu else []))


def _images(net: Net, dataset: Dataset) -> nn.Sequential:
    """Return convolutions of 8x8 images, pooled to 2x2, then one hidden layer."""
    first, second, hidden = net.widths
    parts: list[nn.Module] = []
    for a, b in ((1, first), (first, second)):
        parts.append(nn.Conv2d(a, b, 3, padding=1))
        parts += [nn.BatchNorm2d(b)] if net.family == "batchnorm" else []
        parts += [ACTIVATIONS[net.activation](), nn.MaxPool2d(2)]
    parts += [nn.Flatten(), nn.Linear(4 * second, hidden)]
    parts += [nn.BatchNorm1d(hidden)] if net.family == "batchnorm" else []
    parts += [ACTIVATIONS[net.activation](), *([nn.Dropout(net.dropout)] if net.dropout else [])]
    return nn.Sequential(*parts, nn.Linear(hidden, dataset.outputs))


class Functional(nn.Module):
    """ReLUs that are functions, not modules, spelled in three ways."""

    def __init__(self, net: Net, dataset: Dataset) -> None:
        super().__init__()
        sizes = (dataset.x[0].numel(), *net.widths)
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.out = nn.Linear(net.widths[-1], dataset.outputs)
        self.output_relu = net.output_relu
        self.producer_names = [f"layers.{i}" for i in range(len(net.widths))]
        if net.output_relu:
            self.producer_names.append("out")

    def forward(self, x: Tensor) -> Tensor:
        """Apply one spelling after the other."""
        x = x.flatten(1)
        for i, layer in enumerate(self.layers):
            x = SPELLINGS[i % len(SPELLINGS)](layer(x))
        x = self.out(x)
        return functional.relu(x) if self.output_relu else x


class Block(nn.Module):
    """Two layers and a ReLU after each, the second after the sum with the block's input."""

    def __init__(self, width: int, hidden: int, *, images: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, hidden, 3, padding=1) if images else nn.Linear(width, hidden)
        self.second = nn.Conv2d(hidden, width, 3, padding=1) if images else nn.Linear(hidden, width)
        self.act1 = nn.ReLU()
        self.act2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + f(x))."""
        return self.act2(x + self.second(self.act1(self.first(x))))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A stem and a block for every further width, of vectors or images; images are pooled."""

    def __init__(self, widths: tuple[int, ...], dataset: Dataset) -> None:
        super().__init__()
        images = dataset.x.dim() == 4
        size = dataset.x.shape[1]
        self.stem = nn.Conv2d(size, widths[0], 3, padding=1) if images else nn.Linear(size, widths[0])
        self.act = nn.ReLU()
        self.blocks = nn.Sequential(*(Block(widths[0], hidden, images=images) for hidden in widths[1:]))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()) if images else nn.Identity()
        self.out = nn.Linear(widths[0] * (4 if images else 1), dataset.outputs)
        inner = [f"blocks.{i}.{name}" for i in range(len(widths) - 1) for name in ("first", "second")]
        self.producer_names = ["stem", *inner]

    def forward(self, x: Tensor) -> Tensor:
        """Apply stem, blocks and output layer."""
        return self.out(self.pool(self.blocks(self.act(self.stem(x)))))  # type: ignore[no-any-return]


class Branches(nn.Module):
    """Branches side by side, each with a ReLU of its own, mixed by a gate over all of them, as soft experts are."""

    def __init__(self, widths: tuple[int, ...], dataset: Dataset) -> None:
        super().__init__()
        size = dataset.x[0].numel()
        self.branches = nn.ModuleList([nn.Linear(size, width) for width in widths])
        self.activations = nn.ModuleList([nn.ReLU() for _ in widths])
        self.ends = nn.ModuleList([nn.Linear(width, dataset.outputs) for width in widths])
        self.gate = nn.Linear(size, len(widths))
        self.producer_names = [f"branches.{i}" for i in range(len(widths))]

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the branches' outputs, weighted by the gate."""
        x = x.flatten(1)
        shares = self.gate(x).softmax(-1)
        parts = zip(self.branches, self.activations, self.ends, strict=True)
        outputs = [end(activation(branch(x))) for branch, activation, end in parts]
        return (torch.stack(outputs, -1) * shares[:, None]).sum(-1)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """A pre-norm transformer block whose feed-forward ReLU is a function."""

    def __init__(self, d: int, hidden: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.mix = nn.Linear(d, d)
        self.up = nn.Linear(d, hidden)
        self.down = nn.Linear(hidden, d)

    def forward(self, x: Tensor) -> Tensor:
        """Apply two heads of attention, then the feed-forward part."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.mix(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.relu(self.up(self.norm2(x))))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Two blocks over tokens (a letter predicted per position) or over the rows of an image (one class)."""

    def __init__(self, widths: tuple[int, ...], dataset: Dataset) -> None:
        super().__init__()
        d, hidden = widths
        self.tokens = dataset.kind == "tokens"
        length = WINDOW if self.tokens else dataset.x.shape[1]
        self.embed = nn.Embedding(dataset.outputs, d) if self.tokens else nn.Linear(dataset.x.shape[2], d)
        self.position = nn.Parameter(0.02 * torch.randn(length, d))
        self.blocks = nn.Sequential(*(Attention(d, hidden, causal=self.tokens) for _ in range(2)))
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, dataset.outputs)
        self.producer_names = ["blocks.0.up", "blocks.1.up"]

    def forward(self, x: Tensor) -> Tensor:
        """Return the output per position for tokens, else for the mean over positions."""
        h = self.norm(self.blocks(self.embed(x) + self.position))
        return self.out(h if self.tokens else h.mean(1))  # type: ignore[no-any-return]
