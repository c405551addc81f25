"""A transport that discards uploads: the training does not pay for what a server does with them."""

from __future__ import annotations

from relumine.schemas.upload import UploadResponse
from relumine.testing import InMemoryTransport


class DiscardingTransport(InMemoryTransport):
    """Accepts every upload and keeps none."""

    def post(self, body: bytes) -> UploadResponse:
        """Accept an upload."""
        return UploadResponse(accepted=len(body), analyzed=True, duplicate=False, sample_every=None, alerts=[])
