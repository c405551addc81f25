"""Reference pre-activations, recorded below autograd: independent of how the SDK observes them."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

RELUS = {
    "relu",
    "relu_",
    "clamp_min",
    "clamp_min_",
    "threshold",
    "threshold_",
    "hardtanh",
    "hardtanh_",
    "clamp",
    "clamp_",
}


class Executions(TorchDispatchMode):
    """Copies every pre-activation in the order of execution, without those that backward recomputes."""

    def __init__(self):
        super().__init__()
        self.preactivations: list[torch.Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        in_backward = torch._C._current_graph_task_id() != -1
        if func.overloadpacket.__name__ in RELUS and torch.is_floating_point(args[0]) and not in_backward:
            self.preactivations.append(args[0].detach().double().clone())
        return func(*args, **(kwargs or {}))


def compare(executions, rows, memory):
    """Assert that every execution has a layer, that counts are exact, and means within 1e-5 of float64.

    Several executions per layer (micro-batches) are compared together.
    """
    watched = [name for name, row in rows.items() if row.get("can_die")]
    assert watched
    assert len(executions) % len(watched) == 0
    for index, name in enumerate(watched):
        records = memory.records(name)
        assert len(records) == 1
        _compare_layer(executions[index :: len(watched)], rows[name], records[0])


def _compare_layer(executions, row, record):
    dim = 1 if row["unit_kind"] == "channels" else -1
    flat = torch.cat([z.movedim(dim, -1).reshape(-1, row["units"]) for z in executions])
    arrays = record.arrays()
    counts = arrays.get("active_positions", arrays["active"])
    assert counts.tolist() == (flat > 0).sum(0).tolist()
    examples = torch.cat([(z > 0).movedim(dim, -1).reshape(z.shape[0], -1, row["units"]).any(1) for z in executions])
    assert arrays["active"].tolist() == examples.sum(0).tolist()
    assert record.n_examples == examples.shape[0]
    assert record.n_positions == flat.shape[0]
    scale = max(flat.abs().max().item(), 1e-6)
    assert abs(torch.from_numpy(arrays["mean"].astype("f8")) - flat.mean(0)).max().item() <= 1e-5 * scale
    assert torch.from_numpy(arrays["max"].astype("f4")).allclose(flat.amax(0).float(), rtol=2e-3, atol=1e-6)
