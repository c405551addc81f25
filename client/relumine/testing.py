"""Support for users' own tests: a transport that keeps uploads in memory, so that no server is needed.

with relumine.testing.InMemoryTransport() as memory:
    train(...)                      # calls relumine.watch somewhere inside
assert memory.records("act1")
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from relumine._export.transport import transport_overrides
from relumine.schemas.record_table import Row
from relumine.schemas.upload import Upload, UploadResponse


class InMemoryTransport:
    """A transport that accepts every upload and keeps it. Within its ``with`` block every ``watch`` sends to it."""

    def __init__(self) -> None:
        self.uploads: list[Upload] = []

    def post(self, body: bytes) -> UploadResponse:
        """Keep the upload, as the server would have read it."""
        upload = Upload.model_validate_json(body)
        self.uploads.append(upload)
        return UploadResponse(
            accepted=len(upload.records), analyzed=True, duplicate=False, sample_every=None, alerts=[]
        )

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def records(self, layer: str | None = None) -> list[Row]:
        """Return all records, or those of the layer with this name. The run's own records have no layer."""
        names: dict[int, str] = {}
        for upload in self.uploads:
            for info in upload.layers:
                names[info.layer_id] = info.name
        records = [record for upload in self.uploads for record in upload.records]
        if layer is None:
            return records
        return [record for record in records if names.get(record.layer_id) == layer]

    def __enter__(self) -> Self:
        transport_overrides.append(self)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        transport_overrides.remove(self)
