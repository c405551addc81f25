"""The recorder of one layer: sums of the current sampled step, and what the next sampled step is compared with.

Everything stays on the layer's device and leaves it as one small matrix. Nothing here waits for the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from relumine._capture import mean_shift, unit_sums
from relumine._capture.producers import ModuleOutput
from relumine._capture.repeated_calls import RepeatedCalls
from relumine._capture.step_accumulator import StepAccumulator
from relumine._capture.step_stats import LayerStats, SampledStep, SumBuffer, SumRow, WeightSamples
from relumine._torch.tensors import is_local_dense, strided_sample
from relumine._torch.unwrap import unwrap
from relumine.schemas.upload import Split

# Two buffers: one is filled by the training thread while the sender's thread reads the other. Layers that are small
# together have more, so that one is free at every sampled step although the sender's thread reads them once a second.
BUFFERS_PER_LAYER = 2
MAX_BUFFERS_PER_LAYER = 64
MAX_BUFFER_BYTES = 2**20

# Number of weights sampled per layer for its norms: the exact update norm costs 30 to 60 times more.
MAX_WEIGHT_SAMPLES = 2048


class _PreviousInput(NamedTuple):
    """The mean input of the producer at the previous sampled step."""

    step: int
    mean_input: Tensor


@dataclass(slots=True)
class LayerRecorder:
    """One layer: a module and the n-th activation that its forward calls.

    Attributes:
        module_id: the id of the module whose forward calls the activation; 0 for a tap.
        counts_positions: True if examples and positions cannot be distinguished, so that n counts positions.
        fan_in: the number of inputs of each of the producer's units, where its weight is known.
        missing: messages about what is not known of the layer.
        sampled_steps: the number of steps collected so far.
        steps_missing: sampled steps in a row on which its module ran and the layer was not recorded.
        sharded: True if the producer's weight cannot be read locally.
        repeats: True if a forward calls it several times: the calls are positions of the same examples.
    """

    layer_id: int
    name: str
    activation: str
    can_die: bool
    units: int
    channels_first: bool
    has_positions: bool
    module_id: int = 0
    counts_positions: bool = False
    producer: nn.Module | None = None
    producer_name: str | None = None
    fan_in: int | None = None
    split: Split = "none"
    missing: list[str] = field(default_factory=list)
    sampled_steps: int = field(default=0, init=False)
    steps_missing: int = field(default=0, init=False)
    sharded: bool = field(default=False, init=False)
    repeats: bool = field(default=False, init=False)
    _current: StepAccumulator | None = field(default=None, init=False)
    _previous: _PreviousInput | None = field(default=None, init=False)
    _free_buffers: deque[SumBuffer] = field(default_factory=lambda: deque(maxlen=BUFFERS_PER_LAYER), init=False)

    @property
    def producer_trains(self) -> bool:
        """True if the producer is in training mode."""
        return self.producer is not None and self.producer.training

    @property
    def is_recorded(self) -> bool:
        """True if the current sampled step recorded this layer."""
        return self._current is not None

    def record(self, z: Tensor, dim: int, source: ModuleOutput | None, step: SampledStep) -> None:
        """Add one pre-activation to the current step.

        Args:
            z: the pre-activation, with the units along ``dim``.
            dim: 1 or the last axis of ``z``.
            source: the output of a module or layer function that ``z`` is, if any.
            step: the step being sampled.
        """
        is_first = self._current is None
        current = self._accumulator(z)
        self._current = None  # until all sums hold this pre-activation: an error or interrupt in between discards them
        self._add_sums(z, dim, current, step, is_first=is_first)
        current.positions += z.numel() // max(self.units, 1)
        if source is not None and self.producer is not None and source.module is self.producer:
            self._record_source(source, current, step, is_first=is_first)
        self._current = current

    def _record_source(
        self, source: ModuleOutput, current: StepAccumulator, step: SampledStep, *, is_first: bool
    ) -> None:
        """Add what is known of the producer that returned the pre-activation: parameters and input."""
        if is_first:
            self._record_parameters(source, current, with_norms=step.with_norms)
        if self.split == "linear" and source.input is not None and not self.sharded and current.weight is not None:
            self._record_input(source.input, current, step, is_first=is_first)

    def _add_sums(self, z: Tensor, dim: int, current: StepAccumulator, step: SampledStep, *, is_first: bool) -> None:
        rows = z.shape[0] if z.dim() > 1 else 1
        is_same_forward = not is_first and current.forward == step.forward and not self.counts_positions
        current.forward = step.forward
        if is_same_forward and current.calls is not None and rows <= current.calls.rows:
            self.repeats = True
            current.calls.add(z, dim)
            return
        if is_same_forward and not self.repeats:  # known from the next forward on; until then calls count as examples
            self.repeats = True
            if not self.has_positions and current.calls is None:  # one position each so far
                current.buffer.sums.active_positions.copy_(current.buffer.sums.active)
        current.finish_calls()
        current.examples += rows
        # Whether a layer is called repeatedly shows in its first step.
        if self.repeats or (not self.sampled_steps and not self.counts_positions):
            current.calls = RepeatedCalls(current.buffer.sums, rows, is_first=is_first)
            current.calls.add(z, dim)
        elif is_first:
            unit_sums.accumulate(z, dim, out=current.buffer.sums, with_positions=self.has_positions)
        else:  # another micro-batch of the same optimizer step
            sums = unit_sums.new_sums(self.units, z)
            unit_sums.accumulate(z, dim, out=sums, with_positions=self.has_positions)
            current.buffer.sums.add(sums)

    def _record_input(self, x: Tensor, current: StepAccumulator, step: SampledStep, *, is_first: bool) -> None:
        """Add the input of the producer, and at the first forward the response to the previous mean input."""
        plain = unwrap(x).tensor
        if plain is None or self.producer is None or current.weight is None:
            return
        current.add_input(*mean_shift.input_sum(self.producer, plain.detach()))
        if is_first:
            self._record_response(self.producer, current.weight, current, step.step)

    def record_masked(self, z: Tensor, mask: Tensor) -> None:
        """Add the rows of a pre-activation under ``mask``; their number stays on the device."""
        is_first = self._current is None
        current = self._accumulator(z)
        self._current = None  # as above
        sums = current.buffer.sums if is_first else unit_sums.new_sums(self.units, z)
        row_count = unit_sums.accumulate_masked(z, mask, out=sums)
        if not is_first:
            current.buffer.sums.add(sums)
        current.row_count = row_count if current.row_count is None else current.row_count + row_count
        self._current = current

    def keep_buffers(self, count: int) -> None:
        """Keep up to ``count`` buffers for later steps."""
        if count != self._free_buffers.maxlen:
            self._free_buffers = deque(self._free_buffers, maxlen=count)

    def discard(self) -> None:
        """Forget what the current step recorded."""
        self._current = None

    def _accumulator(self, z: Tensor) -> StepAccumulator:
        """Return the current accumulator, or a new one, which becomes current once its sums hold numbers."""
        if self._current is not None:
            return self._current
        try:
            buffer = self._free_buffers.pop()
        except IndexError:
            return StepAccumulator(self._new_buffer(z))
        if buffer.matrix.device != z.device:
            buffer = self._new_buffer(z)
        return StepAccumulator(buffer)

    def _new_buffer(self, z: Tensor) -> SumBuffer:
        return SumBuffer.allocate(self.units, z.device, self._free_buffers)

    def _record_parameters(self, source: ModuleOutput, current: StepAccumulator, *, with_norms: bool) -> None:
        """Copy the bias, and on steps with norms a sample of the weights, as they are before the update.

        Only the tensors that the forward used are read, and only those that nothing computed: the update changes them.
        """
        weight = source.trained_weight
        bias = source.trained_bias
        if not self.sampled_steps:
            self.sharded = not (source.weight is None or weight is None or is_local_dense(weight))
        if self.sharded:
            return
        current.weight = weight
        current.bias = bias
        if bias is not None:
            current.buffer.rows[SumRow.BIAS].copy_(bias)
            current.has_bias = True
        if with_norms and weight is not None:
            current.weights = strided_sample(weight, MAX_WEIGHT_SAMPLES)

    def _record_response(self, producer: nn.Module, weight: Tensor, current: StepAccumulator, step: int) -> None:
        """Apply the current weights to the mean input of the previous sampled step."""
        if self._previous is None:
            return
        current.since_step = self._previous.step
        current.is_consecutive = current.since_step == step - 1
        # After a consecutive step the response is known: it was recorded with the same weights, after their update.
        if not current.is_consecutive:
            out = current.buffer.rows[SumRow.MEAN_RESPONSE]
            mean_shift.mean_response(producer, weight, self._previous.mean_input, out=out)

    def collect(self, step: int, learning_rate: float | None) -> LayerStats | None:
        """Return the sums of the sampled step and start the next; None if nothing was recorded.

        To be called after the optimizer's update. What can be computed later is left to the sender's thread.
        """
        current = self._current
        self._current = None
        if current is None:
            return None
        current.finish_calls()
        self.sampled_steps += 1
        self.steps_missing = 0
        has_next_response = self._record_update(current, step)
        return LayerStats(
            layer_id=self.layer_id,
            step=step,
            since_step=current.since_step,
            is_consecutive=current.is_consecutive,
            examples=current.examples,
            positions=current.positions,
            has_positions=self.has_positions or self.repeats,
            has_bias=current.has_bias,
            has_next_response=has_next_response,
            matrix=current.buffer.matrix,
            weights=None if self.sharded else _weight_samples(current.weight, current.weights),
            learning_rate=learning_rate,
            row_count=current.row_count,
            buffer=current.buffer,
        )

    def _record_update(self, current: StepAccumulator, step: int) -> bool:
        """Record the bias after the update and the response of the updated weights to the current mean input.

        Returns True if the response was recorded.
        """
        self._previous = None
        producer = self.producer
        weight = current.weight
        if weight is not None and self.sampled_steps == 1:
            self.sharded = self.sharded or not is_local_dense(weight)
        if producer is None or self.sharded:
            current.has_bias = False
            return False
        if current.has_bias and current.bias is not None:
            current.buffer.rows[SumRow.NEW_BIAS].copy_(current.bias)
        if current.input_sum is None or weight is None:
            return False
        mean_input = current.input_sum.div_(current.input_count)
        mean_shift.mean_response(producer, weight, mean_input, out=current.buffer.rows[SumRow.NEXT_MEAN_RESPONSE])
        self._previous = _PreviousInput(step, mean_input)
        return True


def share_buffers(layers: Collection[LayerRecorder]) -> None:
    """Let each layer keep as many buffers as all of them may have together."""
    nbytes = sum(layer.units for layer in layers) * len(SumRow) * 4
    count = min(MAX_BUFFER_BYTES // max(nbytes, 1), MAX_BUFFERS_PER_LAYER)
    for layer in layers:
        layer.keep_buffers(max(count, BUFFERS_PER_LAYER))


def _weight_samples(weight: Tensor | None, previous: Tensor | None) -> WeightSamples | None:
    """Sample the updated weights and the gradient at the positions of ``previous``."""
    if previous is None or weight is None:
        return None
    grad = None
    if weight.grad is not None and is_local_dense(weight.grad):
        grad = strided_sample(weight.grad, MAX_WEIGHT_SAMPLES)
    updated = strided_sample(weight, MAX_WEIGHT_SAMPLES)
    return WeightSamples(previous, updated, grad, weight.numel(), trainable=weight.requires_grad)
