"""For users' own tests: a transport that keeps uploads in memory, so that no server is needed.

with relumine.testing.MemoryTransport() as memory:
    train(...)                      # calls relumine.watch somewhere inside
assert memory.records("act1")
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from relumine.table import Row
from relumine.views import Accepted
from relumine.wire import Upload

_in_use: list[MemoryTransport] = []


class MemoryTransport:
    """Accepts everything and keeps it. Within its ``with`` block every ``watch`` sends here."""

    def __init__(self) -> None:
        self.uploads: list[Upload] = []

    def post(self, body: bytes) -> Accepted:
        """Keep the upload, as the server would have read it."""
        upload = Upload.model_validate_json(body)
        self.uploads.append(upload)
        return Accepted(accepted=len(upload.records), duplicate=False, every=None, alerts=[])

    def close(self) -> None:
        """Nothing to let go of."""

    def records(self, layer: str | None = None) -> list[Row]:
        """All records, or those of the layer of that name; the run's own have no layer."""
        ids = {info.layer_id: info.name for upload in self.uploads for info in upload.layers}
        return [r for upload in self.uploads for r in upload.records if layer is None or ids.get(r.layer_id) == layer]

    def __enter__(self) -> Self:
        _in_use.append(self)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        _in_use.remove(self)


def transport_in_use() -> MemoryTransport | None:
    """The innermost transport that a test has put in place."""
    return _in_use[-1] if _in_use else None
