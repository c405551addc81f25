"""The state that the SDK reports of a training: ``watching``, or ``unwatched`` with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self, TypeAlias

from pydantic import model_validator

from relumine.schemas.base import Step, WireModel

WatchingStatus: TypeAlias = Literal["watching", "unwatched"]
UnwatchedReason: TypeAlias = Literal[
    "disabled",
    "steps_not_seen",
    "eval_mode",
    "no_forward",
    "no_activation",
    "nothing_can_die",
    "parameters_unchanged",
    "not_accepted",
    "starved",
    "no_reason_given",
]

EXPLANATIONS: Mapping[UnwatchedReason, str] = {
    "disabled": "the SDK disabled itself after too many internal errors",
    "steps_not_seen": (
        "the training goes on, but no step of a watched optimizer is seen (replaced, compiled, or not passed to "
        "watch); call monitor.step() after each update"
    ),
    "eval_mode": "the model trains in eval mode, in which nothing is recorded; call model.train()",
    "no_forward": "the optimizer steps, but no training forward of the watched model is seen",
    "no_activation": "forwards of the model run, but none of its activations can be observed",
    "nothing_can_die": "none of the observed activations can die",
    "parameters_unchanged": "no gradient reaches the watched layers, so they do not learn",
    "not_accepted": "the server has accepted no records",
    "starved": "no step has been sampled for too long",
    "no_reason_given": "the client reports that nothing is recorded, without a reason",
}


class Watching(WireModel):
    """The state of a training: is it being watched?

    ``reason`` is set where ``state`` is ``unwatched``, and only there. A client that contradicts itself, with a state
    and no reason or the reverse, is taken at the worse of the two. ``last_step`` is the last step at which a layer was
    recorded.
    """

    state: WatchingStatus
    reason: UnwatchedReason | None = None
    last_step: Step | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.reason is not None:
            self.state = "unwatched"
        elif self.state == "unwatched":
            self.reason = "no_reason_given"
        return self

    @property
    def explanation(self) -> str:
        """The reason as a sentence without its period; empty while the training is being watched."""
        return EXPLANATIONS[self.reason] if self.reason is not None else ""
