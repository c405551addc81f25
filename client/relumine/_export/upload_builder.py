"""Uploads: which sampled steps share a record, what describes the layers, and the encoded bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from relumine._capture.step_stats import LoggedScalar, StepStats
from relumine._export.aggregator import RecordAggregator
from relumine._export.descriptions import Description, Descriptions
from relumine._export.held_records import HeldRecords
from relumine._export.logged_numbers import LoggedNumbers
from relumine._export.record_chunks import chunks_of
from relumine._export.upload_pace import UploadPace
from relumine._export.upload_split import (
    SEQ_STRIDE,
    count_sampled_steps,
    encode_upload,
    is_smallest_part,
    split_upload,
    with_descriptions,
)
from relumine._runtime.overhead import Overhead
from relumine.schemas.record_table import RecordTable
from relumine.schemas.upload import Coverage, FinalStatus, LayerInfo, RunInfo
from relumine.schemas.watching import Watching

# Merging begins where records would exceed this rate. As with FREE_SECONDS, short runs are sent in full.
BYTES_PER_S = 256 * 1024
FREE_BYTES = 8 * 2**20

# The size of an upload that proxies and servers accept, and the smallest tried where they accept less.
MAX_UPLOAD_BYTES = 4 * 2**20
MIN_UPLOAD_BYTES = 2**14


@dataclass(slots=True)
class ByteBudget:
    """A budget of bytes that grows with time. Bytes that were saved add up."""

    spent: int = 0

    def spend(self, count: int) -> None:
        """Count bytes that were sent."""
        self.spent += count

    def allows(self, elapsed_s: float, *, planned: int) -> bool:
        """Return True if ``planned`` more bytes are within the budget, ``elapsed_s`` seconds after the start."""
        return self.spent + planned <= FREE_BYTES + BYTES_PER_S * elapsed_s


@dataclass(frozen=True, slots=True)
class UploadSource:
    """The sender of uploads: the run, this process's session of it, and the number of training processes."""

    run: RunInfo
    session: str
    world_size: int


class EncodedUpload(NamedTuple):
    """An encoded upload, and what it counts for.

    ``sampled_steps`` and ``records`` are the numbers it holds. Its own sequence number is greater than
    ``previous_seq``, and so are those of the parts it may be split into.
    """

    body: bytes
    sampled_steps: int
    records: int
    previous_seq: int
    description: Description = Description()


class UploadBuilder:
    """A builder of uploads. Merges sampled steps into common records where bytes would exceed the budget."""

    def __init__(self, source: UploadSource, overhead: Overhead) -> None:
        self.count = 0
        self.nbytes = 0
        self.merged_steps = 0
        """Sampled steps that share a record with others."""
        self._source = source
        self._overhead = overhead
        self._aggregator = RecordAggregator()
        self._numbers = LoggedNumbers()
        self.unreadable: list[Exception] = []
        """Why sampled steps could not be read since the list was last emptied: one error each."""
        self._budget = ByteBudget()
        self._max_bytes = MAX_UPLOAD_BYTES
        self._refused_bytes: int | None = None
        """The size of the smallest upload that was too large; None while none was."""
        self._divides_units = True
        """False once the smallest part of a record was too large: others need not be tried."""
        self._started = time.monotonic()
        self.pace = UploadPace(self._started)
        self._held = HeldRecords()
        self._descriptions = Descriptions()
        # Reentrant: the SIGTERM handler may interrupt ``set_watching`` and close the run in the same thread.
        self._lock = threading.RLock()
        self._watching: Watching | None = None
        self._has_watching_changed = False

    @property
    def session(self) -> str:
        """The session these uploads belong to."""
        return self._source.session

    def describe(self, layers: Sequence[LayerInfo], coverage: Coverage) -> None:
        """Send new and changed descriptions with every upload, until one that carries them is acknowledged."""
        self._descriptions.describe(layers, coverage)

    def set_watching(self, watching: Watching) -> None:
        """Send whether the training is being watched with every upload, and with one of its own if that changed."""
        with self._lock:
            if self._watching is None or self._watching.reason != watching.reason:
                self._has_watching_changed = True
            self._watching = watching

    @property
    def steps_without_gradient(self) -> int:
        """Sampled steps in a row on which no gradient reached any layer."""
        return self._aggregator.gradients.steps_without

    def take_input_jump(self) -> bool:
        """Return True if the model's input has jumped since the last call."""
        return self._aggregator.take_input_jump()

    def acknowledge(self, upload: EncodedUpload) -> None:
        """Stop repeating what this upload described, except for what was described differently since."""
        self._descriptions.acknowledge(upload.description)

    def compare_known_layers(self, known_layers: int | None) -> None:
        """Describe everything again with the next upload if the server knows fewer layers than it acknowledged."""
        if known_layers is not None:
            self._descriptions.compare(known_layers)

    def describe_in_full(self, upload: EncodedUpload) -> EncodedUpload | None:
        """Return the same upload with everything described so far; None where it carries that already."""
        everything = self._descriptions.all()
        layers = [layer.model_dump(mode="json") for layer in everything.layers]
        coverage = None if everything.coverage is None else everything.coverage.model_dump(mode="json")
        body = with_descriptions(upload.body, layers, coverage)
        return None if body is None else upload._replace(body=body, description=everything)

    def latest_rates(self, counting_positions: Collection[int] = ()) -> dict[int, dict[str, float]]:
        """Return fractions of examples and units at the latest sampled step, by layer."""
        return self._aggregator.latest_rates(counting_positions)

    def build(
        self,
        items: Sequence[StepStats | LoggedScalar],
        dropped: Mapping[str, int],
        *,
        final_status: FinalStatus | None,
        force: bool,
    ) -> list[EncodedUpload]:
        """Return the next uploads; none where nothing is due yet. ``force``: send everything so far.

        The time this takes counts as overhead: the training waits for the interpreter meanwhile.
        """
        started = time.thread_time()
        try:
            return self._build(items, dropped, final_status=final_status, force=force)
        finally:
            self._overhead.export_s += time.thread_time() - started

    def _build(
        self,
        items: Sequence[StepStats | LoggedScalar],
        dropped: Mapping[str, int],
        *,
        final_status: FinalStatus | None,
        force: bool,
    ) -> list[EncodedUpload]:
        force = force or final_status is not None
        self._aggregate(items, force=force)
        self._held.metrics += self._numbers.metrics(items)
        if not (force or self._is_due(time.monotonic())):
            return []
        records = self._held.table()
        metrics = self._held.metrics
        self._held = HeldRecords()
        if not len(records) and not metrics and not self._has_news(final_status):
            return []
        self.pace.note_sent(time.monotonic())
        chunks = list(chunks_of(records, self._max_bytes))
        uploads = [self._upload(chunk, [], dropped, None) for chunk in chunks[:-1]]
        uploads.append(self._upload(chunks[-1], metrics, dropped, final_status))
        return [part for upload in uploads for part in self._within_limit(upload)]

    def _is_due(self, now_s: float) -> bool:
        if self._aggregator.take_motion():
            self.pace.note_motion(now_s)
        return self.pace.is_due(now_s, records=len(self._held.records), nbytes=self._held.nbytes)

    def _within_limit(self, upload: EncodedUpload) -> list[EncodedUpload]:
        """Return an upload in parts that are smaller than what was refused so far, where it has such parts."""
        if self._refused_bytes is None or len(upload.body) < max(self._refused_bytes, MIN_UPLOAD_BYTES):
            return [upload]
        parts = self._parts(upload)
        return [smaller for part in parts for smaller in self._within_limit(part)] or [upload]

    def _has_news(self, final_status: FinalStatus | None) -> bool:
        """Return True if an upload without records has something to say: the end of a known run, or a new state."""
        is_unwatched = self._watching is not None and self._watching.reason is not None
        if final_status is not None:
            return bool(self.count or self._descriptions.has_unsent or is_unwatched)
        return self._has_watching_changed and (is_unwatched or self.count > 0)

    def _aggregate(self, items: Sequence[StepStats | LoggedScalar], *, force: bool) -> None:
        """Hold one record per layer and sampled step within the byte budget, beyond it one per several steps."""
        elapsed_s = time.monotonic() - self._started
        planned = self._held.nbytes
        for item in items:
            if not isinstance(item, StepStats):
                continue
            try:
                self._aggregator.add(item)
            except Exception as error:  # noqa: BLE001 - one sampled step that cannot be read costs no other
                self.unreadable.append(error)
                continue
            planned += self._aggregator.bytes_per_step
            if self._budget.allows(elapsed_s, planned=planned):
                self._collect()
        if force:
            self._collect()

    def _collect(self) -> None:
        if self._aggregator.pending_steps > 1:
            self.merged_steps += self._aggregator.pending_steps
        self._held.records += self._aggregator.collect()
        self._held.nbytes += self._aggregator.bytes_per_step

    def _upload(
        self,
        records: RecordTable,
        metrics: Sequence[dict[str, Any]],
        dropped: Mapping[str, int],
        final_status: FinalStatus | None,
    ) -> EncodedUpload:
        """Return the upload with the next number, and with it the descriptions that it really carries.

        Encoding takes milliseconds, in which the training thread may describe another layer. That layer must not
        count as sent, so the descriptions are read once.
        """
        self.count += 1
        seq = self.count * SEQ_STRIDE
        description = self._descriptions.unsent()
        with self._lock:
            watching = self._watching
            self._has_watching_changed = False
        payload = {
            "run": self._source.run.model_dump(mode="json"),
            "session": self._source.session,
            "world_size": self._source.world_size,
            "seq": seq,
            "dropped": dict(dropped),
            "layers": [layer.model_dump(mode="json") for layer in description.layers],
            "coverage": None if description.coverage is None else description.coverage.model_dump(mode="json"),
            "metrics": metrics,
            "watching": None if watching is None else watching.model_dump(mode="json"),
            "final_status": final_status,
        }
        body = encode_upload(payload, records)
        self._count_bytes(body)
        return EncodedUpload(body, count_sampled_steps(records), len(records), seq - SEQ_STRIDE, description)

    def _count_bytes(self, body: bytes) -> None:
        self.nbytes += len(body)
        self._budget.spend(len(body))

    def split(self, upload: EncodedUpload) -> list[EncodedUpload]:
        """Return the parts of an upload that was too large; the list is empty for one that cannot be split.

        Later uploads are built smaller from the start.
        """
        size = len(upload.body)
        self._max_bytes = max(MIN_UPLOAD_BYTES, min(self._max_bytes, size // 2))
        self._refused_bytes = min(self._refused_bytes or size, size)
        parts = self._parts(upload)
        if not parts and is_smallest_part(upload.body):
            self._divides_units = False
        return parts

    def _parts(self, upload: EncodedUpload) -> list[EncodedUpload]:
        parts = []
        for part in split_upload(upload.body, upload.previous_seq, divides_units=self._divides_units):
            self._count_bytes(part.body)
            parts.append(EncodedUpload(*part)._replace(records=min(part.records, upload.records)))
        if parts:
            # What both describe together is acknowledged with the last of them.
            parts[-1] = parts[-1]._replace(description=upload.description)
        return parts
