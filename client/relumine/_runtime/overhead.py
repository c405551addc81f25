"""The time that watching takes from the training. The sampling schedule is thinned by it."""

from __future__ import annotations

from dataclasses import dataclass

# Seconds that torch itself takes to call a hook, or a function under a mode. They cannot be timed from inside.
HOOK_CALL_S = 2e-6


@dataclass(slots=True)
class Overhead:
    """The seconds spent and the steps sampled for them.

    Each thread adds to its own attribute: ``+=`` on a shared one would lose updates.
    """

    training_s: float = 0.0
    """Spent in the training thread on sampled steps: hooks, and the work after the optimizer step."""
    export_s: float = 0.0
    """Spent in the sender thread on building uploads: the training waits for the interpreter meanwhile."""
    sampled_steps: int = 0

    @property
    def spent_s(self) -> float:
        """The seconds spent in both threads."""
        return self.training_s + self.export_s
