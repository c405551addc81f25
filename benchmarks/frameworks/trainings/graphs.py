"""PyTorch Geometric: graph convolutions and attention over edge lists, sparse and dense adjacencies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GAT, GCN, DenseGCNConv
from torch_geometric.utils import to_dense_adj, to_torch_csr_tensor

from benchmarks.frameworks.made_up import CLASSES, FEATURES, STEPS
from benchmarks.frameworks.training import Observe, Trained

NODES = 40


class DenseGCN(nn.Module):
    """Two dense graph convolutions and a ReLU, for a batch of graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = DenseGCNConv(FEATURES, 32)
        self.last = DenseGCNConv(32, CLASSES)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Return the scores of each node's classes, (graphs, nodes, classes)."""
        x = functional.relu(self.first(x, adjacency))
        return self.last(x, adjacency).squeeze(0)  # type: ignore[no-any-return]


def train_gcn(observe: Observe) -> Trained:
    """Train a GCN on an edge list."""
    return _train(GCN(FEATURES, 32, num_layers=3, out_channels=CLASSES, dropout=0.2), _edges(), observe)


def train_gat(observe: Observe) -> Trained:
    """Train a GAT, whose attention has a leaky ReLU, on an edge list."""
    return _train(GAT(FEATURES, 32, num_layers=3, out_channels=CLASSES, heads=2), _edges(), observe)


def train_sparse_gcn(observe: Observe) -> Trained:
    """Train a GCN on a sparse adjacency matrix."""
    adjacency = to_torch_csr_tensor(_edges(), size=(NODES, NODES))
    return _train(GCN(FEATURES, 32, num_layers=3, out_channels=CLASSES, norm="batch_norm"), adjacency, observe)


def train_dense_gcn(observe: Observe) -> Trained:
    """Train dense graph convolutions."""
    return _train(DenseGCN(), to_dense_adj(_edges(), max_num_nodes=NODES), observe)


def _edges() -> Tensor:
    return torch.randint(NODES, (2, 4 * NODES))


def _train(model: nn.Module, graph: Any, observe: Observe) -> Trained:
    x = torch.randn(NODES, FEATURES)
    labels = torch.randint(CLASSES, (NODES,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    observe(model, optimizer)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x, graph), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return Trained(model, losses, STEPS)
