"""What the SDK leaves on optimizers, and in torch's global dictionary of hooks after steps."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer


def step_hooks(*optimizers: Optimizer) -> int:
    """Return the number of hooks of all kinds on the optimizers, with those after the steps of all optimizers."""
    count = len(torch_optimizer._global_optimizer_post_hooks) + len(torch_optimizer._global_optimizer_pre_hooks)
    for optimizer in optimizers:
        hooks = [value for name, value in vars(optimizer).items() if name.endswith("_hooks")]
        count += sum(len(value) for value in hooks)
    return count


def clear_step_hooks(optimizer: Optimizer) -> None:
    """Clear the hooks after steps, as a training might."""
    optimizer._optimizer_step_post_hooks.clear()
    torch_optimizer._global_optimizer_post_hooks.clear()
